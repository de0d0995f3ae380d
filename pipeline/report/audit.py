"""The audit: what the code does that the text does not say, as experiments of this pipeline."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from pipeline.report.drawing import Picture
from pipeline.report.read import Results


def draw(results: Results, dataset: str) -> Iterator[tuple[Figure, Picture]]:
    yield from ()
