"""What a test gives: a decision with its numbers, and the reason as a value. Words are made in `wording`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pipeline.papers import Claim
from pipeline.report.evidence.statistics import Comparison, Estimate


class Verdict(Enum):
    """The answer on a claim on one data set."""

    HOLDS = "holds"
    FAILS = "fails"
    OPEN = "open"
    NOT_RUN = "not_run"
    NOT_JUDGED = "not_judged"


class Why(Enum):
    """Why a claim is not decided.

    Of OPEN: too few seeds for an interval, an interval on both sides, decided by itself but not after correction, or a
    statement on each seed that is true of some. The others tell why it is NOT_RUN or NOT_JUDGED.
    """

    TOO_FEW_SEEDS = "too_few_seeds"
    SPREAD = "spread"
    CORRECTION = "correction"
    SEEDS_DISAGREE = "seeds_disagree"
    NOT_RUN = "not_run"
    NOT_RECORDED = "not_recorded"
    NO_COMMON_SEED = "no_common_seed"
    LEARNING_RATES_DIFFER = "learning_rates_differ"
    IDLE_EPOCHS_LEFT_OUT = "idle_epochs_left_out"
    RATES_DIFFER = "rates_differ"
    NOTHING_PAST_OPTIMUM = "nothing_past_optimum"
    NOT_POSITIVE = "not_positive"


@dataclass(frozen=True)
class Reason:
    """Why a claim is not decided, with what the sentence needs.

    Attributes:
        variants: those that were not run, or that the reason is about.
        measure: the one that is not recorded or not positive; the rate that differs.
        more: RATES_DIFFER: whether the claim's model spends more.
    """

    why: Why
    variants: tuple[str, ...] = ()
    measure: str = ""
    more: bool = False


@dataclass(frozen=True)
class Published:
    """A published number that belongs to a claim; of another data set of the paper where this one has none."""

    dataset: str
    variant: str
    value: float
    unit: str


@dataclass(frozen=True)
class Decision:
    """One claim on one data set.

    Attributes:
        reason: None for HOLDS and FAILS.
        comparisons: what the verdict rests on: one, or a chain's steps, or error and rate for dominance. Empty where
            nothing could be compared.
        measured: variant → measure → the row's own numbers, for the rows that the claim speaks of.
        agree: with how many seeds the whole claim is true, of `n`.
        p: two-sided, of the claim or its opposite, before correction; at most 0.05 exactly where the 95 % interval
            lies on one side. None for a statement on each seed, and with one seed.
        p_adjusted: Holm's, over the `family` of claims of the same paper and origin on the data set.
        seeds_needed: about how many seeds would decide, at the spread seen; None where it is decided or unknown.
    """

    claim: Claim
    dataset: str
    verdict: Verdict
    reason: Reason | None = None
    comparisons: tuple[Comparison, ...] = ()
    measured: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    agree: int = 0
    n: int = 0
    p: float | None = None
    p_adjusted: float | None = None
    family: int = 0
    seeds_needed: int | None = None

    @property
    def main(self) -> Comparison | None:
        """The comparison that a figure shows: the one that is furthest from what the claim says."""
        return max(self.comparisons, key=lambda one: -one.effect if one.effect is not None else -math.inf, default=None)
