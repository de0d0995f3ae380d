"""Published numbers beside measured ones: met, missed, or measured too noisily to tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from pipeline.papers import Claim
from pipeline.report.evidence.decisions import Published
from pipeline.report.evidence.statistics import Estimate, of_row
from pipeline.report.results import Measure, Results, Row

COMPARED = ("test_mse", "codes_in_use", "quantizer_parameters")
"""Measures whose published numbers are met or not; times are not, since the hardware differs."""
EXACT = ("quantizer_parameters",)
"""Measures without any spread: one seed tells."""


class Answer(Enum):
    """Where the measured mean lies."""

    MET = "met"
    MISSED = "missed"
    TOO_NOISY = "too_noisy"


@dataclass(frozen=True)
class Meeting:
    """A published number beside the measured one.

    Attributes:
        recount: the number is the authors' later count, from one released checkpoint.
        low, high: the published number less and more the margin, and half a unit of its last printed digit.
    """

    row: Row
    published: float
    measured: Estimate
    recount: bool
    low: float
    high: float

    @property
    def answer(self) -> Answer:
        """Met if the 95 % interval of the mean lies between `low` and `high`, missed if it lies outside as a whole."""
        measured = self.measured
        exact = measured.n == 1 and measured.measure in EXACT
        low, high = (measured.mean, measured.mean) if exact else (measured.low, measured.high)
        if self.low <= low and high <= self.high:
            return Answer.MET
        return Answer.MISSED if high < self.low or self.high < low else Answer.TOO_NOISY


def meetings(results: Results) -> Iterator[Meeting]:
    """Every published error, count of codes and of parameters whose row was run, by data set and row."""
    margin = float(results.plan["report"]["margin"])
    for dataset in results.plan["datasets"]:
        for paper in results.papers.values():
            tables = {False: numbers_of(paper, dataset), True: recounted(paper, dataset)}
            for row in results.of(dataset):
                for measure in COMPARED:
                    for recount, table in tables.items():
                        number = table.get(row.variant, {}).get(str(results.measures[measure].published))
                        measured = of_row(row, measure)
                        if number is not None and measured is not None:
                            yield meeting(row, number, measured, margin, recount)


def meeting(row: Row, number: float, measured: Estimate, margin: float, recount: bool = False) -> Meeting:
    reach = margin * number + rounding(number)
    return Meeting(row, number, measured, recount, number - reach, number + reach)


def rounding(number: float) -> float:
    """Half a unit of the last printed digit: 0.0005 for 0.013, 0.5 for 36."""
    _, _, decimals = np.format_float_positional(number, trim="-").partition(".")
    return 0.5 * 10.0 ** -len(decimals)


def numbers_of(paper: Mapping[str, Any], dataset: str) -> dict[str, dict[str, float]]:
    """Variant → key → published number."""
    found: dict[str, dict[str, float]] = paper["results"].get(dataset, {"rows": {}})["rows"]
    return found


def recounted(paper: Mapping[str, Any], dataset: str) -> dict[str, dict[str, float]]:
    """The same of the authors' later counts of codes."""
    return {variant: {"codes": count} for variant, count in paper.get("recount", {}).get(dataset, {}).items()}


def of_claim(
    claim: Claim, paper: Mapping[str, Any], dataset: str, measures: Mapping[str, Measure]
) -> tuple[Published, ...]:
    """The published numbers that a claim of the paper rests on, for all of its rows.

    They are those of the data set, or else of the first one of the paper that has them.
    """
    key = measures[claim.test.measure].published
    if claim.origin != "paper" or key is None:
        return ()
    for name in (dataset, *paper["results"]):
        rows = numbers_of(paper, name)
        numbers = [rows.get(variant, {}).get(key) for variant in claim.test.variants_needed]
        if all(number is not None for number in numbers):
            unit = paper["results"][name]["duration_unit"] if key == "duration" else ""
            pairs = zip(claim.test.variants_needed, numbers, strict=True)
            return tuple(Published(name, variant, number, unit) for variant, number in pairs if number is not None)
    return ()
