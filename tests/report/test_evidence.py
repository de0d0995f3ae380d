"""Evidence: statistics by hand and against SciPy; every kind of test on numbers that hold, fail and do not decide."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from pipeline import papers
from pipeline.papers import KINDS, Claim
from pipeline.report.evidence import wording
from pipeline.report.evidence.claims import decide, find, judge
from pipeline.report.evidence.decisions import Decision, Verdict, Why, record
from pipeline.report.evidence.published import Answer, meeting, meetings, of_claim
from pipeline.report.evidence.statistics import MOST_SEEDS, Comparison, Estimate, Region, holm
from pipeline.report.results import Results, Row

HOLDS, FAILS, OPEN = Verdict.HOLDS, Verdict.FAILS, Verdict.OPEN
BELOW = Region(-math.inf, 0.0)


def row(variant: str, *, decay: float = 0.0, **measures: list[float]) -> Row:
    """A row with so many seeds as each measure has numbers."""
    count = len(next(iter(measures.values())))
    seeds = [{"seed": seed, **{key: values[seed] for key, values in measures.items()}} for seed in range(count)]
    train = {"lr_decay": decay, "backprop_at_zero_lr": True}
    settings = {"quantizer": {"name": "vq", "num_codes": 100}, "model": {"dim": 64}, "train": train}
    return made_up.row(variant, settings=settings, seeds=seeds)


def claim(kind: str, name: str = "a-claim", **stated: Any) -> Claim:
    test = KINDS[kind].model_validate({"kind": kind, "measure": "test_mse", **stated})
    return Claim(id=name, claim="A sentence", source="a place", test=test)


def decided(one: Claim, *rows: Row) -> Decision:
    """The decision on one claim alone, so that nothing is corrected."""
    return decide([one], {row.variant: row for row in rows})[0]


def difference(*values: float, region: Region = BELOW) -> Comparison:
    return Comparison("a", "b", Estimate("test_mse", "difference", dict(enumerate(values))), region)


LOW, MID, HIGH = [1.0, 1.1, 0.9], [2.0, 2.1, 1.9], [3.0, 3.1, 2.9]
MIXED = [0.5, 3.5, 2.1]
DIFFERENCE = claim("contrast", variant="a", against="b", side="below")

# statistics


def test_an_interval_by_hand() -> None:
    """Differences −1, −2, −3: mean −2, deviation 1, t(2) = 4.302653, so ± 4.302653 / √3 = 2.484138; d_z = 2."""
    found = difference(-1.0, -2.0, -3.0)
    assert (found.estimate.mean, found.estimate.std, found.effect, found.agree) == (-2.0, 1.0, 2.0, 3)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((-4.484138, 0.484138), abs=1e-6)
    assert found.p_holds == pytest.approx(0.074180, abs=1e-6)  # t = −2√3 = −3.4641 of 2 degrees of freedom


def test_a_ratio_is_taken_on_a_logarithmic_scale() -> None:
    """Ratios 1/2, 1/4, 1/8 are −1, −2, −3 in powers of two: a geometric mean of 1/4, and bounds as above."""
    found = Estimate("seconds", "ratio", {0: 0.5, 1: 0.25, 2: 0.125})
    assert found.mean == pytest.approx(0.25)
    assert (found.low, found.high) == pytest.approx((2**-4.484138, 2**0.484138), rel=1e-6)


SPREAD = st.lists(st.floats(-100, 100), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-3)


@given(SPREAD, st.floats(-20, 20))
def test_intervals_and_p_values_are_scipys(values: list[float], limit: float) -> None:
    found = difference(*values, region=Region(-math.inf, limit))
    test = stats.ttest_1samp(values, limit)
    interval = test.confidence_interval(0.95)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((interval.low, interval.high))
    assert min(found.p_holds, found.p_fails) == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=3, max_size=8), st.booleans())
def test_pairs_give_what_scipys_paired_test_gives(pairs: list[tuple[float, float]], by_ratio: bool) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    scaled = (np.log(ours), np.log(theirs)) if by_ratio else (np.array(ours), np.array(theirs))
    assume(np.std(scaled[0] - scaled[1]) > 1e-3)
    test = claim("contrast", variant="a", against="b", side="below", by="ratio" if by_ratio else "difference")
    found = decided(test, row("a", test_mse=ours), row("b", test_mse=theirs))
    assert found.p == pytest.approx(stats.ttest_rel(*scaled).pvalue, rel=1e-6, abs=1e-12)


@given(SPREAD, st.floats(-50, 50), st.floats(0.1, 50))
def test_a_claim_and_its_opposite_never_both_have_a_small_p_value(
    values: list[float], middle: float, half: float
) -> None:
    inside = Region(middle - half, middle + half, closed=True)
    found = difference(*values, region=inside)
    assert max(found.p_holds, found.p_fails) > 0.05
    assert (found.p_holds <= 0.05) == (found.estimate.low >= inside.low and found.estimate.high <= inside.high)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6), st.floats(0.1, 10))
def test_a_over_b_and_b_over_a_are_decided_alike(values: list[float], limit: float) -> None:
    assume(np.std(np.log(values)) > 1e-3)
    there = Estimate("seconds", "ratio", dict(enumerate(values)))
    back = Estimate("seconds", "ratio", {seed: 1 / value for seed, value in enumerate(values)})
    below = Comparison("a", "b", there, Region(0.0, limit)).p_holds
    assert below == pytest.approx(Comparison("b", "a", back, Region(1 / limit, math.inf)).p_holds)


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.04, times 4, 3, 2, 1, each at least what stands before it."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_lies_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, corrected in zip(p_values, adjusted, strict=True):
        assert p <= corrected <= min(1.0, len(p_values) * p) + 1e-12
    for (p, ours), (q, theirs) in itertools.pairwise(sorted(zip(p_values, adjusted, strict=True))):
        assert p > q or ours <= theirs


def test_seeds_needed_by_hand() -> None:
    """Mean −1, deviation 1: t(n−1)/√n is 1.24 for 5 seeds, 1.05 for 6, 0.925 for 7."""
    assert difference(0.0, -1.0, -2.0).seeds_needed() == 7
    assert difference(-0.01, 0.0, 0.01).seeds_needed() == MOST_SEEDS + 1
    assert difference(-1.0).seeds_needed() is None


@given(SPREAD)
def test_so_many_seeds_would_decide_and_one_fewer_would_not(values: list[float]) -> None:
    found = difference(*values)
    needed = found.seeds_needed()
    assert needed is not None
    assert found.estimate.std is not None
    for n in (needed - 1, needed):
        if 3 <= n <= MOST_SEEDS:
            half = stats.t.ppf(0.975, n - 1) * found.estimate.std / math.sqrt(n)
            assert (half < abs(found.estimate.mean)) == (n == needed)


# the kinds of tests


@pytest.mark.parametrize(("ours", "verdict"), [(LOW, HOLDS), (HIGH, FAILS), (MIXED, OPEN), (LOW[:2], OPEN)])
def test_a_difference(ours: list[float], verdict: Verdict) -> None:
    assert decided(DIFFERENCE, row("a", test_mse=ours), row("b", test_mse=MID[: len(ours)])).verdict is verdict


@pytest.mark.parametrize(
    ("side", "limit", "ours", "verdict"),
    [
        ("below", 0.9, LOW, HOLDS),
        ("below", 0.9, HIGH, FAILS),
        ("below", 0.9, [1.2, 3.5, 0.5], OPEN),
        ("above", 1.2, HIGH, HOLDS),
        ("within", 1.1, [2.02, 2.11, 1.92], HOLDS),
        ("within", 1.1, HIGH, FAILS),
        ("within", 1.1, LOW, FAILS),
        ("within", 1.1, MIXED, OPEN),
    ],
)
def test_a_ratio(side: str, limit: float, ours: list[float], verdict: Verdict) -> None:
    test = claim("contrast", measure="seconds", variant="a", against="b", by="ratio", side=side, limit=limit)
    assert decided(test, row("a", seconds=ours), row("b", seconds=MID)).verdict is verdict


def test_equal_numbers_are_not_lower_but_within() -> None:
    same = row("a", test_mse=MID), row("b", test_mse=MID)
    assert decided(DIFFERENCE, *same).verdict is FAILS
    assert decided(claim("contrast", variant="a", against="b", side="within", limit=0.1), *same).verdict is HOLDS


@pytest.mark.parametrize(
    ("stated", "ours", "verdict"),
    [
        ({"side": "above", "limit": 0.9}, [0.95, 0.99], HOLDS),
        ({"side": "above", "limit": 0.9}, [0.1, 0.2], FAILS),
        ({"side": "above", "limit": 0.9}, [0.1, 0.99], OPEN),
        ({"side": "within", "limit": 1, "relative_to": "model.dim"}, [64, 64], HOLDS),
        ({"side": "within", "limit": 1, "relative_to": "model.dim"}, [65, 32768], FAILS),
        ({"side": "within", "limit": 1, "relative_to": "model.dim"}, [64, 65], OPEN),
        ({"side": "within", "limit": 3, "relative_to": "quantizer.num_codes"}, [34, 299], HOLDS),
        ({"side": "within", "limit": 3, "relative_to": "quantizer.num_codes"}, [5, 400], FAILS),
        ({"side": "below", "limit": 1}, [0], HOLDS),
    ],
)
def test_a_statement_on_each_seed(stated: dict[str, Any], ours: list[float], verdict: Verdict) -> None:
    found = decided(claim("each_seed", variants=["a"], **stated), row("a", test_mse=ours))
    assert found.verdict is verdict
    assert (found.p, found.seeds_needed) == (None, None)


@pytest.mark.parametrize(("last", "verdict"), [([9, 8], HOLDS), ([11, 12], FAILS), ([9, 12], OPEN)])
def test_rows_that_end_alike(last: list[float], verdict: Verdict) -> None:
    test = claim("each_seed", variants=["a", "b"], relative_to="smallest", side="within", limit=10)
    assert decided(test, row("a", test_mse=[1, 1]), row("b", test_mse=last)).verdict is verdict


@pytest.mark.parametrize(("last", "verdict"), [(LOW, HOLDS), (HIGH, FAILS), (MIXED, OPEN)])
def test_a_chain_falls_or_rises(last: list[float], verdict: Verdict) -> None:
    rows = row("a", test_mse=[9.0, 9.1, 8.9]), row("b", test_mse=MID), row("c", test_mse=last)
    assert decided(claim("chain", variants=["a", "b", "c"]), *rows).verdict is verdict
    mirrored = (row(one.variant, test_mse=[10 - value for value in one.values("test_mse")]) for one in rows)
    assert decided(claim("chain", variants=["a", "b", "c"], direction="rises"), *mirrored).verdict is verdict


def test_a_chain_begins_at_the_lowest_of_another_measure() -> None:
    test = claim("chain", measure="seconds", variants=["a", "b", "c"], direction="rises", start_at_lowest="test_mse")
    a, c = row("a", test_mse=MID, seconds=HIGH), row("c", test_mse=HIGH, seconds=MID)
    assert decided(test, a, row("b", test_mse=LOW, seconds=LOW), c).verdict is HOLDS
    found = decided(test, a, row("b", test_mse=MID, seconds=LOW), row("c", test_mse=LOW, seconds=LOW))
    assert found.reason is not None
    assert (found.verdict, found.reason.why) == (Verdict.NOT_JUDGED, Why.NOTHING_PAST_OPTIMUM)


@pytest.mark.parametrize(
    ("error", "bits", "verdict", "why"),
    [
        (LOW, LOW, HOLDS, None),
        (LOW, MID, HOLDS, None),
        (LOW, HIGH, Verdict.NOT_JUDGED, Why.RATES_DIFFER),
        (HIGH, HIGH, FAILS, None),
        (HIGH, MID, FAILS, None),
        (HIGH, LOW, Verdict.NOT_JUDGED, Why.RATES_DIFFER),
        (MIXED, LOW, OPEN, Why.SPREAD),
        (LOW, [2.5, 1.2, 1.5], OPEN, Why.SPREAD),
    ],
)
def test_dominance(error: list[float], bits: list[float], verdict: Verdict, why: Why | None) -> None:
    test = claim("dominance", variant="a", against="b", rate="bits_per_latent")
    ours, theirs = row("a", test_mse=error, bits_per_latent=bits), row("b", test_mse=MID, bits_per_latent=MID)
    found = decided(test, ours, theirs)
    assert (found.verdict, found.reason and found.reason.why) == (verdict, why)


@pytest.mark.parametrize(("ours", "verdict"), [(LOW, HOLDS), (HIGH, FAILS), (MIXED, OPEN)])
def test_the_best_of_a_set_is_the_lowest_or_where_more_is_claimed_the_highest(
    ours: list[float], verdict: Verdict
) -> None:
    b, c = row("b", test_mse=[1.98, 2.08, 1.88]), row("c", test_mse=MID)
    found = decided(claim("contrast", variant="a", against=["c", "b"], side="below"), row("a", test_mse=ours), b, c)
    assert (found.verdict, found.comparisons[0].against, found.comparisons[0].chosen_from) == (verdict, "b", (1, 2))
    found = decided(claim("contrast", variant="a", against=["b", "c"], side="above"), row("a", test_mse=ours), b, c)
    assert found.comparisons[0].against == "c"


def test_the_best_of_several_of_ours_pays_for_the_choice() -> None:
    """Two to choose from double the p value of what holds, and not that of what fails."""
    rows = row("a", test_mse=LOW), row("b", test_mse=[5.0, 5.1, 4.8]), row("c", test_mse=[2.0, 2.3, 1.9])
    alone = decided(claim("contrast", variant="a", against="c", side="below"), *rows)
    chosen = decided(claim("contrast", variant=["a", "b"], against="c", side="below"), *rows)
    assert (alone.p, chosen.p) == (pytest.approx(alone.p), pytest.approx(2 * (alone.p or 0)))


@pytest.mark.parametrize(
    ("sizes", "verdict"),
    [
        ([[9.0, 8.5, 8.0], [9.1, 9.0, 8.2], [9.2, 9.0, 8.1]], HOLDS),
        ([[8.0, 9.0], [8.2, 9.1], [8.1, 9.2]], FAILS),
        ([[8.0, 9.0], [9.0, 8.0], [8.0, 8.1]], OPEN),
        ([], Verdict.NOT_JUDGED),
    ],
)
def test_the_last_epoch_against_the_first(sizes: list[list[float]], verdict: Verdict) -> None:
    test = claim("contrast", measure="selected_log2_codes", variant="a", against="first epoch", side="below")
    lines = [
        {"seed": seed, "epoch": epoch, "selected_log2_codes": size}
        for seed, of_seed in enumerate(sizes)
        for epoch, size in enumerate(of_seed, 1)
    ]
    one = dataclasses.replace(row("a", test_mse=[1.0] * 3), history=pd.DataFrame(lines))
    assert decided(test, one).verdict is verdict


def test_seeds_are_paired_by_their_number() -> None:
    one, other = row("a", test_mse=[1.0, 2.0, 3.0]), row("b", test_mse=[30.0, 20.0, 10.0])
    other = dataclasses.replace(other, measured=other.measured[::-1].drop(index=2))
    assert decided(DIFFERENCE, one, other).comparisons[0].estimate.values == {0: -29.0, 1: -18.0}


# why nothing is decided


@pytest.mark.parametrize(
    ("rows", "verdict", "why"),
    [
        ([row("a", test_mse=LOW)], Verdict.NOT_RUN, Why.NOT_RUN),
        ([row("a", seconds=LOW), row("b", test_mse=LOW)], Verdict.NOT_JUDGED, Why.NOT_RECORDED),
        (
            [row("a", test_mse=LOW), row("b", test_mse=MID, decay=1.0)],
            Verdict.NOT_JUDGED,
            Why.LEARNING_RATES_DIFFER,
        ),
        ([row("a", test_mse=[1.0]), row("b", test_mse=[2.0])], OPEN, Why.TOO_FEW_SEEDS),
        ([row("a", test_mse=LOW[:2]), row("b", test_mse=MID[:2])], OPEN, Why.TOO_FEW_SEEDS),
        ([row("a", test_mse=MIXED), row("b", test_mse=MID)], OPEN, Why.SPREAD),
    ],
)
def test_why_a_claim_is_not_decided(rows: list[Row], verdict: Verdict, why: Why, results: Results) -> None:
    found = decided(DIFFERENCE, *rows)
    assert found.reason is not None
    assert (found.verdict, found.reason.why) == (verdict, why)
    assert wording.reason(found, results)


def test_a_ratio_of_zero_and_a_setting_that_a_row_lacks_are_not_judged() -> None:
    ratio = claim("contrast", variant="a", against="b", by="ratio", side="below")
    found = decided(ratio, row("a", test_mse=[0.0, 1.0, 1.0]), row("b", test_mse=MID))
    assert found.reason is not None
    assert found.reason.why is Why.NOT_POSITIVE
    lacking = claim("each_seed", variants=["a"], relative_to="quantizer.levels", side="below", limit=1)
    found = decided(lacking, row("a", test_mse=LOW))
    assert found.reason is not None
    assert found.reason.why is Why.NOT_RECORDED


def test_times_without_idle_epochs_are_not_judged_but_those_of_the_first_epoch_are() -> None:
    """A lattice that leaves out what a rate of 0 discards, beside a moving average that cannot, is no claim's proof."""
    rows = [row(name, seconds=values, seconds_first_epoch=values) for name, values in (("a", LOW), ("b", HIGH))]
    stated = {"variant": "a", "against": "b", "by": "ratio", "side": "below", "limit": 0.5}
    assert decided(claim("contrast", measure="seconds", **stated), *rows).verdict is HOLDS
    rows[0].settings["train"]["backprop_at_zero_lr"] = False
    assert decided(claim("contrast", measure="seconds", **stated), *rows).verdict is Verdict.NOT_JUDGED
    assert decided(claim("contrast", measure="seconds_first_epoch", **stated), *rows).verdict is HOLDS


def test_what_a_claim_alone_decides_the_correction_may_not() -> None:
    """Differences −1, −1.2, −0.9 give p = 0.0073; with 7 claims like it Holm's makes it 0.051."""
    rows = {one.variant: one for one in (row("a", test_mse=[1.0, 0.8, 1.1]), row("b", test_mse=[2.0, 2.0, 2.0]))}
    alone = decide([DIFFERENCE], rows)[0]
    assert (alone.verdict, alone.p) == (HOLDS, pytest.approx(0.00726, abs=1e-4))
    together = decide([DIFFERENCE] * 7, rows)[0]
    assert together.reason is not None
    assert (together.verdict, together.reason.why) == (OPEN, Why.CORRECTION)
    assert (together.p_adjusted, together.family) == (pytest.approx(7 * (alone.p or 0)), 7)
    assert (together.seeds_needed or 0) > 3


@given(st.lists(st.lists(st.floats(0.1, 10), min_size=3, max_size=3), min_size=2, max_size=5))
def test_a_verdict_is_one_that_the_interval_gives_too_and_what_is_open_needs_more_seeds(
    errors: list[list[float]],
) -> None:
    rows = {str(place): row(str(place), test_mse=values) for place, values in enumerate(errors)}
    claims = [claim("contrast", variant="0", against=str(place), side="below") for place in range(1, len(errors))]
    for found in decide(claims, rows):
        estimate = found.comparisons[0].estimate
        if found.verdict is HOLDS:
            assert estimate.high < 0
        elif found.verdict is FAILS:
            assert estimate.low > 0 or estimate.std == 0
        else:
            assert found.seeds_needed is not None
            assert found.seeds_needed > found.n


# the papers' claims


def test_every_claim_of_the_papers_is_decidable() -> None:
    """Made-up rows of all its variants give a verdict with numbers, for one seed and for three."""
    for paper, seeds in itertools.product(papers.read().values(), (1, 3)):
        for one in paper["claims"]:
            names = one.test.named("measure", "rate", "start_at_lowest").values()
            numbers = {key: [1.0, 2.0, 3.0][:seeds] for keys in names for key in keys}
            rows = {name: row(name, **numbers) for name in one.test.variants_needed}
            found = find(one.test, rows)
            if "first epoch" in one.test.named("against")["against"]:  # from the history, which these rows do not have
                assert found.reason is not None
                assert found.reason.why is Why.NOT_RECORDED
            else:
                assert found.comparisons or (found.reason and found.reason.why is Why.NOTHING_PAST_OPTIMUM), one.id


def test_every_decision_of_a_report_has_words_and_is_json(results: Results) -> None:
    decisions = judge(results)
    assert len(decisions) == len(results.plan["datasets"]) * sum(len(p["claims"]) for p in results.papers.values())
    for found in decisions:
        text = wording.sentence(found, results)
        assert text.startswith(wording.word(found))
        assert (found.reason is None) == (found.verdict in (HOLDS, FAILS))
        assert "None" not in text
        assert "nan" not in text
        assert wording.rule(found.claim.test)
    json.dumps([record(found) for found in decisions], allow_nan=False)


def test_claims_over_a_sweep_are_judged_by_its_rows(results: Results) -> None:
    """Codes in use: about 10, 100 and 1,000 where K is 64, 256 and 1,024."""
    found = {(one.claim.id, one.dataset): one for one in judge(results)}
    near = found["lattice-meets-target-k-swept", "photos"]
    assert near.verdict is FAILS
    assert "0.978 times quantizer.num_codes" in wording.numbers(near, results)
    later = found["any-start-ends-alike-corrected", "photos"]
    assert wording.sentence(later, results) == "not run: needs lattice_corrected_init_1 and 2 more rows"


def test_words_of_a_decision(results: Results) -> None:
    found = decided(DIFFERENCE, row("a", test_mse=[1.9, 1.0, 1.8]), row("b", test_mse=MID))
    assert wording.reason(found, results) == "all 3 seeds agree, but their spread is too wide"
    assert wording.numbers(found, results) == (
        "a 1.57 ± 0.49 against b 2.00 ± 0.10; difference in MSE on test −0.433 [−1.87, +1]"
    )
    assert wording.certainty(found) == "n = 3, d_z = 0.751, p = 0.32, 0.32 after Holm's correction over 1"
    assert wording.needed(found) == "about 10 seeds would decide"
    found = decided(DIFFERENCE, row("a", test_mse=LOW[:2]), row("b", test_mse=MID[:2]))
    assert wording.reason(found, results) == "both seeds agree"


# published numbers


@pytest.mark.parametrize(
    ("published", "measured", "answer"),
    [
        (0.013, [0.0131], Answer.TOO_NOISY),
        (0.013, [0.0131, 0.0130, 0.0132], Answer.MET),
        (0.013, [0.0131, 0.0100, 0.0162], Answer.TOO_NOISY),
        (17, [21, 22, 23], Answer.MISSED),
        (17, [17, 18, 17], Answer.MET),
    ],
)
def test_a_published_number_is_met_if_the_interval_lies_within_the_margin(
    published: float, measured: list[float], answer: Answer
) -> None:
    one = row("a", test_mse=measured)
    assert meeting(one, published, Estimate("test_mse", "value", dict(enumerate(measured))), 0.1).answer is answer


def test_the_margin_by_hand() -> None:
    """A tenth of 0.013 and half a unit of its last digit: 0.013 ± 0.0018; of 36: ± 4.1."""
    one, measured = row("a", test_mse=MID), Estimate("test_mse", "value", {0: 1.0})
    found = meeting(one, 0.013, measured, 0.1)
    assert (found.low, found.high) == pytest.approx((0.0112, 0.0148))
    assert meeting(one, 36, measured, 0.1).high == pytest.approx(36 + 4.1)


def test_one_seed_tells_how_many_parameters_there_are() -> None:
    for count, answer in ((64, Answer.MET), (80, Answer.MISSED)):
        measured = Estimate("quantizer_parameters", "value", {0: count})
        assert meeting(row("a", test_mse=LOW), 64, measured, 0.1).answer is answer


@given(SPREAD.map(lambda values: values[:3]), st.floats(0.01, 100))
def test_a_wide_interval_never_meets_a_number(values: list[float], published: float) -> None:
    measured = Estimate("test_mse", "value", dict(enumerate(values)))
    found = meeting(row("a", test_mse=LOW), published, measured, 0.1)
    if found.answer is Answer.MET:
        assert measured.high - measured.low <= found.high - found.low


def test_published_numbers_of_the_report_and_of_a_claim(results: Results) -> None:
    found = {(one.row.name, one.measured.measure, one.recount): one for one in meetings(results)}
    assert not [name for name, *_ in found if name.startswith("photos")]
    assert found["fashion_mnist-lattice", "codes_in_use", True].published == 457
    paper = results.papers["ll_vq_vae"]
    one = next(one for one in paper["claims"] if one.id == "lattice-beats-vq")
    for dataset, published in (("fashion_mnist", (0.009, 0.013)), ("photos", (0.0018, 0.0063))):
        assert tuple(number.value for number in of_claim(one, paper, dataset, results.measures)) == published
