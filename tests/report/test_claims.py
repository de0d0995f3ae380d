"""Claims: every kind of test on made-up numbers that hold, fail and cannot be judged."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics import MEASURES
from pipeline.report import claims, results, summary, verdicts
from pipeline.report.claims import FAILS, HOLDS, OPEN


def row(variant: str, *, decay: float = 0.0, **measures: list[float]) -> results.Row:
    """A row with so many seeds as each measure has numbers."""
    count = len(next(iter(measures.values())))
    seeds = [{"seed": seed, **{key: values[seed] for key, values in measures.items()}} for seed in range(count)]
    train = {"lr_decay": decay, "backprop_at_zero_lr": True}
    settings = {"quantizer": {"name": "vq", "num_codes": 100}, "model": {"dim": 64}, "train": train}
    return made_up.row(variant, settings=settings, seeds=seeds)


def decide(test: dict[str, Any], *rows: results.Row) -> str:
    return claims.decide(test, {one.variant: one for one in rows}).verdict


LOW, MID, HIGH = [1.0, 1.1, 0.9], [2.0, 2.1, 1.9], [3.0, 3.1, 2.9]
MIXED = [0.5, 3.5, 2.1]


def on(measure: str = "test_mse", **more: Any) -> dict[str, Any]:
    return {"measure": measure, **more}


@pytest.mark.parametrize(("ours", "verdict"), [(LOW, HOLDS), (HIGH, FAILS), (MIXED, OPEN), ([1.0], OPEN)])
def test_difference(ours: list[float], verdict: str) -> None:
    test = on(kind="difference", variant="a", against="b", side="below")
    assert decide(test, row("a", test_mse=ours), row("b", test_mse=MID[: len(ours)])) == verdict


def test_difference_by_hand() -> None:
    """Differences −1, −2, −3: mean −2, deviation 1, t(2) = 4.302653, so ± 4.302653 / √3 = 2.484138."""
    found = claims.interval([-1.0, -2.0, -3.0])
    assert (found.mean, found.low, found.high) == pytest.approx((-2.0, -4.484138, 0.484138), abs=1e-6)


@pytest.mark.parametrize(("ours", "agree"), [(MIXED, 1), ([1.9, 1.0, 1.8], 3)])
def test_what_is_not_decided_tells_how_many_seeds_agree(ours: list[float], agree: int) -> None:
    test = on(kind="difference", variant="a", against="b", side="below")
    found = claims.decide(test, {"a": row("a", test_mse=ours), "b": row("b", test_mse=MID)})
    assert (found.verdict, found.why) == (OPEN, f"{agree} of 3 seeds agree, the interval does not decide")


@pytest.mark.parametrize(("ours", "verdict"), [(LOW, HOLDS), (HIGH, FAILS), ([1.2, 3.5, 0.5], OPEN)])
def test_ratio(ours: list[float], verdict: str) -> None:
    test = on("seconds", kind="ratio", variant="a", against="b", side="below", limit=0.9)
    assert decide(test, row("a", seconds=ours), row("b", seconds=MID)) == verdict


@pytest.mark.parametrize(("ours", "verdict"), [([2.02, 2.11, 1.92], HOLDS), (HIGH, FAILS), (MIXED, OPEN)])
def test_same(ours: list[float], verdict: str) -> None:
    test = on("seconds", kind="same", variant="a", against="b", tolerance=0.1)
    assert decide(test, row("a", seconds=ours), row("b", seconds=MID)) == verdict


@pytest.mark.parametrize(("ours", "verdict"), [([0.95, 0.99], HOLDS), ([0.1, 0.2], FAILS), ([0.1, 0.99], OPEN)])
def test_threshold(ours: list[float], verdict: str) -> None:
    test = on("utilization", kind="threshold", variant="a", side="above", limit=0.9)
    assert decide(test, row("a", utilization=ours)) == verdict


@pytest.mark.parametrize(("ours", "verdict"), [([64, 64], HOLDS), ([65, 32768], FAILS), ([64, 65], OPEN)])
def test_equals(ours: list[float], verdict: str) -> None:
    test = on("quantizer_parameters", kind="equals", variant="a", setting="model.dim")
    assert decide(test, row("a", quantizer_parameters=ours)) == verdict


@pytest.mark.parametrize(("ours", "verdict"), [([34, 299], HOLDS), ([5, 400], FAILS), ([50, 400], OPEN)])
def test_within(ours: list[float], verdict: str) -> None:
    test = on("codes_in_use", kind="within", variant="a", setting="quantizer.num_codes", factor=3)
    assert decide(test, row("a", codes_in_use=ours)) == verdict


@pytest.mark.parametrize(("last", "verdict"), [(LOW, HOLDS), (HIGH, FAILS), (MIXED, OPEN)])
def test_chain(last: list[float], verdict: str) -> None:
    test = on(kind="chain", variants=["a", "b", "c"])
    rows = row("a", test_mse=HIGH), row("b", test_mse=MID), row("c", test_mse=last)
    assert decide(test, *rows) == verdict


@pytest.mark.parametrize(
    ("error", "bits", "verdict"),
    [
        (LOW, LOW, HOLDS),
        (LOW, MID, HOLDS),
        (LOW, HIGH, OPEN),
        (HIGH, HIGH, FAILS),
        (HIGH, LOW, OPEN),
        (MIXED, LOW, OPEN),
    ],
)
def test_dominates(error: list[float], bits: list[float], verdict: str) -> None:
    test = on(kind="dominates", rate="bits_per_latent", variant="a", against="b")
    ours, theirs = row("a", test_mse=error, bits_per_latent=bits), row("b", test_mse=MID, bits_per_latent=MID)
    assert decide(test, ours, theirs) == verdict


CODEBOOKS = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [((MID, LOW, HIGH), HOLDS), ((LOW, MID, HIGH), FAILS), ((HIGH, MID, LOW), FAILS), ((MIXED, LOW, HIGH), OPEN)],
)
def test_optimum(errors: tuple[list[float], ...], verdict: str) -> None:
    rows = [row(name, test_mse=error) for name, error in zip(CODEBOOKS, errors, strict=True)]
    assert decide(on(kind="optimum", variants=CODEBOOKS), *rows) == verdict


@pytest.mark.parametrize(("losses", "verdict"), [((MID, HIGH), HOLDS), ((HIGH, MID), FAILS), ((MID, MIXED), OPEN)])
def test_grows(losses: tuple[list[float], ...], verdict: str) -> None:
    """The least error is that of b; what comes before it does not matter."""
    test = on("quantization_loss", kind="grows", past="test_mse", variants=CODEBOOKS)
    rows = [
        row("a", test_mse=MID, quantization_loss=HIGH),
        row("b", test_mse=LOW, quantization_loss=losses[0]),
        row("c", test_mse=HIGH, quantization_loss=losses[1]),
    ]
    assert decide(test, *rows) == verdict


def test_grows_past_the_end() -> None:
    rows = [row(name, test_mse=e, quantization_loss=LOW) for name, e in zip(CODEBOOKS, (HIGH, MID, LOW), strict=True)]
    found = claims.decide(
        on("quantization_loss", kind="grows", past="test_mse", variants=CODEBOOKS), {one.variant: one for one in rows}
    )
    assert found.verdict == OPEN
    assert "nothing is past it" in found.why


@pytest.mark.parametrize(("ours", "verdict"), [(LOW, HOLDS), (HIGH, FAILS), (MIXED, OPEN)])
def test_best(ours: list[float], verdict: str) -> None:
    test = on(kind="best", variant="new", among=["a", "b"])
    assert decide(test, row("new", test_mse=ours), row("a", test_mse=HIGH), row("b", test_mse=MID)) == verdict


@pytest.mark.parametrize(
    ("sizes", "verdict"),
    [
        ([[9.0, 8.0], [9.1, 8.2]], HOLDS),
        ([[8.0, 9.0], [8.2, 9.1]], FAILS),
        ([[8.0, 9.0], [9.0, 8.0]], OPEN),
        ([], OPEN),
    ],
)
def test_moves_on(sizes: list[list[float]], verdict: str) -> None:
    test = on("selected_log2_codes", kind="moves_on", variant="a")
    one = row("a", test_mse=[1.0, 1.0])
    lines = [
        {"seed": seed, "epoch": epoch, "selected_log2_codes": size}
        for seed, of_seed in enumerate(sizes)
        for epoch, size in enumerate(of_seed, 1)
    ]
    history = pd.DataFrame(lines)
    assert claims.decide(test, {"a": dataclasses.replace(one, history=history)}).verdict == verdict


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([row("a", test_mse=LOW)], "`b` is not in the grid"),
        ([row("a", seconds=LOW), row("b", test_mse=LOW)], "`test_mse` is not recorded for `a`"),
        ([row("a", test_mse=LOW), row("b", test_mse=MID, decay=1.0)], "different learning rates"),
        ([row("a", test_mse=[1.0]), row("b", test_mse=[2.0])], "one seed"),
    ],
)
def test_why_a_claim_cannot_be_judged(rows: list[results.Row], why: str) -> None:
    test = on(kind="difference", variant="a", against="b", side="below")
    found = claims.decide(test, {one.variant: one for one in rows})
    assert found.verdict == OPEN
    assert why in found.why


@pytest.mark.parametrize(
    ("rows", "lacks"),
    [
        ([row("a", test_mse=LOW)], "rows"),
        ([row("a", test_mse=MIXED), row("b", test_mse=MID)], "seeds"),
        ([row("a", test_mse=[1.0]), row("b", test_mse=[2.0])], "seeds"),
        ([row("a", test_mse=LOW), row("b", test_mse=MID, decay=1.0)], ""),
        ([row("a", seconds=LOW), row("b", test_mse=LOW)], ""),
    ],
)
def test_what_a_verdict_lacks(rows: list[results.Row], lacks: str) -> None:
    test = on(kind="difference", variant="a", against="b", side="below")
    found = claims.decide(test, {one.variant: one for one in rows})
    assert (found.verdict, found.lacks) == (OPEN, lacks)


def test_a_rate_that_the_seeds_leave_open_tells_how_many_spend_more() -> None:
    test = on(kind="dominates", rate="bits_per_latent", variant="a", against="b")
    ours = row("a", test_mse=LOW, bits_per_latent=[2.5, 2.2, 5.0])
    found = claims.decide(test, {"a": ours, "b": row("b", test_mse=MID, bits_per_latent=MID)})
    assert (found.verdict, found.lacks) == (OPEN, "seeds")
    assert found.why == "3 of 3 seeds spend more bits, the interval does not decide"


def test_a_first_epoch_is_timed_whatever_later_epochs_leave_out() -> None:
    rows = {one.variant: one for one in (row("a", seconds_first_epoch=LOW), row("b", seconds_first_epoch=HIGH))}
    rows["a"].settings["train"]["backprop_at_zero_lr"] = False
    test = on("seconds_first_epoch", kind="ratio", variant="a", against="b", side="below", limit=0.5)
    assert claims.decide(test, rows).verdict == HOLDS


def test_the_counts_of_the_first_screen_add_up() -> None:
    def verdict(judged: claims.Judged) -> claims.Verdict:
        return claims.Verdict("1.1", "ll_vq_vae", {"claim": "c"}, "dots", "–", judged, "")

    found = [claims.Judged(HOLDS), claims.Judged(FAILS), claims.Judged(FAILS), claims.Judged(OPEN, lacks="seeds")]
    told = verdicts.count_in_short([verdict(one) for one in found], 2)
    assert told == "Of 4 claims of the papers, 1 holds here, 2 do not and 1 is open, since 2 seeds do not decide it."
    more = [*found, claims.Judged(OPEN, lacks="rows"), claims.Judged(OPEN, why="no time")]
    told = verdicts.count_in_short([verdict(one) for one in more], 1)
    assert told.endswith(
        "since 1 seed does not decide it, 1 cannot be judged from what was measured and 1 needs rows that were not run."
    )


def test_times_without_idle_epochs_are_not_judged() -> None:
    """A lattice that leaves out what a rate of 0 discards, beside a moving average that cannot, is no claim's proof."""
    rows = {one.variant: one for one in (row("a", seconds=LOW), row("b", seconds=HIGH))}
    test = on("seconds", kind="ratio", variant="a", against="b", side="below", limit=0.5)
    assert claims.decide(test, rows).verdict == HOLDS
    rows["a"].settings["train"]["backprop_at_zero_lr"] = False
    found = claims.decide(test, rows)
    assert (found.verdict, found.why) == (
        OPEN,
        "the time of `a` leaves out idle epochs: `train.backprop_at_zero_lr` is false",
    )


def test_seeds_are_paired_by_their_number() -> None:
    one, other = row("a", test_mse=[1.0, 2.0, 3.0]), row("b", test_mse=[30.0, 20.0, 10.0])
    other = dataclasses.replace(other, measured=other.measured[::-1])
    assert claims.paired(one, other, "test_mse") == [(1.0, 30.0), (2.0, 20.0), (3.0, 10.0)]
    other = dataclasses.replace(other, measured=other.measured.drop(index=2))
    assert claims.paired(one, other, "test_mse") == [(1.0, 30.0), (2.0, 20.0)]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.floats(-10, 10))
def test_an_interval_is_on_one_side_at_most_and_shifts_with_its_values(values: list[float], limit: float) -> None:
    found = claims.interval(values)
    assert found.low <= found.mean <= found.high
    if found.side(limit) == "below":
        assert np.mean(values) < limit
    moved = claims.interval([value + 1e5 for value in values])
    assert moved.side(limit) == "above"


@pytest.mark.parametrize("paper", claims.PAPERS)
def test_every_claim_of_the_papers_is_decidable(paper: str) -> None:
    """Its kind exists, its measures have names, and made-up rows of all its variants give a verdict with numbers."""
    for claim in results.read_papers()[paper]["claims"]:
        test = claim["test"]
        assert claim["claim"]
        assert claim["source"]
        assert test["measure"] in {measure.key for measure in MEASURES}
        assert claims.rule(test).startswith("Holds if ")
        names = {test[key] for key in ("variant", "against") if key in test}
        names |= {name for key in ("variants", "among") for name in test.get(key, [])}
        measures = {test[key]: [1.0, 2.0] for key in ("measure", "rate", "past") if key in test}
        found = claims.decide(test, {name: row(name, **measures) for name in names})
        if test["kind"] == "moves_on":  # from the history, which these rows do not have
            assert "not recorded" in found.why
            continue
        assert found.measured != summary.NONE or "nothing is past it" in found.why, claim


@pytest.mark.parametrize(
    ("published", "values", "met"),
    [
        (0.013, [0.0131], "yes"),
        (0.013, [0.0136], "not judged"),
        (0.013, [0.0136, 0.0128, 0.0141], "yes"),
        (17, [21, 22, 23], "no"),
    ],
)
def test_published_numbers_are_met_within_the_spread_of_the_seeds(
    published: float, values: list[float], met: str
) -> None:
    found = summary.summarize(values)
    assert found is not None
    meeting = verdicts.Meeting(row("a", x=values), "x", published, found, None, verdicts.reach(published, 3, found))
    assert meeting.met == met


def test_reach_by_hand() -> None:
    """Deviation 1 of three seeds against three: 4.302653·√(1/3 + 1/3), and half of 0.1 for the rounding."""
    found = summary.Summary(2.0, 1.0, 3)
    assert verdicts.reach(2.5, 3, found) == pytest.approx(4.302653 * math.sqrt(2 / 3) + 0.05, abs=1e-6)


def test_agreement_at_equal_rate_needs_both_error_and_rate() -> None:
    test = on(kind="dominates", rate="bits_per_latent", variant="a", against="b")
    theirs = row("b", test_mse=MID, bits_per_latent=MID)
    for bits, agree in ((HIGH, 0), (LOW, 2)):
        ours = row("a", test_mse=[*MIXED[:2], 1.0], bits_per_latent=bits)
        found = claims.decide(test, {"a": ours, "b": theirs})
        assert (found.verdict, found.why) == (OPEN, f"{agree} of 3 seeds agree, the interval does not decide")


def test_a_chain_of_rows_with_different_seeds_or_learning_rates_is_told_why() -> None:
    test = on(kind="chain", variants=["a", "b"])
    rows = {"a": row("a", test_mse=HIGH), "b": row("b", test_mse=LOW, decay=1.0)}
    assert claims.decide(test, rows).why == "the two have different learning rates over the epochs"


def test_the_first_screen_tells_what_was_measured_without_its_interval() -> None:
    test = on(kind="best", variant="a", among=["b", "c"])
    rows = {name: row(name, test_mse=values) for name, values in (("a", LOW), ("b", HIGH), ("c", MID))}
    full = claims.decide(test, rows).measured
    assert "difference -1" in full
    short = claims.without_intervals(full)
    assert short == "`a` 1.00 ± 0.10, `c` 2.00 ± 0.10"
    assert claims.without_intervals(claims.NONE) == ""


def test_an_optimum_at_an_end_agrees_with_no_seed() -> None:
    """Both seeds are lowest at an end, which the spread does not decide: none agrees that it lies between."""
    test = on(kind="optimum", variants=["a", "b", "c"])
    rows = {
        name: row(name, test_mse=values) for name, values in (("a", [1.0, 2.0]), ("b", [1.1, 5.0]), ("c", HIGH[:2]))
    }
    found = claims.decide(test, rows)
    assert (found.verdict, found.why) == (OPEN, "0 of 2 seeds agree, the interval does not decide")
