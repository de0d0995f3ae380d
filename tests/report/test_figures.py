"""The report's figures: what is drawn is what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import made_up
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_report import SOME
from matplotlib import image
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.core.paths import Paths
from pipeline.report import drawing, jpeg, svg
from pipeline.report.blocks import Figure as Shown
from pipeline.report.results import Results, read_results
from pipeline.report.sections import rate
from pipeline.report.sections.of_a_dataset import reconstructions, selection

OF_A_DATASET = ("rate", "reconstructions", "curves", "usage", "codebooks", "gradient-gap", "selection")


def data_of(axes: Axes) -> int:
    """Lines, bars and filled areas that hold a number."""
    lines = sum(bool(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any()) for line in axes.lines)
    return lines + len(axes.patches) + len(axes.collections) + len(axes.images)


def title(axes: Axes) -> str:
    return axes.get_title(loc="left") or axes.get_title()


def test_every_figure_shows_data_on_every_axes(figures: dict[str, Figure]) -> None:
    names = {f"{dataset}-{kind}" for dataset in made_up.SHAPES for kind in OF_A_DATASET}
    names |= {
        "balance-datasets",
        "lattice-2d",
        *(f"photos-sweep-{name}" for name in ("codes", "gamma", "init", "long")),
    }
    assert names <= set(figures)
    for name, figure in figures.items():
        assert figure.axes or figure.images, name
        for axes in figure.axes:
            assert data_of(axes) or not axes.axison, (name, title(axes))


def test_figures_are_files_of_lines_and_photographs_of_pixels(made: Paths, figures: dict[str, Figure]) -> None:
    files = {path.stem: path for path in made.figures.iterdir()}
    assert set(files) == set(figures)
    for name, figure in figures.items():
        if name.endswith("-reconstructions"):
            pixels = image.imread(files[name])
            assert pixels.shape[:2] == tuple(np.round(figure.get_size_inches()[::-1] * figure.dpi).astype(int))
        else:
            root = ElementTree.parse(files[name]).getroot()
            assert root.tag.endswith("svg")
            assert root.get("aria-label")
            ids = [one.attrib["id"] for one in root.iter() if "id" in one.attrib]
            assert all(one.startswith(f"{name}-") for one in ids)


def test_drawing_changes_no_history(results: Results, figures: dict[str, Figure]) -> None:
    again = read_results(results.paths)
    assert figures
    for name, row in results.rows.items():
        pd.testing.assert_frame_equal(row.history, again.rows[name].history)


def test_curves_are_the_means_of_the_histories(figures: dict[str, Figure], results: Results) -> None:
    panels = {title(panel): panel for panel in figures["photos-curves"].axes}
    panel = panels["As published: validation"]
    assert [line.get_label() for line in panel.lines] == ["VQ-VAE", "VQ-VAE (EMA)", "LL-VQ-VAE"]
    for line, variant in zip(panel.lines, ("vq", "vq_ema", "lattice"), strict=True):
        history = results.rows[f"photos-{variant}"].history
        means = [history[history["epoch"] == epoch]["val_mse"].mean() for epoch in range(1, 6)]
        assert list(line.get_ydata()) == pytest.approx(means)


def test_usage_has_a_line_per_row_and_seed(figures: dict[str, Figure], results: Results) -> None:
    panels = [panel for panel in figures["photos-usage"].axes if panel.axison]
    lines = [line for panel in panels for line in panel.lines if line.get_label() != "_end"]
    assert len(lines) == 3 * len(SOME)
    counts = results.rows["photos-vq"].pictures["usage"][0]
    assert list(panels[0].lines[0].get_ydata()) == counts[counts > 0].tolist()


def test_rate_shows_every_row_by_its_name_at_its_bits_and_error(figures: dict[str, Figure], results: Results) -> None:
    panels = figures["photos-rate"].axes
    assert [title(panel) for panel in panels] == ["learning rate as published", "constant learning rate"]
    points = {one.get_label(): one.lines[0].get_xydata()[0] for panel in panels for one in panel.containers}
    assert len(points) == len(SOME)
    for row in results.of("photos"):
        measured = [np.mean(row.values(key)) for key in ("bits_per_latent", "test_mse")]
        assert points[f"_{row.title}"] == pytest.approx(measured)
    names = {text.get_text() for panel in panels for text in panel.texts}
    assert {row.title for row in results.of("photos")} <= names
    assert all(len(panel.get_legend().get_texts()) == 2 for panel in panels)  # the steps and JPEG, no row


def test_over_the_epochs_gap_and_loss_are_those_of_the_history(figures: dict[str, Figure], results: Results) -> None:
    figure = figures["photos-gradient-gap"]
    assert [title(panel) for panel in figure.axes] == ["gradient gap, validation", "quantization loss, validation"]
    history = results.rows["photos-kd_512x128"].history.groupby("epoch")["val_gradient_gap"].mean()
    assert list(figure.axes[0].lines[0].get_ydata()) == pytest.approx(list(history))


def test_against_n_and_d_gap_and_loss_are_those_of_the_test_images(
    figures: dict[str, Figure], results: Results
) -> None:
    panels = {title(panel): panel for panel in figures["photos-codebooks"].axes}
    drawn = list(panels["gradient gap"].containers[0].lines[0].get_ydata())
    rows = [results.rows[f"photos-{name}"] for name in ("kd_512x128", "kd_65536x1")]
    assert drawn == pytest.approx([np.mean(row.values("gradient_gap")) for row in rows])


def test_the_second_papers_data_sets_stand_side_by_side(figures: dict[str, Figure]) -> None:
    error, use = figures["balance-datasets"].axes
    assert (title(error), title(use)) == ("MSE on test", "utilization, %")
    labelled = [line.get_label() for line in error.lines if not str(line.get_label()).startswith("_")]
    assert labelled == ["Photographs", "Fashion-MNIST"]


def test_pictures_are_enlarged_as_they_are_or_reduced() -> None:
    small = np.array([[[10], [20]], [[30], [40]]], dtype=np.uint8)
    times = reconstructions.SIDE // 2
    assert reconstructions.fitted(small).tolist() == np.kron([[10, 20], [30, 40]], np.ones((times, times))).tolist()
    large = np.full((512, 512, 3), 7, dtype=np.uint8)
    assert reconstructions.fitted(large).shape == (128, 128, 3)
    assert (reconstructions.fitted(large) == 7).all()


def test_few_models_are_shown_with_the_error_of_every_picture(figures: dict[str, Figure], results: Results) -> None:
    """Of photos: the three as published, the only control, and the best and the worst of the other groups."""
    texts = [text.get_text() for text in figures["photos-reconstructions"].texts]
    names = [text.partition("\n")[0] for text in texts if "MSE" in text]
    assert names[:4] == ["VQ-VAE", "VQ-VAE (EMA)", "LL-VQ-VAE", "lattice_ramp"]
    assert len(names) <= 4 + 2 + 2 < len(SOME)
    row = results.rows["photos-vq"].pictures
    error = np.mean(((row["reconstructions"][0][2].astype(float) - row["originals"][2]) / 255) ** 2)
    assert f"{error:.4f}" in texts
    assert len([text for text in texts if text.startswith("0.")]) == reconstructions.PICTURES * len(names)


def test_a_rate_is_bounded_where_nearly_every_latent_has_a_code_of_its_own() -> None:
    """Seen 15.4 of at most 16 bits at 4 latents per 16 pixels, and at most 40 by dimension: 10 bits per pixel."""
    numbers = {
        "bits_per_latent": 15.4,
        "bits_per_pixel": 3.85,
        "most_bits_seen": 16.0,
        "bits_per_latent_by_dimension": 40.0,
    }
    for more, bound in ({}, pytest.approx(10.0)), ({"most_bits_seen": 20.0}, None):
        assert rate.saturated(made_up.row("lattice", seeds=[{"seed": 0, **numbers, **more}])) == bound
    assert rate.saturated(made_up.row("lattice", seeds=[{"seed": 0, "bits_per_latent": 3.0}])) is None


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.5, 2000.0, [1, 10, 100, 1000]),
        (0.8, 25.0, [1, 2, 5, 10, 20]),
        (0.0024, 0.011, [0.003, 0.005, 0.007, 0.01]),
        (0.95, 3.2, [1, 1.5, 2, 3]),
    ],
)
def test_a_log_axis_has_enough_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert drawing.FewTicks().tick_values(low, high) == pytest.approx(ticks)


@given(st.floats(1e-6, 1e5), st.floats(1.01, 1e6))
def test_a_log_axis_has_ticks_however_narrow(low: float, factor: float) -> None:
    high = low * factor
    assert sum(low <= tick <= high for tick in drawing.FewTicks().tick_values(low, high)) >= 2


def test_one_epoch_is_one_tick_and_a_dot() -> None:
    figure, axes = plt.subplots()
    row = made_up.row("vq", history=pd.DataFrame({"seed": [0, 1], "epoch": [1, 1], "val_mse": [0.1, 0.3]}))
    drawing.by_epoch(axes, row, "val_mse", {"color": "black", "marker": "o"})
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
    assert axes.lines[0].get_xydata().tolist() == [[1, pytest.approx(0.2)]]
    plt.close(figure)


def test_ticks_are_plain_numbers() -> None:
    ticks = [drawing.tick(value) for value in (0.00005, 0.02, 1.0, 20.0, 100000.0)]
    assert ticks == ["0.00005", "0.02", "1", "20", "100,000"]


def test_jpeg_by_hand() -> None:
    """One colour has no error but the rounding of its levels; errors fall and bits rise with quality."""
    grey = np.full((5, 16, 16, 1), 200, dtype=np.uint8)
    assert all(one.mse < (3 / 255) ** 2 for one in jpeg.measure(grey, [50, 95]))
    noise = np.random.default_rng(0).integers(0, 256, (7, 28, 28, 1), dtype=np.uint8)
    points = jpeg.measure(noise, [5, 50, 95])
    assert [one.quality for one in points] == [5, 50, 95]
    assert points[0].mse > points[1].mse > points[2].mse
    assert points[0].bits_per_pixel < points[1].bits_per_pixel < points[2].bits_per_pixel


def test_jpeg_puts_every_image_back_in_its_place() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 20, 30, 3), dtype=np.uint8) * 40
    assert jpeg.measure(images, [95])[0].mse < 1e-4


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
    found = selection.per_class(row, books)
    assert list(found.index) == ["all", "9", "10"]
    assert found["512x128"].tolist() == [0.25, 0.0, 0.5]
    many = {"all": one["all"], **{str(k): {"512x128": k / 30, "65536x1": 1 - k / 30} for k in range(30)}}
    sorted_ = selection.per_class(dataclasses.replace(row, selection=[many]), books)
    assert list(sorted_.index)[:3] == ["all", "29", "28"]  # from smaller to larger codebooks
    assert selection.per_class(dataclasses.replace(row, selection=[]), books).empty


@pytest.mark.slow
def test_figures_drawn_side_by_side_are_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(value: float) -> Figure:
        figure, axes = plt.subplots()
        axes.plot([0, value], label="a < b")
        axes.legend()
        return figure

    shown = [Shown(f"figure-{k}", "title", "caption", "alt", lambda k=k: draw(k), k == 2) for k in range(4)]
    written = []
    for cores in (1, 2):
        monkeypatch.setattr(drawing, "cores", lambda cores=cores: cores)
        folder = tmp_path / f"on-{cores}"
        drawing.write_all(shown, folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    assert sorted(written[0]) == ["figure-0.svg", "figure-1.svg", "figure-2.png", "figure-3.svg"]
    assert len(set(written[0].values())) == 4


def test_a_part_of_a_figure_tells_its_value_and_references_follow_their_names() -> None:
    """Of what matplotlib writes: a marker that is used, a clip, a style that names a pattern, and an id as a text."""
    text = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1">
        <metadata>by whom</metadata><defs><path id="m1"/><clipPath id="c1"/><pattern id="h1"/></defs>
        <g id="axes_1" clip-path="url(#c1)">
        <use id="tip:5 &lt; 6" xlink:href="#m1" style="fill: url(#h1); stroke: #333"/></g>
        </svg>"""
    root = ElementTree.fromstring(svg.tidy(text, "key", "what it shows"))
    (group,) = root.findall(f"{{{svg.SVG}}}g")
    (use,) = group
    assert root.attrib == {"role": "img", "aria-label": "what it shows"}
    assert group.attrib == {"clip-path": "url(#key-c1)"}
    assert use.attrib == {f"{{{svg.XLINK}}}href": "#key-m1", "style": "fill: url(#key-h1); stroke: #333"}
    assert use[0].text == "5 < 6"
    assert {one.get("id") for one in root.iter(f"{{{svg.SVG}}}path")} == {"key-m1"}
