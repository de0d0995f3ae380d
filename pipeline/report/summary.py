"""Mean, standard deviation and number of seeds, and how they are written."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.blocks import Cell
from pipeline.report.results import Measure, Row

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
    return in_common([of(row, key)], row.measure(key))[0].text if row else NONE


def cell(row: Row | None, key: str) -> Cell:
    """The same in a table."""
    found = of(row, key) if row else None
    return Cell(number(row, key), value=found.mean if found else None)


def with_seeds(row: Row | None, key: str) -> Cell:
    """The same with the number of seeds behind it."""
    found = of(row, key) if row else None
    return Cell(f"{number(row, key)} (n = {found.n})", value=found.mean) if found else Cell(NONE)


def in_common(summaries: Sequence[Summary | None], measure: Measure) -> list[Cell]:
    """A measure of several rows, with the same decimals for all."""
    means = [measure.scale * found.mean for found in summaries if found]
    places = decimals(means) if measure.decimals is None else measure.decimals
    return [Cell(write(found, places, measure.scale), value=found.mean if found else None) for found in summaries]


def columns(rows: Sequence[Row], measures: Sequence[Measure]) -> list[tuple[Measure, list[Cell]]]:
    """Each measure with its column of cells; those that no row has are left out."""
    found = [(measure, [of(row, measure.key) for row in rows]) for measure in measures]
    return [(measure, in_common(summaries, measure)) for measure, summaries in found if any(summaries)]


def plain(number: float | None) -> str:
    """A published number with the digits it was printed with."""
    if number is None:
        return NONE
    return f"{number:,}" if isinstance(number, int) else np.format_float_positional(number, trim="-")


def printed(number: float | None) -> Cell:
    """A published number in a table."""
    return Cell(plain(number), value=number)
