"""The papers' claims, decided on this run's numbers: a function for each of the four kinds of tests."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.papers import FIRST_EPOCH, SMALLEST, Chain, Claim, Contrast, Dominance, EachSeed, Test
from pipeline.report.evidence.decisions import Decision, Reason, Verdict, Why
from pipeline.report.evidence.published import of_claim
from pipeline.report.evidence.statistics import (
    FEWEST_SEEDS,
    LEVEL,
    Comparison,
    Estimate,
    Form,
    Region,
    holm,
    of_row,
)
from pipeline.report.results import Results, Row

Rows = Mapping[str, Row]
WHOLE_TIMES = ("seconds", "seconds_per_epoch")
"""Over all epochs, also those at a learning rate of 0."""


class NotDecidableError(Exception):
    """A claim cannot be decided here, for a reason that more seeds do not change."""

    def __init__(self, why: Why, *variants: str, measure: str = "") -> None:
        super().__init__(why.value)
        self.reason = Reason(why, variants, measure)


@dataclass(frozen=True)
class Finding:
    """What a test found, before correction.

    Attributes:
        comparisons: see `Decision`.
        p_holds, p_fails: two-sided p values of the claim and of its opposite.
        reason: why no number of seeds would decide.
    """

    comparisons: tuple[Comparison, ...] = ()
    p_holds: float = 1.0
    p_fails: float = 1.0
    reason: Reason | None = None

    @property
    def p(self) -> float | None:
        """Of the claim or its opposite; None where nothing is estimated."""
        return None if self.reason or self.by_seed else min(1.0, self.p_holds, self.p_fails)

    @property
    def true(self) -> list[bool]:
        """Whether the whole claim is true of a seed, for those that all comparisons have."""
        seeds = common(*(one.estimate.values for one in self.comparisons))
        return [all(one.estimate.values[seed] in one.region for one in self.comparisons) for seed in seeds]

    @property
    def by_seed(self) -> bool:
        return any(one.by_seed for one in self.comparisons)

    @property
    def decided_alone(self) -> bool:
        """Whether the 95 % intervals would decide, without any correction."""
        holds = all(one.p_holds <= LEVEL for one in self.comparisons)
        return holds or any(one.p_fails <= LEVEL for one in self.comparisons)

    def seeds_needed(self, level: float) -> int | None:
        """See `Comparison.seeds_needed`; so many that every comparison is decided."""
        needed = [one.seeds_needed(level) for one in self.comparisons]
        known = [number for number in needed if number is not None]
        return max(known) if known and len(known) == len(needed) and not self.by_seed else None


def judge(results: Results) -> list[Decision]:
    """Every claim of every paper on every data set of the plan, in this order."""
    decided: dict[tuple[str, str], Decision] = {}
    order = []
    for name, paper in results.papers.items():
        order += [(claim.id, dataset) for claim in paper["claims"] for dataset in results.plan["datasets"]]
        for dataset, origin in itertools.product(results.plan["datasets"], ("paper", "ours")):
            rows = {row.variant: row for row in (*results.of(dataset), *results.swept_of(dataset))}
            family = [claim for claim in paper["claims"] if claim.origin == origin]
            for decision in decide(family, rows, name, dataset):
                numbers = of_claim(decision.claim, paper, dataset, results.measures)
                decided[decision.claim.id, dataset] = dataclasses.replace(decision, published=numbers)
    return [decided[key] for key in order]


def decide(claims: Sequence[Claim], rows: Rows, paper: str = "", dataset: str = "") -> list[Decision]:
    """Claims of one paper and one origin on the rows of one data set, which Holm's correction takes together.

    Claims of this project are a family of their own: they do not change what is found of the paper's.
    """
    findings = [find(claim.test, rows) for claim in claims]
    tested = [found.p for found in findings if found.p is not None]
    adjusted = iter(holm(tested))
    decisions = []
    for claim, found in zip(claims, findings, strict=True):
        p_adjusted = None if found.p is None else next(adjusted)
        verdict, reason = settle(found, p_adjusted)
        level = LEVEL / max(1, len(tested))  # enough whatever the other claims' p values are
        decision = Decision(
            paper=paper,
            claim=claim,
            dataset=dataset,
            verdict=verdict,
            reason=reason,
            comparisons=found.comparisons,
            measured=measured(claim.test, found.comparisons, rows),
            agree=sum(found.true),
            n=len(found.true),
            p=found.p,
            p_adjusted=p_adjusted,
            family=len(tested),
            seeds_needed=found.seeds_needed(level) if verdict is Verdict.OPEN else None,
        )
        decisions.append(decision)
    return decisions


def settle(found: Finding, p_adjusted: float | None) -> tuple[Verdict, Reason | None]:
    """The verdict, and the reason where there is none."""
    if found.reason:
        return Verdict.NOT_RUN if found.reason.why is Why.NOT_RUN else Verdict.NOT_JUDGED, found.reason
    if found.by_seed:
        if any(found.true) and not all(found.true):
            return Verdict.OPEN, Reason(Why.SEEDS_DISAGREE)
        return Verdict.HOLDS if all(found.true) else Verdict.FAILS, None
    if len(found.true) < FEWEST_SEEDS:
        return Verdict.OPEN, Reason(Why.TOO_FEW_SEEDS)
    if p_adjusted is not None and p_adjusted <= LEVEL:
        return Verdict.HOLDS if found.p_holds < found.p_fails else Verdict.FAILS, None
    return Verdict.OPEN, Reason(Why.CORRECTION if found.decided_alone else Why.SPREAD)


def find(test: Test, rows: Rows) -> Finding:
    """What a test finds on the rows of one data set, by variant."""
    missing = tuple(name for name in test.variants_needed if name not in rows)
    if missing:
        return Finding(reason=Reason(Why.NOT_RUN, missing))
    try:
        return KINDS[type(test)](test, rows)
    except NotDecidableError as error:
        return Finding(reason=error.reason)


# the kinds of tests


def contrast(test: Contrast, rows: Rows) -> Finding:
    """A row against another, or its last epoch against its first.

    The best of a list is better than another if any of the list is: of so many p values it is one (Bonferroni).
    """
    ours, theirs = ([names] if isinstance(names, str) else names for names in (test.variant, test.against))
    row = rows[best(ours, test.measure, test.side, rows)]
    where = region(test.side, test.limit, test.by)
    if test.against == FIRST_EPOCH:
        first, last = epochs(row, test.measure)
        comparison = Comparison(row.variant, FIRST_EPOCH, estimate(test.measure, test.by, last, first), where)
    else:
        other = rows[best(theirs, test.measure, test.side, rows)]
        comparison = compare(row, other, test.measure, where, test.by)
        comparison = dataclasses.replace(comparison, chosen_from=(len(ours), len(theirs)))
    ours_of, theirs_of = comparison.chosen_from
    return Finding((comparison,), ours_of * comparison.p_holds, theirs_of * comparison.p_fails)


def each_seed(test: EachSeed, rows: Rows) -> Finding:
    """A statement on each seed of one or several rows."""
    values = {name: need(rows[name], test.measure) for name in test.variants}
    seeds = common(*values.values())
    if not seeds:
        raise NotDecidableError(Why.NO_COMMON_SEED, *test.variants)
    form: Form = "ratio" if test.relative_to else "value"
    smallest = {seed: min(row[seed] for row in values.values()) for seed in seeds}
    comparisons = []
    for name, row in values.items():
        found = Estimate(test.measure, "value", {seed: row[seed] for seed in seeds})
        if test.relative_to == SMALLEST:
            found = estimate(test.measure, form, row, smallest)
        elif test.relative_to:
            found = estimate(test.measure, form, row, dict.fromkeys(seeds, setting(rows[name], test.relative_to)))
        where = region(test.side, test.limit, form)
        comparisons.append(Comparison(name, test.relative_to, found, where, by_seed=True))
    return Finding(tuple(comparisons))


def chain(test: Chain, rows: Rows) -> Finding:
    """A contrast for every step: it holds if all do (the largest p value), and fails if one does (Bonferroni)."""
    names = test.variants
    if test.start_at_lowest:
        names = names[names.index(best(names, test.start_at_lowest, "below", rows)) :]
    if len(names) < 2:
        raise NotDecidableError(Why.NOTHING_PAST_OPTIMUM, *names)
    where = region("below" if test.direction == "falls" else "above", None, "difference")
    steps = tuple(
        compare(rows[after], rows[before], test.measure, where) for before, after in itertools.pairwise(names)
    )
    return Finding(steps, max(step.p_holds for step in steps), len(steps) * min(step.p_fails for step in steps))


def dominance(test: Dominance, rows: Rows) -> Finding:
    """The lower measure at no more of the rate; the opposite is a higher measure at no less.

    Where one row has the lower measure and the other the lower rate, with every seed or by both intervals, the two do
    not compare.
    """
    ours, theirs = rows[test.variant], rows[test.against]
    error = compare(ours, theirs, test.measure, Region(-math.inf, 0.0))
    rate = compare(ours, theirs, test.rate, Region(-math.inf, 0.0, closed=True))
    no_less = dataclasses.replace(rate, region=Region(0.0, math.inf, closed=True))
    pairs = [(change, rate.estimate.values[seed]) for seed, change in error.estimate.values.items()]
    dearer = max(error.p_holds, rate.p_fails) <= LEVEL or all(change < 0 < extra for change, extra in pairs)
    cheaper = max(error.p_fails, no_less.p_fails) <= LEVEL or all(extra < 0 < change for change, extra in pairs)
    reason = Reason(Why.RATES_DIFFER, (test.variant, test.against)) if dearer or cheaper else None
    holds, fails = max(error.p_holds, rate.p_holds), max(error.p_fails, no_less.p_holds)
    return Finding((error, rate), holds, fails, reason)


KINDS: dict[type[Test], Callable[[Any, Rows], Finding]] = {
    Contrast: contrast,
    EachSeed: each_seed,
    Chain: chain,
    Dominance: dominance,
}


# what the kinds share


def region(side: str, limit: float | None, form: Form) -> Region:
    """What lies on the claimed side of the limit; of 0, or 1 for ratios, where none is stated."""
    lowest, neutral = (0.0, 1.0) if form == "ratio" else (-math.inf, 0.0)
    limit = neutral if limit is None else limit
    if side == "within":
        return Region(1 / limit if form == "ratio" else -limit, limit, closed=True)
    return Region(lowest, limit) if side == "below" else Region(limit, math.inf)


def compare(ours: Row, theirs: Row, measure: str, where: Region, form: Form = "difference") -> Comparison:
    """Two rows, paired by seed: both start from the same weights and see the same order of images.

    Raises:
        NotDecidableError: only one of them has a learning rate that falls, or there is nothing to compare.
    """
    if ours.learning_rate_falls != theirs.learning_rate_falls:
        raise NotDecidableError(Why.LEARNING_RATES_DIFFER, ours.variant, theirs.variant)
    first, second = need(ours, measure), need(theirs, measure)
    if not common(first, second):
        raise NotDecidableError(Why.NO_COMMON_SEED, ours.variant, theirs.variant)
    return Comparison(ours.variant, theirs.variant, estimate(measure, form, first, second), where)


def estimate(measure: str, form: Form, ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate:
    """Differences or ratios, seed by seed.

    Raises:
        NotDecidableError: a ratio of what is not positive.
    """
    pairs = {seed: (ours[seed], theirs[seed]) for seed in common(ours, theirs)}
    if form == "ratio" and min(itertools.chain(*pairs.values())) <= 0:
        raise NotDecidableError(Why.NOT_POSITIVE, measure=measure)
    return Estimate(measure, form, {seed: a / b if form == "ratio" else a - b for seed, (a, b) in pairs.items()})


def common(*rows: Mapping[int, float]) -> list[int]:
    """The seeds that all have."""
    return [seed for seed in rows[0] if all(seed in other for other in rows)] if rows else []


def best(names: Sequence[str], measure: str, side: str, rows: Rows) -> str:
    """The variant with the lowest mean, or the highest where a claim says `above`."""
    if len(names) == 1:
        return names[0]
    means = {name: Estimate(measure, "value", need(rows[name], measure)).mean for name in names}
    return (max if side == "above" else min)(means, key=means.__getitem__)


def need(row: Row, measure: str) -> dict[int, float]:
    """Seed → what it measured.

    Raises:
        NotDecidableError: a seed has no such number, or its time leaves out work that the published procedure does.
    """
    if measure in WHOLE_TIMES and row.learning_rate_falls and not row.settings["train"]["backprop_at_zero_lr"]:
        raise NotDecidableError(Why.IDLE_EPOCHS_LEFT_OUT, row.variant, measure=measure)
    found = of_row(row, measure)
    if found is None or found.n < len(row.seeds):
        raise NotDecidableError(Why.NOT_RECORDED, row.variant, measure=measure)
    return dict(found.values)


def epochs(row: Row, column: str) -> tuple[dict[int, float], dict[int, float]]:
    """What each seed's history has for the first and for the last epoch.

    Raises:
        NotDecidableError: the history has no such column.
    """
    if column not in row.history:
        raise NotDecidableError(Why.NOT_RECORDED, row.variant, measure=column)
    table = row.history.pivot(index="seed", columns="epoch", values=column)
    first, *_, last = table.columns
    return dict(zip(table.index, table[first], strict=True)), dict(zip(table.index, table[last], strict=True))


def setting(row: Row, key: str) -> float:
    """A setting of the row by its dotted name.

    Raises:
        NotDecidableError: the row has none.
    """
    section, _, name = key.partition(".")
    if name not in row.settings[section]:
        raise NotDecidableError(Why.NOT_RECORDED, row.variant, measure=key)
    return float(row.settings[section][name])


def measured(test: Test, comparisons: Sequence[Comparison], rows: Rows) -> dict[str, dict[str, Estimate]]:
    """The numbers of the rows that were compared, or else of all that the test names and that were run."""
    compared = [name for one in comparisons for name in (one.variant, one.against)] or test.variants_needed
    names = [name for name in test.variants_needed if name in compared and name in rows]
    keys = [key for several in test.named("measure", "rate").values() for key in several]
    found: dict[str, dict[str, Estimate]] = {name: {} for name in names}
    for name, key in itertools.product(names, keys):
        numbers = of_row(rows[name], key)
        if numbers:
            found[name][key] = numbers
    return found
