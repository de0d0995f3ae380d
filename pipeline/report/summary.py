"""Mean, standard deviation and number of seeds, and how they are written."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.report.read import Results, Row

NONE = "–"
MOST_DECIMALS = 9


@dataclass(frozen=True)
class Summary:
    """Several seeds in three numbers. The deviation is that of a sample (n − 1), and None for a single seed."""

    mean: float
    std: float | None
    n: int


def summarize(values: Sequence[float]) -> Summary | None:
    """The summary of what the seeds measured; None where nothing was."""
    if not values:
        return None
    std = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), std, len(values))


def of(row: Row, measure: str) -> Summary | None:
    return summarize(row.values(measure))


def metrics(results: Results) -> dict[str, Any]:
    """Data set → variant → measure → mean, std, n, for every number that a seed reports."""
    content: dict[str, Any] = {dataset: {} for dataset in results.plan["datasets"]}
    for row in results.rows.values():
        measures = [key for key in row.seeds[0] if key != "seed"]  # what is no number has no summary
        summaries = {measure: of(row, measure) for measure in measures}
        content[row.dataset][row.variant] = {key: vars(values) for key, values in summaries.items() if values}
    return content


def decimals(means: Sequence[float], digits: int = 3) -> int:
    """How many decimals show the smallest of `means` with so many significant digits."""
    sizes = [abs(mean) for mean in means if mean]
    return max(0, digits - 1 - math.floor(math.log10(min(sizes)))) if sizes else 0


def write(summary: Summary | None, places: int, scale: float = 1.0) -> str:
    """`mean ± std`, or the mean alone for one seed, with thousands separated; what is very small with an exponent."""
    if summary is None:
        return NONE
    form = f",.{places}f" if places <= MOST_DECIMALS else ".1e"
    mean = f"{scale * summary.mean:{form}}"
    return mean if summary.std is None else f"{mean} ± {scale * summary.std:{form}}"


def number(row: Row | None, key: str) -> str:
    """A row's measure as it is shown, without its unit; a dash where there is no row or no number."""
    mean = of(row, key) if row else None
    if row is None or mean is None:
        return NONE
    measure = row.measure(key)
    places = decimals([measure.scale * mean.mean]) if measure.decimals is None else measure.decimals
    return write(mean, places, measure.scale)


def number_of_seeds(row: Row | None, key: str) -> str:
    """The same with the number of seeds behind it."""
    written = number(row, key)
    return written if row is None or written == NONE else f"{written} (n = {len(row.values(key))})"


def plain(number: float | None) -> str:
    """A published number with the digits it was printed with."""
    if number is None:
        return NONE
    return f"{number:,}" if isinstance(number, int) else np.format_float_positional(number, trim="-")
