"""The audit's findings and figures, on made-up rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pages import rendered

from pipeline import papers
from pipeline.report import results as reading
from pipeline.report.results import Row
from pipeline.report.sections import audit, audit_figures
from pipeline.report.sections.of_a_dataset import codebooks

BITS = {"bits_per_latent": 4.0, "bits_per_pixel": 1.0, "perplexity": 16.0, "seconds_per_epoch": 2.0}


def row(variant: str, errors: list[float], *, quantizer: dict[str, Any], lr_decay: float = 0.0, **more: Any) -> Row:
    """Two seeds with one history; the last of `errors` is the error on test, the second seed's a tenth higher."""
    train = {"lr_decay": lr_decay, "batch_size": 16, "backprop_at_zero_lr": True}
    settings = {"quantizer": quantizer, "model": {"dim": 8}, "train": train}
    seeds = [{"seed": seed, "test_mse": errors[-1] * (1 + seed / 10), **BITS, **more} for seed in (0, 1)]
    lines = [
        {"seed": seed, "epoch": epoch, "val_mse": error, "learning_rate": 0.1, "spacing_mean": 1.0 + epoch}
        for seed in (0, 1)
        for epoch, error in enumerate(errors, 1)
    ]
    pictures = {
        "originals": np.zeros((1, 4, 6, 3), dtype=np.uint8),
        "moving_batches": np.array([1, 2, 4]),
        "moving_codes": np.array([[3, 5, 9], [3, 5, 9]]),
    }
    made = {"settings": settings, "seeds": seeds, "history": pd.DataFrame(lines), "pictures": pictures}
    return made_up.row(variant, **made, images={"train": 160})


EMA = {"name": "vq_ema", "num_codes": 16, "store_smoothed": True, "first_count": 0.0}
LATTICE = {"name": "lattice", "num_codes": 16, "learning": "learned"}


def rows(*found: Row) -> dict[str, Row]:
    return {one.variant: one for one in found}


def test_what_late_epochs_change() -> None:
    found = rows(row("vq_ema", [0.4, 0.5], quantizer=EMA), row("lattice", [0.4, 0.1], quantizer=LATTICE))
    assert audit.late_epochs(found) == "error from the first to the last epoch: `vq_ema` +25.0 %, `lattice` -75.0 %"


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([0.4, 0.2, 0.3], "spacing 2.00 to 4.00, error lowest after epoch 2 of 3, then +50.0 %"),
        ([0.4, 0.3, 0.2], "spacing 2.00 to 4.00, error still falling after 3 epochs; more `train.epochs` go on"),
    ],
)
def test_when_a_constant_learning_rate_breaks(errors: list[float], told: str) -> None:
    found = rows(
        row("lattice_corrected", errors, quantizer=LATTICE, lr_decay=1.0), row("lattice", [1], quantizer=LATTICE)
    )
    assert audit.constant(found) == f"`lattice_corrected` {told}"


def test_every_steady_lattice_that_is_driven_apart_is_told_however_it_is_called() -> None:
    found = rows(
        row("lattice_corrected", [0.4, 0.3], quantizer=LATTICE, lr_decay=1.0),
        row("lattice_long", [0.4, 0.2, 0.3, 0.4], quantizer=LATTICE, lr_decay=1.0),
        row("denser", [0.4, 0.3], quantizer={**LATTICE, "gamma": -1.0}, lr_decay=1.0),
        row("still", [0.4, 0.3], quantizer={**LATTICE, "learning": "frozen"}, lr_decay=1.0),
    )
    assert [one.variant for one in audit_figures.steady_lattices(found)] == ["lattice_corrected", "lattice_long"]
    assert str(audit.constant(found)).endswith("error lowest after epoch 2 of 4, then +100.0 %")


def test_a_switch_is_two_rows_that_differ_in_it_alone() -> None:
    base = row("vq_ema", [0.4], quantizer=EMA)
    kept = row("kept", [0.3], quantizer={**EMA, "store_smoothed": False})
    two = row("two", [0.3], quantizer={**EMA, "store_smoothed": False, "first_count": 1.0})
    found = audit.switch(rows(base, kept, two), "store_smoothed")
    assert found is not None
    assert found.startswith("`store_smoothed: False` in `kept`: error −0.1")
    assert "two" not in found
    assert audit.switch(rows(base, two), "store_smoothed") is None


def test_both_counts_are_told() -> None:
    found = rows(row("vq_ema", [0.4], quantizer=EMA, codes_in_use=5, codes_moving=9, dead_codes=11))
    assert audit.moving(found) == "`vq_ema` 5 ± 0 frozen, 9 ± 0 over 4 batches in training mode"
    assert audit.dead(found) == "`vq_ema` 11 ± 0 of 16 dead"


def test_numbers_of_latents_and_image() -> None:
    """A latent for every 4 pixels: 24 / 4 · 8 = 48 against 24 · 3 = 72."""
    assert audit.numbers(rows(row("lattice", [0.4], quantizer=LATTICE))) == "48 against 72"


def test_nothing_is_told_where_nothing_was_run() -> None:
    other = rows(row("fsq", [0.4], quantizer={"name": "fsq"}))
    points = papers.read()["ll_vq_vae"]["audit"]
    assert len(points) == 17
    told = {one["finding"].split()[0] for one in points if "finding" in one and audit.find(one["finding"], other)}
    assert told == {"numbers"}


def shown_numbers(figure: Figure) -> list[float]:
    """All that is drawn along the axis of numbers: of lines their values, of bars their lengths."""
    lines = [float(y) for axes in figure.axes for line in axes.lines for y in (*line.get_xdata(), *line.get_ydata())]
    return lines + [float(bar.get_width()) for axes in figure.axes for bar in axes.patches]


SHOWN = {  # figure → numbers of the made-up rows below that must be in it
    "epochs": [0.1, 0.75, 0.5, 0.25],  # learning rate; errors relative to the first epoch
    "spacing": [2.0, 3.0, 0.4, 0.2],
    "counts": [3, 5, 9, 16],
    "codes": [100 * 5 / 16, 100 * 7 / 16, 100 * 4 / 16],
    "switches": [0.0],  # as large an error as the lattice it differs from
    "splits": [0.3, 0.315, 5, 4],
    "time": [2.0],
    "dimensions": [3],
    "breaks": [2.0, 3.0, 0.4, 0.1, 5],
    "bits": [8 * 24 * 3, 32 * 6 * 8, 24],
}


FIGURES = [make.__name__ for make in audit_figures.FIGURES]


def test_every_figure_shows_the_numbers_of_its_rows() -> None:
    more = {"codes_in_use": 5, "codes_in_use_test": 4, "val_mse": 0.3, "seconds_first_epoch": 2.0}
    dead = {"dead_codes": 11, "codes_in_initial_box": 4}
    lattice = {**more, "active_dimensions": 3}
    found = rows(
        row("vq", [0.4, 0.3], quantizer={"name": "vq", "num_codes": 16}, **more, **dead),
        row("lattice", [0.4, 0.2], quantizer=LATTICE, **lattice),
        row("lattice_frozen", [0.4, 0.2], quantizer={**LATTICE, "learning": "frozen"}, **lattice),
        row("lattice_corrected", [0.4, 0.1], quantizer=LATTICE, lr_decay=1.0, **lattice),
    )
    assert list(SHOWN) == FIGURES
    for make, name in zip(audit_figures.FIGURES, FIGURES, strict=True):
        figure = make(found)
        assert figure is not None
        assert figure.key == name
        drawn = shown_numbers(figure.draw())
        for number in SHOWN[name]:
            assert any(number == pytest.approx(one) for one in drawn), (name, number, drawn)
        assert make(rows(row("fsq", [0.4], quantizer={"name": "fsq"}))) is None, name


def test_every_point_of_the_audit_names_a_finding_and_a_figure_that_exist() -> None:
    """Of 17 points two are no matter of training: how numbers are rounded, and the network of the text."""
    points = papers.read()["ll_vq_vae"]["audit"]
    of_the_data_set = {"usage", "rate"}
    for one in points:
        assert ("finding" in one) == ("figure" in one)
        if "finding" in one:
            assert one["finding"].split()[0] in audit.FINDINGS
            assert one["figure"] in {*FIGURES, *of_the_data_set}
    assert [place for place, one in enumerate(points, 1) if "finding" not in one] == [13, 15]
    assert set(FIGURES) <= {one.get("figure") for one in points}


SPACINGS = ((0, 2.0), (5, 2.4), (10, 3.0), (15, 3.0), (20, 3.0))


def traced(one: Row) -> Row:
    """With a trace of two epochs of ten steps: 160 images in batches of 16."""
    points = [{"seed": seed, "step": step, "spacing_mean": spacing} for seed in (0, 1) for step, spacing in SPACINGS]
    return audit_figures.with_ramp(dataclasses.replace(one, trace=pd.DataFrame(points)))


def test_a_trace_stands_against_the_pure_ramp_by_hand() -> None:
    """At a rate of 0.1 and then of 0: the ramp is 2 + 0.1·steps up to 10 steps, then level."""
    one = row("lattice", [0.4, 0.2], quantizer=LATTICE)
    one.history.loc[one.history["epoch"] == 2, "learning_rate"] = 0.0
    first = traced(one).trace.query("seed == 0")
    assert first["ramp"].tolist() == pytest.approx([2.0, 2.5, 3.0, 3.0, 3.0])
    assert first["off_ramp"].tolist() == pytest.approx([0.0, -0.1, 0.0, 0.0, 0.0])
    down = traced(row("lattice_dense", [0.4, 0.2], quantizer={**LATTICE, "gamma": -1.0}))
    assert down.trace["ramp"].iloc[1] == pytest.approx(1.5)
    assert "ramp" not in audit_figures.with_ramp(row("vq", [0.4], quantizer={"name": "vq"})).trace


def test_the_trace_is_drawn_in_steps_and_without_it_per_epoch() -> None:
    plain = row("lattice", [0.4, 0.2], quantizer=LATTICE)
    for one, panels, along, places in ((traced(plain), 3, "step", [0, 5, 10, 15, 20]), (plain, 2, "epoch", [1, 2])):
        found = audit_figures.spacing(rows(one))
        assert found is not None
        figure = found.draw()
        assert len(figure.axes) == panels
        assert figure.axes[0].get_xlabel() == along
        assert list(figure.axes[0].lines[0].get_xdata()) == places


def test_codes_over_epochs_are_drawn_where_they_were_recorded() -> None:
    one = row("lattice_corrected", [0.4, 0.1], quantizer=LATTICE, lr_decay=1.0, codes_in_use=7)
    for codes, title, shown in ((None, "codes in use", {7}), (9.0, "codes on validation", {9.0})):
        if codes:
            one.history["val_codes"] = codes
        found = audit_figures.breaks(rows(one))
        assert found is not None
        panel = found.draw().axes[2]
        assert panel.get_title() == title
        assert {float(y) for line in panel.lines for y in line.get_ydata()} == shown  # two counts never share a panel


def test_one_measure_or_two_are_written_as_the_table_of_measures_says() -> None:
    found = rows(row("vq", [0.4], quantizer={"name": "vq"}, val_mse=0.25, codes_in_use=5, codes_in_use_test=4))
    assert audit.measured(found, "codes_in_use", "codes_in_use_test") == (
        "codes in use and codes in use, test: `vq` 5 ± 0 and 4 ± 0"
    )
    assert audit.measured(found, "val_mse") == "MSE on validation: `vq` 0.250 ± 0.000"
    assert audit.measured(rows(row("fsq", [0.4], quantizer={"name": "fsq"})), "val_mse") is None


def test_codebooks_of_the_second_paper_are_drawn() -> None:
    kinds = {
        f"kd_{n}x{d}": {"name": "kd", "num_codes": n, "code_dim": d} for n, d in ((512, 128), (1024, 64), (2048, 32))
    }
    found = {f"dots-{name}": row(name, [0.4, 0.3], quantizer=kind, lr_decay=1.0) for name, kind in kinds.items()}
    plan = {"datasets": ["dots"], "variants": list(kinds), "measures": []}
    results = reading.Results(plan, found, {"dots": {"title": "Dots"}}, papers.read())
    assert [codebooks.dimension(one) for one in found.values()] == [128, 64, 32]
    (figure,) = codebooks.section(results, "dots")
    assert figure.key == "dots-codebooks"
    errors = figure.draw().axes[0]
    assert list(errors.containers[0].lines[0].get_ydata()) == pytest.approx([0.315] * 3)  # 0.3 and a tenth more
    assert [label.get_text() for label in errors.get_xticklabels()] == ["[512, 128]", "[1024, 64]", "[2048, 32]"]


def test_a_switch_that_was_not_run_names_its_command() -> None:
    base = row("vq_ema", [0.4], quantizer=EMA)
    results = reading.Results({"datasets": ["dots"]}, {base.name: base}, {}, papers.read())
    lines = [line for line in rendered([audit.findings(results, "dots", [])]).splitlines() if line.startswith("| 5")]
    assert "`dvc exp run -S 'grid.datasets=[dots]' -S 'grid.variants=[vq_ema,vq_ema_unstored]'`" in lines[0]


def test_every_switch_of_the_audit_is_a_variant_one_can_run(params: dict[str, Any]) -> None:
    for one in papers.read()["ll_vq_vae"]["audit"]:
        assert set(one.get("variants", [])) <= set(params["variants"])
