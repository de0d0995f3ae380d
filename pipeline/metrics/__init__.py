"""Measures, one file per family. A new measure is one entry in its family's `MEASURES`.

one pass over each split → Measured → {measure.key: measure.compute(measured)} → reports/runs/<row>.json → report
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from pipeline.metrics.counting import Codes
from pipeline.quantizers import Quantizer


@dataclass(frozen=True)
class Measured:
    """What evaluation collected about one trained model, in one pass over each split.

    Attributes:
        quantizer: as trained, in evaluation mode.
        shape: C, H, W of the images.
        errors: split → mean squared error of each of its images, in float64.
        fitted: the codes of the training and validation images, which LL-VQ-VAE counts together.
        tested: the codes of the test images.
        quantization_loss, gradient_gap: on the first batch of the test images; see `gradients`.
        learned: how far the quantizer came from the state it was built with; see `Quantizer.learned`.
        moving: training batches → distinct vectors in training mode; see `diagnostics.moving_codes`.
        history: a line per epoch of the training, as in reports/history/<row>.csv.
        peak_memory_mb: of the training, in MB of 10⁶ bytes.
    """

    quantizer: Quantizer
    shape: tuple[int, int, int]
    errors: dict[str, Float[Tensor, " images"]]
    fitted: Codes
    tested: Codes
    quantization_loss: float
    gradient_gap: float
    learned: dict[str, float]
    moving: dict[int, int]
    history: list[dict[str, float]]
    peak_memory_mb: float


@dataclass(frozen=True)
class Measure:
    """A number that is measured for every seed of a row, and how the report writes it.

    Attributes:
        key: its name in reports/runs/<row>.json and in params.yaml.
        title: its name in tables and figures, without the unit.
        compute: the number, or None where the measure means nothing for this quantizer.
        unit: of the number times `scale`.
        scale: what the number is multiplied by before it is written.
        decimals: digits after the point; None: three significant digits.
        better: the better direction; None where there is none.
        split: the images it is measured on: train, val, test or train+val; None where no images take part.
        published: its key among the papers' published numbers (pipeline/papers), where they have it.
    """

    key: str
    title: str
    compute: Callable[[Measured], float | int | None]
    unit: str = ""
    scale: float = 1.0
    decimals: int | None = None
    better: Literal["lower", "higher"] | None = None
    split: str | None = None
    published: str | None = None


def _collected() -> list[Measure]:
    families = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return [measure for family in families for measure in getattr(family, "MEASURES", [])]


MEASURES: list[Measure] = _collected()
"""All measures, family by family in the order of the files' names."""
