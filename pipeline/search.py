"""The old name of `pipeline.quantizers.search`, kept for those who import it."""

from pipeline.quantizers.search import nearest

__all__ = ["nearest"]
