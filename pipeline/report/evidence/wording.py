"""Decisions in words. Nothing else of the report turns a decision into text, and nothing reads the text back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.papers import FIRST_EPOCH, SMALLEST, Chain, Claim, Contrast, EachSeed, Test
from pipeline.report import summary
from pipeline.report.evidence.decisions import Decision, Reason, Verdict, Why
from pipeline.report.evidence.published import Answer
from pipeline.report.evidence.statistics import MOST_SEEDS, Comparison, Estimate, of_row
from pipeline.report.results import Measure, Results, Row

WORDS = {
    Verdict.HOLDS: "holds",
    Verdict.FAILS: "does not hold",
    Verdict.OPEN: "undecided",
    Verdict.NOT_RUN: "not run",
    Verdict.NOT_JUDGED: "not judged",
}
ANSWERS = {Answer.MET: "met", Answer.MISSED: "missed", Answer.TOO_NOISY: "too noisy"}
METHOD = """Rows are paired by seed: with one seed all start from the same weights and see the same order of images. The
differences of the seeds, or the logarithms of their ratios, give Student's 95 % interval of the mean, and a claim holds
or fails where that interval lies on one side of its limit and Holm's correction over the claims of the same paper on
the same data set leaves p ≤ 0.05; what this project asks beside a paper is corrected apart. With fewer than three seeds
no interval decides. The effect size is Cohen's d_z, the distance of the mean from the limit in standard deviations of
the paired values, negative on the side that the claim denies."""


def word(decision: Decision) -> str:
    """The verdict in one or two words."""
    return WORDS[decision.verdict]


def reason(decision: Decision, results: Results) -> str:
    """Why there is no verdict, in half a sentence; empty where there is one."""
    return REASONS[decision.reason.why](decision, decision.reason, results) if decision.reason else ""


def needed(decision: Decision) -> str:
    """How many seeds would decide, or nothing."""
    if decision.seeds_needed is None:
        return ""
    if decision.seeds_needed > MOST_SEEDS:
        return f"more than {MOST_SEEDS} seeds would be needed"
    return f"about {decision.seeds_needed} seeds would decide"


def sentence(decision: Decision, results: Results) -> str:
    """The verdict, why there is none, the numbers it rests on, and how sure they are."""
    parts = [reason(decision, results), needed(decision), numbers(decision, results), certainty(decision)]
    text = "; ".join(part for part in parts if part)
    return f"{word(decision)}: {text}" if text else word(decision)


def numbers(decision: Decision, results: Results) -> str:
    """Each row's own numbers, then the differences or ratios with their intervals."""
    measures = results.measures
    rows = [
        f"{title(variant, results)} {' at '.join(value(one, measures) for one in found.values())}"
        for variant, found in decision.measured.items()
        if found
    ]
    joint = {Chain: ", then ", EachSeed: ", "}.get(type(decision.claim.test), " against ")
    return "; ".join([joint.join(rows), *filter(None, (compared(one, measures) for one in decision.comparisons))])


def value(one: Estimate, measures: Mapping[str, Measure]) -> str:
    """mean ± standard deviation, with its unit."""
    measure = measures[one.measure]
    mean, places = summary.Summary(one.mean, one.std, one.n), measure.decimals
    places = summary.decimals([measure.scale * mean.mean]) if places is None else places
    return f"{summary.write(mean, places, measure.scale)} {measure.unit}".rstrip()


def compared(one: Comparison, measures: Mapping[str, Measure]) -> str:
    """A difference or ratio with its interval, or how many times a setting it is; nothing for a row by itself."""
    estimate, measure = one.estimate, measures[one.estimate.measure]
    if estimate.form == "value":
        return ""
    if one.by_seed:
        return f"{number(estimate.mean)} times {'the smallest' if one.against == SMALLEST else one.against}"
    scale = measure.scale if estimate.form == "difference" else 1.0
    return f"{estimate.form} in {measure.title} {interval(estimate, scale)}"


def difference(ours: Row, theirs: Row, measure: str) -> str:
    """The paired difference of two rows with its interval, as a description: no claim rests on it."""
    first, second = (of_row(row, measure) for row in (ours, theirs))
    shared = {seed: value for seed, value in first.values.items() if seed in second.values} if first and second else {}
    if not first or not second or not shared:
        return summary.NONE
    found = Estimate(measure, "difference", {seed: value - second.values[seed] for seed, value in shared.items()})
    return interval(found, ours.measure(measure).scale)


def interval(estimate: Estimate, scale: float = 1.0) -> str:
    """The mean and its 95 % interval, which one seed does not have."""
    sign = "+" if estimate.form == "difference" else ""
    mean, low, high = (number(scale * end, sign) for end in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]" if estimate.n > 1 else mean


def number(value: float, sign: str = "") -> str:
    """Three significant digits."""
    return f"{value:{sign if value else ''}.3g}".replace("-", "−")


def certainty(decision: Decision) -> str:
    """Seeds, effect size and p values."""
    if decision.p is None or decision.main is None or decision.n < 2:
        return f"n = {decision.n}" if decision.n else ""
    effect = "" if decision.main.effect is None else f", d_z = {number(decision.main.effect)}"
    return (
        f"n = {decision.n}{effect}, p = {decision.p:.2g}, {decision.p_adjusted:.2g} after Holm's correction over "
        f"{decision.family}"
    )


def title(variant: str, results: Results) -> str:
    """What a variant is called; a row of a sweep that was not run, or an epoch, by its name."""
    return str(results.plan["labels"].get(variant, {}).get("title", variant))


def place(claim: Claim) -> str:
    """Where a claim stands in its paper, or which claim it follows."""
    return claim.source or f"{claim.follows}, {claim.note}"


def rule(test: Test) -> str:
    """What a test asks, for the reader who wants to know how a claim is decided."""
    if isinstance(test, Contrast):
        what = "a row's last and first epoch" if test.against == FIRST_EPOCH else "two rows"
        limit = (1.0 if test.by == "ratio" else 0.0) if test.limit is None else test.limit
        return f"The {test.by} of {what} is {bound(test.side, limit, test.by == 'ratio')}."
    if isinstance(test, EachSeed):
        return f"Each seed by itself, without an interval, is {bound(test.side, test.limit, bool(test.relative_to))}."
    if isinstance(test, Chain):
        return f"The mean {test.direction} from each row to the next; each step is a difference of two rows."
    return "The lower mean at no more of the rate; where each row is better in one of the two, they do not compare."


def bound(side: str, limit: float, ratio: bool) -> str:
    """The side of a limit."""
    if side == "within":
        return f"within a factor of {limit:g}" if ratio else f"within ±{limit:g}"
    return f"{side} {limit:g}"


def _too_few(decision: Decision, _: Reason, __: Results) -> str:
    """That they are too few, the report says once."""
    if decision.n == 1:
        return f"the one seed {'agrees' if decision.agree else 'disagrees'}"
    return ("neither seed agrees", "one of 2 seeds agrees", "both seeds agree")[decision.agree]


def _spread(decision: Decision, _: Reason, __: Results) -> str:
    if decision.agree == decision.n:
        return f"all {decision.n} seeds agree, but their spread is too wide"
    agree = f"{decision.agree or 'none'} of {decision.n} seeds agree{'s' if decision.agree == 1 else ''}"
    return f"{agree}, and their spread is too wide"


def _rates(decision: Decision, why: Reason, results: Results) -> str:
    error, rate = (results.measures[one.estimate.measure].title for one in decision.comparisons)
    lower, more = ("lower", "more") if decision.comparisons[1].estimate.mean > 0 else ("higher", "fewer")
    return f"{title(why.variants[0], results)} has the {lower} {error} at {more} {rate}"


def _not_run(_: Decision, why: Reason, results: Results) -> str:
    first, *others = (title(variant, results) for variant in why.variants)
    return f"needs {first}" + (f" and {len(others)} more rows" if others[1:] else f" and {others[0]}" if others else "")


def _named(text: str) -> Callable[[Decision, Reason, Results], str]:
    """A sentence with the variants and the measure of the reason put in."""

    def filled(_: Decision, why: Reason, results: Results) -> str:
        return text.format(*(title(variant, results) for variant in why.variants), measure=why.measure)

    return filled


REASONS: dict[Why, Callable[[Decision, Reason, Results], str]] = {
    Why.TOO_FEW_SEEDS: _too_few,
    Why.SPREAD: _spread,
    Why.CORRECTION: lambda decision, *_: f"decided by itself, not after Holm's correction over {decision.family}",
    Why.SEEDS_DISAGREE: lambda decision, *_: f"true of {decision.agree} of {decision.n} seeds",
    Why.NOT_RUN: _not_run,
    Why.NOT_RECORDED: _named("{measure} is not recorded for {0}"),
    Why.NO_COMMON_SEED: _named("{0} and {1} have no seed in common"),
    Why.LEARNING_RATES_DIFFER: _named("only one of {0} and {1} has a learning rate that falls"),
    Why.IDLE_EPOCHS_LEFT_OUT: _named(
        "the time of {0} leaves out epochs at a learning rate of 0 (train.backprop_at_zero_lr)"
    ),
    Why.RATES_DIFFER: _rates,
    Why.NOTHING_PAST_OPTIMUM: _named("the lowest is the last, {0}: nothing is past it"),
    Why.NOT_POSITIVE: _named("a ratio needs positive numbers, and {measure} has others"),
}
