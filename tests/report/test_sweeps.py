"""Sweeps in the report: tables and figures."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from matplotlib.figure import Figure
from pages import line_of, section, text

from pipeline.core import files
from pipeline.core.paths import Paths
from pipeline.report.results import Results
from pipeline.report.sections import sweeps


def test_the_table_holds_the_measured_numbers_and_leads_to_the_settings(made: Paths) -> None:
    gamma = section(made, "### Photographs: The weight of the size loss, γ")
    line = line_of(gamma, "[LL-VQ-VAE, γ = 0.001][photos-lattice_gamma_0_001]")
    assert (line["learning rate"], line["MSE on test"], line["codes in use"]) == ("falls", "0.0200 ± 0.0000", "101 ± 1")
    assert (line["n"], line["`dvc repro …`"]) == ("3", "`evaluate_sweep@photos-lattice_gamma_0_001`")
    assert files.read_yaml(made.row_settings("photos-lattice_gamma_0_001"))["quantizer"]["gamma"] == 0.001
    assert "\n[photos-lattice_gamma_0_001]: settings/photos-lattice_gamma_0_001.yaml\n" in text(made)
    page = made.page.read_text()
    assert 'href="#settings-photos-lattice_gamma_0_001"' in page
    assert 'id="settings-photos-lattice_gamma_0_001"' in page


def test_a_sweep_of_ones_own_is_shown_with_its_values_and_measures(made: Paths, figures: dict[str, Figure]) -> None:
    """Of a variant, a setting and a measure that no file of the report names."""
    zeal = section(made, "### Photographs: quantizer.zeal")
    assert "`quantizer.zeal` takes little, much, with `train.epochs = 3`." in zeal
    assert "sharpness of my own, lines/mm" in line_of(zeal, "[A quantizer of my own, zeal = little]")
    (panel,) = figures["photos-sweep-zeal"].axes
    assert panel.get_xlabel() == "zeal"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["little", "much"]


def test_a_figure_for_every_sweep_with_words_for_those_who_do_not_see_it(made: Paths) -> None:
    for name in ("codes", "gamma", "init", "zeal", "long"):
        assert text(made).count(f"figures/photos-sweep-{name}.svg") == 1
    assert "![MSE on test, codes in use, for K = 64, 256, 1,024; VQ-VAE, LL-VQ-VAE," in text(made)


def test_the_figure_draws_the_numbers_of_the_table(figures: dict[str, Figure]) -> None:
    error, codes, against = figures["photos-sweep-codes"].axes
    assert [one.get_label() for one in error.containers] == ["VQ-VAE", "LL-VQ-VAE", "LL-VQ-VAE, corrected"]
    for panel, values in ((error, [0.01, 0.02, 0.03]), (codes, [11, 101, 1001])):
        for container in panel.containers:
            line = container.lines[0]
            assert list(line.get_xdata()) == [64, 256, 1024]
            assert list(line.get_ydata()) == pytest.approx(values)
    assert len(against.containers) == 9  # error against codes in use, a point per row
    colours = [container.lines[0].get_color() for container in error.containers]
    assert colours[0] != colours[1] == colours[2]
    assert error.get_xscale() == codes.get_yscale() == "log"


def test_values_that_no_log_axis_takes_stand_side_by_side(figures: dict[str, Figure], results: Results) -> None:
    rows = [row for row in results.swept.values() if sweeps.swept(row)["name"] == "gamma"]
    assert sweeps.positions(rows) == {"−1": 0.0, "0.001": 1.0, "1": 2.0}
    panel = figures["photos-sweep-gamma"].axes[0]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["−1", "0.001", "1"]


def test_where_a_long_training_turns_is_told_from_its_history(results: Results) -> None:
    row = results.swept["photos-lattice_corrected_long_1_0"]
    lines = [(seed, epoch, error) for seed in (0, 1) for epoch, error in ((1, 0.4), (2, 0.1 + seed / 5), (3, 0.5))]
    history = pd.DataFrame(lines, columns=["seed", "epoch", "val_mse"]).assign(spacing_mean=[1.0, 2.0, 3.0] * 2)
    about = results.plan["sweeps"]["gamma"]
    assert sweeps.turning(about, dataclasses.replace(row, history=history)) == (
        "LL-VQ-VAE, corrected, γ = 1: lowest error 0.2 after epoch 2, 0.5 after the last, 3; "
        "mean spacing 1 after the first epoch, 2 at the lowest error, 3 at the end."
    )


def test_a_long_training_is_drawn_along_its_epochs(figures: dict[str, Figure], results: Results) -> None:
    error, spacing, against = figures["photos-sweep-long"].axes
    history = results.swept["photos-lattice_corrected_long_0_0"].history.groupby("epoch")[["val_mse", "spacing_mean"]]
    for panel, column in ((error, "val_mse"), (spacing, "spacing_mean"), (against, "val_mse")):
        assert list(panel.lines[0].get_ydata()) == pytest.approx(history.mean()[column].tolist())


def test_nothing_is_said_of_sweeps_that_are_not_planned(small: Paths) -> None:
    assert "## Sweeps" not in text(small)
