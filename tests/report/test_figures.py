"""The report's figures: what is drawn is what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import made_up
import numpy as np
import pandas as pd
import pytest
from made_report import SOME
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.core.paths import Paths
from pipeline.report import codebooks, drawing, figures, rates, read
from pipeline.report.read import Results

OF_A_DATASET = ("rate", "reconstructions", "curves", "usage", "codebooks", "gradient-gap", "selection")


def data_of(axes: Axes) -> int:
    """Lines, bars and filled areas that hold a number."""
    lines = sum(bool(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any()) for line in axes.lines)
    return lines + len(axes.patches) + len(axes.collections) + len(axes.images)


def title(axes: Axes) -> str:
    return axes.get_title(loc="left") or axes.get_title()


def test_every_figure_shows_data_on_every_axes(kept_figures: dict[str, Figure]) -> None:
    names = {f"{dataset}-{kind}" for dataset in made_up.SHAPES for kind in OF_A_DATASET}
    names |= {codebooks.ACROSS, "lattice-2d", *(f"photos-sweep-{name}" for name in ("codes", "gamma", "init", "long"))}
    assert names <= set(kept_figures)
    for name, figure in kept_figures.items():
        assert figure.axes or figure.images, name
        for axes in figure.axes:
            assert data_of(axes) or not axes.axison, (name, title(axes))


def test_figures_are_written_as_they_were_drawn(made: Paths, kept_figures: dict[str, Figure]) -> None:
    for name, figure in kept_figures.items():
        pixels = image.imread(made.figures / f"{name}.png")
        assert pixels.shape[:2] == tuple(np.round(figure.get_size_inches()[::-1] * figure.dpi).astype(int)), name
        assert ElementTree.parse(made.figures / f"{name}.svg").getroot().tag.endswith("svg")


def test_drawing_changes_no_history(results: Results) -> None:
    before = {name: row.history.copy() for name, row in results.rows.items()}
    for drawn in (figures.of_rows(results, "photos"), figures.of_papers(results, "photos"), figures.of_all(results)):
        for figure, _ in drawn:
            figures.plt.close(figure)
    for name, row in results.rows.items():
        pd.testing.assert_frame_equal(row.history, before[name])


def test_curves_are_the_means_of_the_histories(kept_figures: dict[str, Figure], results: Results) -> None:
    panels = {title(panel): panel for panel in kept_figures["photos-curves"].axes}
    panel = panels["As published: validation"]
    assert [line.get_label() for line in panel.lines] == ["VQ-VAE", "VQ-VAE (EMA)", "LL-VQ-VAE"]
    for line, variant in zip(panel.lines, ("vq", "vq_ema", "lattice"), strict=True):
        history = results.rows[f"photos-{variant}"].history
        means = [history[history["epoch"] == epoch]["val_mse"].mean() for epoch in range(1, 6)]
        assert list(line.get_ydata()) == pytest.approx(means)


def test_usage_has_a_line_per_row_and_seed(kept_figures: dict[str, Figure], results: Results) -> None:
    panels = [panel for panel in kept_figures["photos-usage"].axes if panel.axison]
    assert sum(len(panel.lines) for panel in panels) == 3 * len(SOME)
    counts = results.rows["photos-vq"].pictures["usage"][0]
    assert list(panels[0].lines[0].get_ydata()) == counts[counts > 0].tolist()


def test_rate_shows_every_row_at_its_bits_and_error(kept_figures: dict[str, Figure], results: Results) -> None:
    points = {one.get_label(): one.lines[0].get_xydata()[0] for one in kept_figures["photos-rate"].axes[0].containers}
    assert len(points) == len(SOME)
    for row in results.of("photos"):
        assert points[row.title] == pytest.approx([np.mean(row.values(key)) for key in ("bits_per_pixel", "test_mse")])


def test_over_the_epochs_gap_and_loss_are_those_of_the_history(
    kept_figures: dict[str, Figure], results: Results
) -> None:
    figure = kept_figures["photos-gradient-gap"]
    assert [title(panel) for panel in figure.axes] == ["gradient gap, validation", "quantization loss, validation"]
    history = results.rows["photos-kd_512x128"].history.groupby("epoch")["val_gradient_gap"].mean()
    assert list(figure.axes[0].lines[0].get_ydata()) == pytest.approx(list(history))


def test_against_n_and_d_gap_and_loss_are_those_of_the_test_images(
    kept_figures: dict[str, Figure], results: Results
) -> None:
    panels = {title(panel): panel for panel in kept_figures["photos-codebooks"].axes}
    drawn = list(panels["gradient gap"].containers[0].lines[0].get_ydata())
    rows = [results.rows[f"photos-{name}"] for name in ("kd_512x128", "kd_65536x1")]
    assert drawn == pytest.approx([np.mean(row.values("gradient_gap")) for row in rows])


def test_the_second_papers_data_sets_stand_side_by_side(kept_figures: dict[str, Figure]) -> None:
    error, use = kept_figures[codebooks.ACROSS].axes
    assert (title(error), title(use)) == ("MSE on test", "utilization, %")
    labelled = [line.get_label() for line in error.lines if not str(line.get_label()).startswith("_")]
    assert labelled == ["Photographs", "Fashion-MNIST"]


def test_a_strip_enlarges_pixels_as_they_are() -> None:
    images = np.array([[[[10], [20]]], [[[30], [40]]]], dtype=np.uint8)  # two images of 1×2
    line = figures.strip(images, gap=1, times=2)
    assert line.tolist() == [[10, 10, 20, 20, 255, 255, 30, 30, 40, 40, 255, 255]] * 2 + [[255] * 12] * 2


def test_pictures_are_enlarged_or_reduced_to_fit_the_page() -> None:
    small = np.zeros((8, 32, 32, 3), dtype=np.uint8)
    images, gap, times = figures.fitting(small)
    assert (images.shape, gap, times) == ((8, 32, 32, 3), 1, 840 // 264)
    large = np.full((8, 512, 512, 1), 7, dtype=np.uint8)
    images, _, times = figures.fitting(large)
    assert (images.shape, times) == ((8, 171, 171, 1), 1)
    assert (images == 7).all()


def test_a_rate_is_bounded_where_nearly_every_latent_has_a_code_of_its_own() -> None:
    """Seen 15.4 of at most 16 bits at 4 latents per 16 pixels, and at most 40 by dimension: 10 bits per pixel."""
    numbers = {
        "bits_per_latent": 15.4,
        "bits_per_pixel": 3.85,
        "most_bits_seen": 16.0,
        "bits_per_latent_by_dimension": 40.0,
    }
    for more, bound in ({}, pytest.approx(10.0)), ({"most_bits_seen": 20.0}, None):
        assert rates.saturated(made_up.row("lattice", seeds=[{"seed": 0, **numbers, **more}])) == bound
    assert rates.saturated(made_up.row("lattice", seeds=[{"seed": 0, "bits_per_latent": 3.0}])) is None


def test_ticks_are_plain_numbers() -> None:
    ticks = [drawing.tick(value) for value in (0.00005, 0.02, 1.0, 20.0, 100000.0)]
    assert ticks == ["0.00005", "0.02", "1", "20", "100,000"]


def test_jpeg_by_hand() -> None:
    """One colour has no error but the rounding of its levels; errors fall and bits rise with quality."""
    grey = np.full((5, 16, 16, 1), 200, dtype=np.uint8)
    assert all(one.mse < (3 / 255) ** 2 for one in rates.jpeg(grey, [50, 95]))
    noise = np.random.default_rng(0).integers(0, 256, (7, 28, 28, 1), dtype=np.uint8)
    points = rates.jpeg(noise, [5, 50, 95])
    assert [one.quality for one in points] == [5, 50, 95]
    assert points[0].mse > points[1].mse > points[2].mse
    assert points[0].bits_per_pixel < points[1].bits_per_pixel < points[2].bits_per_pixel


def test_jpeg_puts_every_image_back_in_its_place() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 20, 30, 3), dtype=np.uint8) * 40
    assert rates.jpeg(images, [95])[0].mse < 1e-4


def test_a_row_has_its_labels_colour_and_is_told_apart_from_all_others(results: Results) -> None:
    rows = results.of("photos")
    looks = drawing.looks(rows)
    assert looks["photos-mine"]["color"] == "#123456"
    for row in rows:
        assert looks[row.name]["color"] == row.label.colour
        same = [other for other in rows if other.quantizer == row.quantizer and other is not row]
        assert all(looks[row.name] != looks[other.name] for other in same)


def test_selection_per_class_is_the_mean_of_the_seeds_in_order() -> None:
    books = ["512x128", "65536x1"]
    one = {"all": {"512x128": 0.5, "65536x1": 0.5}, "10": {"512x128": 1.0, "65536x1": 0.0}}
    one["9"] = {"512x128": 0.0, "65536x1": 1.0}
    other = {name: {"512x128": 0.0, "65536x1": 1.0} for name in one}
    row = made_up.row("adaptive", seeds=[{"seed": 0, "selection": one}, {"seed": 1, "selection": other}])
    found = codebooks.per_class(row, books)
    assert list(found.index) == ["all", "9", "10"]
    assert found["512x128"].tolist() == [0.25, 0.0, 0.5]
    many = {"all": one["all"], **{str(k): {"512x128": k / 30, "65536x1": 1 - k / 30} for k in range(30)}}
    sorted_ = codebooks.per_class(dataclasses.replace(row, seeds=[{"seed": 0, "selection": many}]), books)
    assert list(sorted_.index)[:3] == ["all", "29", "28"]  # from smaller to larger codebooks
    assert codebooks.per_class(dataclasses.replace(row, seeds=[{"seed": 0, "selection": None}]), books).empty


@pytest.mark.slow
def test_figures_drawn_side_by_side_are_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = read.read_results(made_up.make(tmp_path, datasets=("dots", "more"), variants=("vq", "fsq"), seeds=(7,)))
    written: list[dict[str, Any]] = []
    for many in (1, 10**6):
        monkeypatch.setattr(figures, "MANY", many)
        monkeypatch.setattr(figures, "cores", lambda: 2)
        folder = tmp_path / f"from-{many}"
        pictures = figures.draw_all(results, folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()} | {"pictures": pictures})
    assert written[0] == written[1]
