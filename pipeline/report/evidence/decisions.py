"""What a test gives: a decision with its numbers, and the reason as a value. Words are made in `wording`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

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
        measure: the one that is not recorded or not positive.
    """

    why: Why
    variants: tuple[str, ...] = ()
    measure: str = ""


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
        paper: the name of its file.
        reason: None for HOLDS and FAILS.
        comparisons: what the verdict rests on: one, or a chain's steps, or error and rate for dominance. Empty where
            nothing could be compared.
        measured: variant → measure → the row's own numbers, for the rows that the claim speaks of.
        agree: with how many seeds the whole claim is true, of `n`.
        p: two-sided, of the claim or its opposite, before Holm's correction. For one comparison at most 0.05 exactly
            where the 95 % interval lies on one side; a choice of the best of several rows, and a chain one of whose
            steps fails, are corrected by Bonferroni. None for a statement on each seed.
        p_adjusted: Holm's, over the `family` of claims of the same paper and origin on the data set.
        seeds_needed: about how many seeds would decide at the spread seen, whatever the other claims' p values are;
            MOST_SEEDS + 1 for more than MOST_SEEDS, None where it is decided or unknown.
    """

    paper: str
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


def record(decision: Decision) -> dict[str, Any]:
    """A decision as JSON, for reports/decisions.json."""
    return {
        "claim": decision.claim.id,
        "dataset": decision.dataset,
        "verdict": decision.verdict.value,
        "reason": decision.reason.why.value if decision.reason else None,
        "agree": decision.agree,
        "n": decision.n,
        "p": decision.p,
        "p_adjusted": decision.p_adjusted,
        "family": decision.family,
        "seeds_needed": decision.seeds_needed,
        "comparisons": [
            {
                "variant": one.variant,
                "against": one.against,
                "measure": one.estimate.measure,
                "form": one.estimate.form,
                "values": {str(seed): value for seed, value in one.estimate.values.items()},
                "mean": one.estimate.mean,
                "interval": [one.estimate.low, one.estimate.high] if one.estimate.n > 1 else None,
                "effect": one.effect,
            }
            for one in decision.comparisons
        ],
    }
