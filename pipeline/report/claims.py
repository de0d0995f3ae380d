"""Claims of the papers, decided by computation on this run's numbers.

A claim is data (pipeline/papers/*.yaml): a sentence, its place in the paper, and the test that decides it. A test has
a `kind`, which is the name of a function below; the function sees the rows of one data set by variant and says whether
the claim holds there. Nobody writes a verdict by hand.

Seeds are paired: the difference (or ratio) of two rows is taken seed by seed, and its interval is Student's, at 95 %.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.report import summary
from pipeline.report.results import Results, Row
from pipeline.report.summary import NONE

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be judged"
CONFIDENCE = 0.95
PAPERS = ("ll_vq_vae", "balance")
"""The order in which claims are numbered: 1.1 is the first claim of the first paper."""
Rows = Mapping[str, Row]


class Unjudgeable(Exception):
    """A claim cannot be judged here; the message says why."""


class NotRun(Unjudgeable):
    """A row that the claim speaks of is not in the grid."""

    def __init__(self, variant: str) -> None:
        super().__init__(f"`{variant}` is not in the grid")


@dataclass(frozen=True)
class Judged:
    """What a test found.

    Attributes:
        measured: the numbers that the verdict rests on.
        why: there is no verdict.
        lacks: what would give one: "rows" that were not run, more "seeds", or "" for anything else.
    """

    verdict: str
    measured: str = NONE
    why: str = ""
    lacks: str = ""


@dataclass(frozen=True)
class Verdict:
    """One claim on one data set."""

    number: str
    paper: str
    claim: dict[str, Any]
    dataset: str
    published: str
    judged: Judged
    brief: str


@dataclass(frozen=True)
class Interval:
    """Mean and the 95 % interval of what the seeds give; without bounds for a single seed."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    def side(self, limit: float) -> str | None:
        """`below` or `above` the limit as a whole, `on` it without any spread, or None where it is on both sides."""
        if self.high < limit:
            return "below"
        if self.low > limit:
            return "above"
        return "on" if self.low == self.high == limit else None


def interval(values: Sequence[float]) -> Interval:
    """Student's interval of the mean."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf, tuple(values))
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = spread * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Interval(mean, mean - half, mean + half, tuple(values))


def judge(results: Results) -> list[Verdict]:
    """Every claim of every paper on every data set of the plan."""
    verdicts = []
    for first, name in enumerate(PAPERS, 1):
        paper = results.papers[name]
        for second, claim in enumerate(paper["claims"], 1):
            for dataset in results.plan["datasets"]:
                rows = {row.variant: row for row in (*results.of(dataset), *results.swept_of(dataset))}
                published = publish(paper, claim, dataset)
                judged = decide(claim["test"], rows)
                numbers = brief(claim["test"], rows) or without_intervals(judged.measured)
                verdicts.append(Verdict(f"{first}.{second}", name, claim, dataset, published, judged, numbers))
    return verdicts


def decide(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Decide one claim on the rows of one data set."""
    try:
        return KINDS[test["kind"]](test, rows)
    except Unjudgeable as reason:
        return Judged(OPEN, why=str(reason), lacks="rows" if isinstance(reason, NotRun) else "")


# kinds of tests


def difference(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if the interval of the difference lies on the claimed side of 0 as a whole, fails if on the other."""
    ours, theirs = pair(test, rows)
    change = interval([a - b for a, b in paired(ours, theirs, test["measure"])])
    measured = f"{both(ours, theirs, test['measure'])}; difference {bounds(change, sign='+')}"
    return settle(change, 0.0, test["side"], measured)


def ratio(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if the interval of the ratio lies on the claimed side of the limit as a whole, fails if on the other."""
    ours, theirs = pair(test, rows)
    ratios = interval([a / b for a, b in paired(ours, theirs, test["measure"])])
    measured = f"{both(ours, theirs, test['measure'])}; ratio {bounds(ratios)}"
    return settle(ratios, test["limit"], test["side"], measured)


def same(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if the interval of the ratio lies within 1 ± the tolerance as a whole, fails if it lies outside."""
    ours, theirs = pair(test, rows)
    ratios = interval([a / b for a, b in paired(ours, theirs, test["measure"])])
    measured = f"{both(ours, theirs, test['measure'])}; ratio {bounds(ratios)}"
    low, high = ratios.side(1 - test["tolerance"]), ratios.side(1 + test["tolerance"])
    if low == "above" and high == "below":
        return Judged(HOLDS, measured)
    if low == "below" or high == "above":
        return Judged(FAILS, measured)
    return undecided(measured, ratios, sum(abs(value - 1) <= test["tolerance"] for value in ratios.values))


def threshold(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if every seed is on the claimed side of the limit, fails if none is."""
    row = get(test["variant"], rows)
    below = test["side"] == "below"
    right = [value < test["limit"] if below else value > test["limit"] for value in need(row, test["measure"])]
    return unanimous(right, describe(row, test["measure"]))


def equals(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if every seed gives the value of the setting, fails if none does."""
    row = get(test["variant"], rows)
    value = setting(row, test["setting"])
    measured = f"{describe(row, test['measure'])}; {test['setting']} = {value:g}"
    return unanimous([number == value for number in need(row, test["measure"])], measured)


def within(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if every seed is within the factor of the setting, above or below, fails if none is."""
    row = get(test["variant"], rows)
    value, factor = setting(row, test["setting"]), test["factor"]
    right = [value / factor <= number <= value * factor for number in need(row, test["measure"])]
    return unanimous(right, f"{describe(row, test['measure'])}; {test['setting']} = {value:g}")


def each_within(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if every row is within the factor of its own setting with every seed, fails if one is with none."""
    chosen = swept(test, rows)
    steps = [within({**test, "variant": row.variant}, {row.variant: row}) for row in chosen]
    measured = "; ".join(step.measured for step in steps)
    verdicts = [step.verdict for step in steps]
    if FAILS in verdicts:
        return Judged(FAILS, measured)
    return Judged(HOLDS, measured) if set(verdicts) == {HOLDS} else Judged(OPEN, measured, "seeds disagree")


def alike(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if with every seed the largest row is at most the factor times the smallest, fails if with none."""
    chosen = swept(test, rows)
    seeds = zip(*(need(row, test["measure"]) for row in chosen), strict=True)
    measured = ", ".join(describe(row, test["measure"]) for row in chosen)
    return unanimous([max(seed) <= test["factor"] * min(seed) for seed in seeds], measured)


def chain(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if the measure falls from each row to the next, as for differences; fails if it rises once."""
    chosen = [get(variant, rows) for variant in test["variants"]]
    pairs = list(itertools.pairwise(chosen))
    steps = [
        difference({**test, "variant": after.variant, "against": before.variant, "side": "below"}, rows)
        for before, after in pairs
    ]
    measured = ", then ".join(describe(row, test["measure"]) for row in chosen)
    verdicts = [step.verdict for step in steps]
    if FAILS in verdicts:
        return Judged(FAILS, measured)
    if set(verdicts) == {HOLDS}:
        return Judged(HOLDS, measured)
    changes = [interval([a - b for a, b in paired(after, before, test["measure"])]) for before, after in pairs]
    agree = sum(
        all(change < 0 for change in seed) for seed in zip(*(estimate.values for estimate in changes), strict=True)
    )
    return undecided(measured, changes[0], agree)


def dominates(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if the error is lower at no more bits, fails if it is higher at no fewer; else the two do not compare."""
    ours, theirs = pair(test, rows)
    error = difference({**test, "side": "below"}, rows)
    rates = paired(ours, theirs, test["rate"])
    extra = interval([a - b for a, b in rates])
    measured = f"{error.measured}; {both(ours, theirs, test['rate'])}"
    if error.verdict == OPEN:
        errors = paired(ours, theirs, test["measure"])
        agree = sum(a < b and x <= y for (a, b), (x, y) in zip(errors, rates, strict=True))
        return undecided(measured, extra, agree)
    if error.verdict == HOLDS and extra.side(0.0) in ("below", "on"):
        return Judged(HOLDS, measured)
    if error.verdict == FAILS and extra.side(0.0) in ("above", "on"):
        return Judged(FAILS, measured)
    if extra.side(0.0) is None:
        more = sum(value > 0 for value in extra.values)
        return Judged(OPEN, measured, f"{more} of {extra.n} seeds spend more bits{UNDECIDED}", lacks="seeds")
    which = "it spends more bits" if error.verdict == HOLDS else "it spends fewer bits"
    return Judged(OPEN, measured, f"{which}; the rates are not equal")


def optimum(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if a codebook between the ends is better than both, fails if an end is better than all others."""
    chosen = [get(variant, rows) for variant in test["variants"]]
    lowest = min(chosen, key=lambda row: float(np.mean(need(row, test["measure"]))))
    inside = lowest not in (chosen[0], chosen[-1])
    rivals = [chosen[0], chosen[-1]] if inside else [row for row in chosen if row is not lowest]
    steps = [
        difference({**test, "variant": lowest.variant, "against": row.variant, "side": "below"}, rows) for row in rivals
    ]
    measured = f"lowest for {describe(lowest, test['measure'])}; ends " + ", ".join(
        describe(row, test["measure"]) for row in (chosen[0], chosen[-1]) if row is not lowest
    )
    if all(step.verdict == HOLDS for step in steps):
        return Judged(HOLDS if inside else FAILS, measured)
    values = [need(row, test["measure"]) for row in chosen]
    agree = sum(min(seed[1:-1], default=math.inf) < min(seed[0], seed[-1]) for seed in zip(*values, strict=True))
    changes = interval([a - b for a, b in paired(lowest, rivals[0], test["measure"])])
    return undecided(measured, changes, agree)


def grows(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if the measure rises from each codebook to the next, beginning at the one with the least error."""
    chosen = [get(variant, rows) for variant in test["variants"]]
    lowest = min(range(len(chosen)), key=lambda place: float(np.mean(need(chosen[place], test["past"]))))
    names = [row.variant for row in chosen[lowest:]]
    if len(names) < 2:
        raise Unjudgeable("the optimum is at the end of the list, nothing is past it")
    return chain({**test, "variants": names[::-1]}, rows)


def best(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if it is lower than the fixed codebook with the lowest mean, as for differences."""
    chosen = [get(variant, rows) for variant in test["among"]]
    get(test["variant"], rows)
    lowest = min(chosen, key=lambda row: float(np.mean(need(row, test["measure"]))))
    return difference({**test, "against": lowest.variant, "side": "below"}, rows)


def moves_on(test: Mapping[str, Any], rows: Rows) -> Judged:
    """Holds if the interval of the change from first to last epoch lies below 0 as a whole, fails if above."""
    row, column = get(test["variant"], rows), test["measure"]
    if column not in row.history:
        raise Unjudgeable(f"`{column}` is not recorded for `{row.variant}`")
    epochs = row.history.pivot(index="seed", columns="epoch", values=column)
    first, last = epochs.iloc[:, 0], epochs.iloc[:, -1]
    change = interval((last - first).tolist())
    measured = (
        f"`{row.variant}` from {first.mean():.3g} to {last.mean():.3g} (n = {change.n}); change {bounds(change, '+')}"
    )
    return settle(change, 0.0, "below", measured)


KINDS: dict[str, Callable[[Mapping[str, Any], Rows], Judged]] = {
    function.__name__: function
    for function in (
        difference,
        ratio,
        same,
        threshold,
        equals,
        within,
        each_within,
        alike,
        chain,
        dominates,
        optimum,
        grows,
        best,
        moves_on,
    )
}


# what the kinds share


def get(variant: str, rows: Rows) -> Row:
    """The variant's row.

    Raises:
        Unjudgeable: it was not run.
    """
    if variant not in rows:
        raise NotRun(variant)
    return rows[variant]


def swept(test: Mapping[str, Any], rows: Rows) -> list[Row]:
    """The rows of a sweep that a test names.

    Raises:
        Unjudgeable: one was not run, or with other seeds than the first.
    """
    missing = [name for name in test["variants"] if name not in rows]
    if missing:
        raise Unjudgeable(f"`{missing[0]}` was not run; `make sweeps` runs it")
    chosen = [rows[name] for name in test["variants"]]
    if any(row.seeds != chosen[0].seeds for row in chosen):
        raise Unjudgeable("the rows have different seeds")
    return chosen


WHOLE_TIMES = ("seconds", "seconds_per_epoch")
"""Over all epochs, also those at a learning rate of 0."""


def need(row: Row, measure: str) -> list[float]:
    """What every seed measured.

    Raises:
        Unjudgeable: a seed has no such number, or its time leaves out work that the published procedure does.
    """
    if measure in WHOLE_TIMES and row.learning_rate_falls and not row.settings["train"]["backprop_at_zero_lr"]:
        raise Unjudgeable(f"the time of `{row.variant}` leaves out idle epochs: `train.backprop_at_zero_lr` is false")
    values = row.values(measure)
    if len(values) < len(row.seeds):
        raise Unjudgeable(f"`{measure}` is not recorded for `{row.variant}`")
    return values


def pair(test: Mapping[str, Any], rows: Rows) -> tuple[Row, Row]:
    """The two rows to compare.

    Raises:
        Unjudgeable: one was not run, or only one of them has a learning rate that falls.
    """
    ours, theirs = get(test["variant"], rows), get(test["against"], rows)
    if ours.learning_rate_falls != theirs.learning_rate_falls:
        raise Unjudgeable("the two have different learning rates over the epochs")
    return ours, theirs


def paired(ours: Row, theirs: Row, measure: str) -> list[tuple[float, float]]:
    """What both rows measured, seed by seed.

    Raises:
        Unjudgeable: the measure is not recorded, or no seed is common to both.
    """
    for row in (ours, theirs):
        need(row, measure)
    both = pd.concat([ours.by_seed(measure), theirs.by_seed(measure)], axis=1, join="inner")
    if both.empty:
        raise Unjudgeable(f"`{ours.variant}` and `{theirs.variant}` have no seed in common")
    return [(float(first), float(second)) for first, second in both.to_numpy()]


def settle(estimate: Interval, limit: float, side: str, measured: str) -> Judged:
    """The verdict of an interval that should lie on `side` of `limit`."""
    where = estimate.side(limit)
    if where is None:
        return undecided(measured, estimate, sum((value < limit) == (side == "below") for value in estimate.values))
    return Judged(HOLDS if where == side else FAILS, measured)


UNDECIDED = ", the interval does not decide"


def undecided(measured: str, estimate: Interval, agree: int) -> Judged:
    """An interval decides nothing: how many seeds agree with the claim."""
    if estimate.n < 2:
        why = f"one seed shows no spread; it {'agrees' if agree else 'disagrees'}"
    else:
        why = f"{agree} of {estimate.n} seeds agree{UNDECIDED}"
    return Judged(OPEN, measured, why, lacks="seeds")


def unanimous(right: Sequence[bool], measured: str) -> Judged:
    if all(right):
        return Judged(HOLDS, measured)
    if any(right):
        return Judged(OPEN, measured, f"{sum(right)} of {len(right)} seeds agree", lacks="seeds")
    return Judged(FAILS, measured)


def setting(row: Row, key: str) -> float:
    """A setting of the row by its dotted name."""
    value: Any = row.settings
    for part in key.split("."):
        value = value[part]
    return float(value)


def describe(row: Row, measure: str) -> str:
    """A row's number in a sentence: mean ± standard deviation, with its unit and n."""
    number, unit = summary.number(row, measure), row.measure(measure).unit
    if number == NONE:
        return NONE
    return f"`{row.variant}` {number}{f' {unit}' if unit else ''} (n = {len(row.values(measure))})"


def brief(test: Mapping[str, Any], rows: Rows) -> str:
    """The numbers that a verdict rests on, without names and intervals; nothing where there are more than three."""
    names = test.get("variants") or [test[key] for key in ("variant", "against") if key in test]
    if len(names) > 3 or "among" in test or not all(name in rows for name in names):
        return ""
    texts = []
    for measure in (test["measure"], *([test["rate"]] if "rate" in test else [])):
        numbers = [describe(rows[name], measure).split("` ")[-1].rpartition(" (n = ")[0] for name in names]
        texts.append((", then " if "variants" in test else " against ").join(numbers))
    return ", ".join(texts) if all(rows[name].values(test["measure"]) for name in names) else ""


def without_intervals(measured: str) -> str:
    """What was measured, without how often and without the part that tells a difference and its interval."""
    return re.sub(r" \(n = \d+\)|[;,] (difference|change|ratio) .*", "", "" if measured == NONE else measured)


def both(ours: Row, theirs: Row, measure: str) -> str:
    return f"{describe(ours, measure)}, {describe(theirs, measure)}"


def bounds(estimate: Interval, sign: str = "") -> str:
    """An interval in a sentence."""
    if estimate.n < 2:
        return f"{estimate.mean:{sign}.3g}"
    return f"{estimate.mean:{sign}.3g} [{estimate.low:{sign}.3g}, {estimate.high:{sign}.3g}]"


PUBLISHED = {
    "val_mse": "mse",
    "test_mse": "mse",
    "codes_in_use": "codes",
    "quantizer_parameters": "parameters",
    "seconds": "duration",
}
"""Measure → its key among the papers' published numbers."""


def publish(paper: Mapping[str, Any], claim: Mapping[str, Any], dataset: str) -> str:
    """The published numbers that belong to a claim on a data set, or what the claim's own line says of another."""
    test = claim["test"]
    table = paper["results"].get(dataset, {"rows": {}, "duration_unit": ""})
    key = PUBLISHED.get(test["measure"])
    names = test.get("variants") or [test[name] for name in ("variant", "against") if name in test]
    numbers = [table["rows"].get(name, {}).get(key) for name in names]
    known = [number for number in numbers if number is not None]
    unit = f" {table['duration_unit']}" if key == "duration" else ""
    enough = bool(known) if "variants" in test else len(known) == len(numbers)
    if claim.get("origin") != "ours" and enough:
        return " against ".join(summary.plain(number) + unit for number in known)
    return str(claim.get("published", NONE))


def rule(test: Mapping[str, Any]) -> str:
    """What a kind of test asks, from its documentation."""
    return (KINDS[test["kind"]].__doc__ or "").splitlines()[0]
