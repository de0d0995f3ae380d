"""What variants and measures are called. The plan knows it from quantizers, metrics and params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Label(NamedTuple):
    """A variant as tables and figures show it."""

    title: str
    meaning: str
    colour: str


class Measure(NamedTuple):
    """A measure as tables and figures show it.

    Attributes:
        key: its name in reports/runs/<row>.json.
        unit: what a number is shown in, after it was multiplied by `scale`.
        decimals: how many are shown; None: three significant digits.
        split: the images it is taken on: train, val, test or train+val; None where no images take part.
    """

    key: str
    title: str
    unit: str = ""
    scale: float = 1.0
    decimals: int | None = None
    split: str | None = None

    @property
    def head(self) -> str:
        """The title with the unit, for a column or an axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


def labels(plan: Mapping[str, Any]) -> dict[str, Label]:
    """Variant → label, for all variants of the plan and of its sweeps."""
    return {variant: Label(**stated) for variant, stated in plan["labels"].items()}


def measures(plan: Mapping[str, Any]) -> dict[str, Measure]:
    """Key → measure, in the order of the table in pipeline/metrics."""
    return {stated["key"]: Measure(*(stated[name] for name in Measure._fields)) for stated in plan["measures"]}
