"""The report's first screen: the answer, what is said of the papers, and the forest plot."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import made_up
import numpy as np
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt
from pages import rendered

from pipeline import papers
from pipeline.papers import Claim, Contrast, Dominance
from pipeline.report import jpeg
from pipeline.report.__main__ import main
from pipeline.report.evidence.claims import decide
from pipeline.report.evidence.decisions import Decision, Verdict
from pipeline.report.evidence.ranking import rank
from pipeline.report.results import Results, Row, read_results
from pipeline.report.sections import forest, glance, opening, rate
from pipeline.report.sections.of_a_dataset import paper_form

LESS = Contrast(kind="contrast", measure="test_mse", variant="a", against="b", side="below")
HALF = Contrast(kind="contrast", measure="seconds", variant="a", against="b", by="ratio", side="below", limit=0.5)


def row(variant: str, dataset: str = "dots", decay: float = 0.0, **measures: list[float]) -> Row:
    """A row with so many seeds as each measure has numbers."""
    count = len(next(iter(measures.values())))
    seeds = [{"seed": seed, **{key: values[seed] for key, values in measures.items()}} for seed in range(count)]
    settings = {"quantizer": {"name": "vq"}, "model": {"dim": 64}}
    settings["train"] = {"lr_decay": decay, "backprop_at_zero_lr": True}
    return dataclasses.replace(made_up.row(variant, settings=settings, seeds=seeds), dataset=dataset)


def results_of(*rows: Row) -> Results:
    """Results in memory, with no more than the words of a report need."""
    datasets = list(dict.fromkeys(one.dataset for one in rows))
    measures = [dict(zip(made_up.FIELDS, one, strict=True)) for one in made_up.MEASURES]
    labels = {one.variant: made_up.label(one.variant) for one in rows}
    about = {dataset: {"title": dataset.title(), "shape": [8, 8, 1]} for dataset in datasets}
    plan = {"datasets": datasets, "measures": measures, "labels": labels}
    return Results(plan, {f"{one.dataset}-{one.variant}": one for one in rows}, about, papers.read())


def decided(test: papers.Test, *rows: Row, name: str = "a-claim", paper: str = "balance") -> list[Decision]:
    """A claim on every data set of the rows."""
    claim = Claim(id=name, claim="The first is less than the second", source="somewhere", test=test)
    datasets = dict.fromkeys(one.dataset for one in rows)
    return [
        decide([claim], {one.variant: one for one in rows if one.dataset == dataset}, paper, dataset)[0]
        for dataset in datasets
    ]


# the best row


def test_the_best_row_is_decided_only_where_every_interval_decides() -> None:
    """c is 3 ± 0.1 above a with every seed; b is above a by −1, 0.5 and 1, an interval that covers 0."""
    a, b, c = ([1.0, 2.0, 3.0], [0.5, 2.5, 4.0], [4.0, 5.1, 5.9])
    both, three = [row("c", x=c), row("a", x=a)], [row("c", x=c), row("b", x=b), row("a", x=a)]
    found = rank(both, "x")
    assert found is not None
    assert (found.best.variant, found.decided, found.enough) == ("a", True, True)
    found = rank(three, "x")
    assert found is not None
    assert ([one.variant for one in found.rows], [one.variant for one in found.close]) == (["a", "b", "c"], ["b"])
    highest = rank(both, "x", "above")
    assert highest is not None
    assert highest.best.variant == "c"
    assert rank(both, "y") is None


def test_two_seeds_decide_no_best_row() -> None:
    found = rank([row("a", x=[1.0, 1.1]), row("b", x=[9.0, 9.1])], "x")
    assert found is not None
    assert not found.decided
    assert not found.enough
    assert opening.best(found, "x").text == "a (1.05); next b (9.05)"


def test_cells_of_the_best_row() -> None:
    """Bold where it is decided, else with those that are not told apart."""
    a, b, c = (
        row(name, x=values) for name, values in (("a", [1.0, 1.1, 1.2]), ("b", [9.0, 9.2, 9.1]), ("c", [1.3, 1.0, 1.2]))
    )
    assert opening.best(rank([a, b], "x"), "x").text == "**a (1.10)**"
    assert opening.best(rank([a, b, c], "x"), "x").text == "a (1.10); not told apart: c"
    assert opening.best(rank([a], "x"), "x").text == "a (1.10), the only row"


def test_the_best_row_at_each_whole_number_of_bits() -> None:
    """At most 3 bits: a alone; at most 5: b; c needs more than b for a higher error; d's entropy is saturated."""

    def at(name: str, bits: float, error: float, **more: list[float]) -> Row:
        return row(name, bits_per_latent=[bits], bits_per_pixel=[bits / 4], test_mse=[error], **more)

    dense = {"most_bits_seen": [16.0], "bits_per_latent_by_dimension": [40.0]}
    rows = [at("a", 2.5, 0.3), at("b", 4.2, 0.2), at("c", 6.0, 0.25), at("d", 15.9, 0.1, **dense), at("e", 0.0, 9.0)]
    found = rate.best_within(rows)
    assert [(bits, ranking.best.variant) for bits, ranking in found] == [(3, "a"), (5, "b"), (40, "d")]
    assert opening.at_equal_rate(rows[:3]).text == "up to 3 bits: a; up to 5 bits: b"
    assert rate.rate_of(rows[4]) is None


def test_jpeg_beside_rows_by_hand() -> None:
    """JPEG: 1 bit per pixel at an error of 0.04, 4 bits at 0.01, so 2 bits at 0.02. Rows at 2 bits, and one beyond."""
    points = [jpeg.Point(10, 1.0, 0.04), jpeg.Point(50, 4.0, 0.01)]
    assert jpeg.error_at(points, 2.0) == pytest.approx(0.02)
    assert jpeg.error_at(points, 5.0) is None
    rows = [
        row(name, bits_per_latent=[8.0], bits_per_pixel=[bits], test_mse=[error])
        for name, bits, error in (("a", 2.0, 0.03), ("b", 2.0, 0.01), ("c", 0.5, 0.01))
    ]
    assert opening.beside_jpeg(rows, points).text == "lower error than 1 of 2 rows; 1 lies beyond its rates"


def test_names_beside_a_panel_stand_apart_and_within_it() -> None:
    assert rate.spread([0.1, 0.11, 0.5], 0.1) == pytest.approx([0.1, 0.2, 0.5])
    assert rate.spread([0.9, 0.95, 0.99], 0.1) == pytest.approx([0.8, 0.9, 1.0])


# a few sentences


def test_every_claim_that_is_said_is_one_of_its_paper() -> None:
    stated = papers.read()
    for paper, sentences in glance.SAYINGS.items():
        assert 3 <= len(sentences) <= 5
        known = {claim.id for claim in stated[paper]["claims"]}
        assert {saying.claim for sayings in sentences for saying in sayings} <= known


LOW, HIGH, MIXED = [1.0, 1.1, 0.9], [2.0, 2.1, 1.9], [0.5, 3.5, 2.1]


@pytest.mark.parametrize(
    ("ours", "sentence"),
    [
        ({"one": LOW}, "The lattice has a lower error than VQ-VAE."),
        ({"one": LOW[:2]}, "With both seeds the lattice has a lower error than VQ-VAE."),
        ({"one": [3.0, 3.1, 2.9]}, "The lattice has a higher error than VQ-VAE."),
        ({"one": MIXED}, "Whether the lattice has a lower error than VQ-VAE is undecided."),
        ({"one": LOW, "two": [3.0, 3.1, 2.9]}, "The lattice has a lower error than VQ-VAE on One; not so on Two."),
        ({"one": LOW, "two": LOW, "three": LOW}, "The lattice has a lower error than VQ-VAE on all 3 data sets."),
        (
            {"one": LOW, "two": MIXED, "three": MIXED},
            "The lattice has a lower error than VQ-VAE on One; undecided on the others.",
        ),
    ],
)
def test_what_is_said_of_a_claim(ours: dict[str, list[float]], sentence: str) -> None:
    rows = [row("a", name, test_mse=values) for name, values in ours.items()]
    rows += [row("b", name, test_mse=HIGH[: len(values)]) for name, values in ours.items()]
    decisions = decided(LESS, *rows, name="lattice-beats-vq", paper="ll_vq_vae")
    assert list(glance.said(results_of(*rows), "ll_vq_vae", decisions)) == [sentence]


def test_claims_with_the_same_findings_are_said_together() -> None:
    rows = row("a", test_mse=LOW), row("b", test_mse=HIGH)
    decisions = [
        one for name in ("lattice-beats-vq", "lattice-beats-vq-ema") for one in decided(LESS, *rows, name=name)
    ]
    said = list(glance.said(results_of(*rows), "ll_vq_vae", decisions))
    assert said == ["The lattice has a lower error than VQ-VAE and VQ-VAE (EMA)."]


def test_at_equal_rate_nothing_is_decided_where_the_better_spends_more() -> None:
    test = Dominance(kind="dominance", measure="test_mse", rate="bits_per_latent", variant="a", against="b")
    rows = row("a", test_mse=LOW, bits_per_latent=HIGH), row("b", test_mse=HIGH, bits_per_latent=LOW)
    decisions = decided(test, *rows, name="lattice-beats-vq-at-equal-rate")
    assert list(glance.said(results_of(*rows), "ll_vq_vae", decisions)) == [
        "It spends more bits for the lower error than VQ-VAE, so that at equal rate nothing is decided."
    ]


def test_what_was_not_run_is_said_once(tmp_path: Path) -> None:
    """One row alone: the claims that need others are one sentence, and no line of any table or figure."""
    paths = made_up.make(tmp_path, ("dots",), ("lattice",), (0, 1, 2))
    main(paths)
    results = read_results(paths)
    page = paths.report.read_text()
    claims = sum(len(paper["claims"]) for paper in results.papers.values())
    tested = [line for line in page.splitlines() if '<a id="verdict-' in line]
    assert f"Not tested: {claims - 3} claims that need rows which are not in this run: `vq`, " in page
    assert "not run: " not in page
    assert "figure-forest" not in page  # nothing is compared with anything
    assert {"lattice-has-d-parameters", "lattice-does-not-collapse", "lattice-meets-target-k"} <= {
        line.split("`")[1] for line in tested
    }
    assert "Too few seeds" not in page


def test_too_few_seeds_are_said_once(tmp_path: Path) -> None:
    paths = made_up.make(tmp_path, ("dots",), ("lattice", "vq", "vq_ema"), (0, 1))
    main(paths)
    page = paths.report.read_text()
    assert page.count("Too few seeds") == 1
    assert "too few" not in page.replace("Too few seeds", "")
    assert "Every row was trained with 2 seeds;" in page


def test_the_answer_stands_first(results: Results) -> None:
    first, *_ = opening.section(results)
    lines = rendered([first]).splitlines()
    questions = [line.split("|")[1].strip() for line in lines[2:]]
    share = "largest share of codes in use"
    assert questions == ["lowest error (MSE on test)", "lowest error at equal rate", share, "JPEG at equal rate"]
    assert "LL-VQ-VAE (0.00" in lines[2]


def test_what_is_different_from_the_paper_stands_beside_it() -> None:
    """Epochs and batches, not sizes and seeds; rows at a constant learning rate do not count."""
    train = {"epochs": 3, "batch_size": 8, "lr": 0.001, "max_images": None, "lr_decay": 0.0}
    settings = {"model": {"dim": 64, "hidden": [64]}, "train": train, "quantizer": {"name": "vq", "num_codes": 512}}
    published = dataclasses.replace(row("vq", "celeba", test_mse=LOW), settings=settings)
    steady = dataclasses.replace(
        row("lattice", "celeba", test_mse=LOW), settings={**settings, "train": {"lr_decay": 1.0}}
    )
    (said,) = paper_form.unlike(results_of(published, steady), "celeba")
    assert "as published: `train.epochs = 3` (there 5); `train.batch_size = 8` (there 64). What" in said.markdown
    (said,) = paper_form.unlike(results_of(dataclasses.replace(published, dataset="ffhq")), "ffhq")
    assert "`train.batch_size = 8` (there 32); `model.hidden = [64]` (there [16, 32]). What" in said.markdown
    assert not list(paper_form.unlike(results_of(steady), "celeba"))


# the forest plot


def drawn(kind: str, axes: plt.Axes) -> list[np.ndarray]:
    return [line.get_xydata() for line in axes.lines if line.get_label() == kind]


def test_the_forest_shows_every_seed_the_interval_and_the_claimed_side() -> None:
    """Of 1 and 2: differences of −1 at another mean of 2, so ratios of 0.5; of times, ratios of 1 to a limit of 0.5."""
    rows = [row("a", test_mse=LOW, seconds=[1.0, 1.0, 1.0]), row("b", test_mse=HIGH, seconds=[1.0, 1.1, 0.9])]
    decisions = [*decided(LESS, *rows), *decided(HALF, *rows, name="half", paper="ll_vq_vae")]
    (figure,) = forest.figure(results_of(*rows), decisions)
    axes = figure.draw().axes[0]
    seeds = drawn("_seed", axes)
    assert [float(one[0][0]) for one in seeds] == pytest.approx([0.5, 0.5, 0.5, 1.0, 1 / 1.1, 1 / 0.9])
    assert len({float(one[0][1]) for one in seeds}) == 2  # a line for each claim
    assert len(drawn("_mean", axes)) == len(drawn("_interval", axes)) == 2
    low, high = axes.get_xlim()
    shaded = [patch.get_paths()[0].get_extents() for patch in axes.collections]
    assert [(one.x0, one.x1) for one in shaded] == [pytest.approx((low, 1.0)), pytest.approx((low, 0.5))]
    assert low < 0.5 < 1 / 0.9 < high
    texts = [text.get_text() for text in axes.texts]
    assert {"Balance", "LL-VQ-VAE", "The first is less than the second", "MSE on test: a ÷ b", "3/3", "0/3"} <= set(
        texts
    )
    marks = [(line.get_marker(), colors.to_hex(line.get_color())) for line in axes.lines if line.get_markersize() == 7]
    assert marks == [("o", "#009e73"), ("X", "#d55e00")]
    assert "holds: 1, does not hold: 1" in figure.alt


def test_two_seeds_have_no_interval_and_what_lies_beyond_the_axis_is_a_triangle() -> None:
    rows = [row("a", test_mse=[100.0, 102.0]), row("b", test_mse=[1.0, 1.0])]
    (figure,) = forest.figure(results_of(*rows), decided(LESS, *rows))
    axes = figure.draw().axes[0]
    assert not drawn("_interval", axes)
    assert [line.get_marker() for line in axes.lines if line.get_label() == "_seed"] == [">", ">"]


def test_several_data_sets_are_lines_and_columns_of_their_own() -> None:
    rows = [
        row(name, dataset, test_mse=values) for dataset in ("one", "two") for name, values in (("a", LOW), ("b", HIGH))
    ]
    (figure,) = forest.figure(results_of(*rows), decided(LESS, *rows))
    axes = figure.draw().axes[0]
    assert len({float(one[0][1]) for one in drawn("_seed", axes)}) == 2
    assert {"One", "Two"} <= {text.get_text() for text in axes.texts}
    assert sum(line.get_markersize() == 7 for line in axes.lines) == 2


def test_a_claim_that_was_not_run_is_no_line() -> None:
    rows = [row("a", test_mse=LOW), row("c", test_mse=HIGH)]
    decisions = decided(LESS, *rows)
    assert decisions[0].verdict is Verdict.NOT_RUN
    assert not list(forest.figure(results_of(*rows), decisions))
