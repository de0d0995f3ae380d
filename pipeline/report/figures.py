"""The report's figures: PNG for the markdown, SVG beside it.

A quantizer has one colour everywhere (told apart also by colour-blind readers, after Okabe and Ito 2008); variants of
the same quantizer differ in line style and marker.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.report import words
from pipeline.report.read import Results, Row
from pipeline.report.tables import Group, groups

mpl.use("Agg")

COLOURS = {
    "vq": "#D55E00",
    "vq_ema": "#009E73",
    "lattice": "#0072B2",
    "adaptive": "#CC79A7",
    "fsq": "#E69F00",
    "lfq": "#56B4E9",
    "simvq": "#999933",
    "rotation": "#882255",
    "gumbel": "#000000",
}
LINES = ["-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
WIDTH = 9.0  # inches; at 100 dots per inch the width of a page on GitHub
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "report",  # the same figure gives the same file
    "svg.fonttype": "none",
    "savefig.facecolor": "white",
}


def draw_all(results: Results, folder: Path) -> dict[str, str]:
    """Draw every figure into `folder`, which is made. Returns file name (without ending) → alternative text."""
    folder.mkdir(parents=True)
    alts: dict[str, str] = {}
    with mpl.rc_context(STYLE):
        for dataset in results.plan["datasets"]:
            found = groups(results, dataset)
            for kind, draw in (("reconstructions", reconstructions), ("curves", curves), ("usage", usage)):
                figure, alt = draw(dataset, found)
                save(figure, folder / f"{dataset}-{kind}")
                alts[f"{dataset}-{kind}"] = alt
    return alts


def save(figure: Figure, path: Path) -> None:
    """Write `path`.png and `path`.svg."""
    figure.savefig(path.with_suffix(".png"), dpi=150)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def colour(row: Row) -> str:
    return COLOURS.get(row.quantizer, "#666666")


def looks(rows: Sequence[Row]) -> dict[str, dict[str, object]]:
    """Row name → colour of its quantizer, and a line style and marker of its own among rows of that quantizer."""
    seen: dict[str, int] = {}
    found: dict[str, dict[str, object]] = {}
    for row in rows:
        place = seen.setdefault(row.quantizer, 0)
        found[row.name] = {
            "color": colour(row),
            "linestyle": LINES[place % len(LINES)],
            "marker": MARKERS[place % len(MARKERS)],
        }
        seen[row.quantizer] += 1
    return found


def reconstructions(dataset: str, found: Sequence[Group]) -> tuple[Figure, str]:
    """Originals, then a line per variant (its first seed); the same images for all, pixels as they are."""
    rows = [row for group in found for row in group.rows]
    originals = rows[0].pictures["originals"]
    strips = [("original", originals)] + [
        (words.title(row.variant), row.pictures["reconstructions"][0]) for row in rows
    ]
    left = 2.0  # inches for the names
    height = (WIDTH - left) / len(originals) * originals.shape[1] / originals.shape[2]
    figure = plt.figure(figsize=(WIDTH, height * len(strips)))
    for line, (name, images) in enumerate(strips):
        bottom = 1 - (line + 1) / len(strips)
        axes = figure.add_axes((left / WIDTH, bottom, 1 - left / WIDTH, 1 / len(strips)))
        axes.imshow(strip(images), interpolation="none", cmap="gray", vmin=0, vmax=255, aspect="auto")
        axes.axis("off")
        figure.text(left / WIDTH - 0.01, bottom + 0.5 / len(strips), name, ha="right", va="center")
    names = ", ".join(name for name, _ in strips[1:])
    return figure, f"{len(originals)} test images of {dataset} in the first line; below, as reconstructed by {names}."


def strip(images: np.ndarray, gap: int = 1, times: int = 4) -> np.ndarray:
    """Images (n, H, W, C) side by side with white gaps, every pixel a square of `times`² pixels; (h, w[, 3])."""
    padded = np.pad(images, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    line = np.concatenate(list(padded), axis=1)
    line = line.repeat(times, axis=0).repeat(times, axis=1)
    return line[..., 0] if line.shape[-1] == 1 else line


def panels(found: Sequence[Group], columns: int, height: float) -> tuple[Figure, np.ndarray]:
    """A line of panels per group, with room for a legend at the right."""
    figure, axes = plt.subplots(
        len(found),
        columns,
        figsize=(WIDTH, height * len(found)),
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    return figure, axes


def curves(dataset: str, found: Sequence[Group]) -> tuple[Figure, str]:
    """Training and validation error per epoch: the mean of the seeds, and a band from the smallest to the largest."""
    figure, axes = panels(found, 2, 2.9)
    for line, group in zip(axes, found, strict=True):
        for panel, (measure, name) in zip(
            line, {"train_mse": "training", "val_mse": "validation"}.items(), strict=True
        ):
            for row in group.rows:
                curve(panel, row, measure, looks(group.rows)[row.name])
            panel.set(title=f"{group.title}: {name}", xlabel="epoch")
            panel.xaxis.get_major_locator().set_params(integer=True)
        for panel in line:
            scale_errors(panel)
        line[0].set_ylabel("MSE")
        line[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure, f"Mean squared error per epoch on {dataset}, training and validation, for {names_of(found)}."


def scale_errors(axes: Axes) -> None:
    """A log axis of errors, where they span more than a factor of three; else a linear one."""
    low, high = axes.dataLim.intervaly
    if low > 0 and high / low > 3:
        axes.set_yscale("log")
        plain(axes.yaxis, (1.0, 2.0, 5.0) if high / low < 100 else (1.0,))


def plain(axis: Axis, steps: tuple[float, ...]) -> None:
    """Plain numbers at `steps` times the powers of ten of a log axis."""
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def curve(axes: Axes, row: Row, measure: str, look: dict[str, object]) -> None:
    by_epoch = row.history.groupby("epoch")[measure]
    mean = by_epoch.mean()
    axes.plot(mean.index, mean, label=words.title(row.variant), markersize=4, **look)  # type: ignore[arg-type]
    axes.fill_between(mean.index, by_epoch.min(), by_epoch.max(), color=colour(row), alpha=0.15, linewidth=0)


def usage(dataset: str, found: Sequence[Group]) -> tuple[Figure, str]:
    """How often each code was used on the test split, most used first; one line per seed."""
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(WIDTH, 3.4 * lines), squeeze=False, layout="constrained", sharex=True, sharey=True
    )
    for panel, group in zip(axes.flat, found, strict=False):
        for row in group.rows:
            look = {**looks(group.rows)[row.name], "marker": ""}
            for seed, counts in enumerate(row.pictures["usage"]):
                used = counts[counts > 0]
                label = words.title(row.variant) if seed == 0 else None
                panel.plot(np.arange(1, len(used) + 1), used, label=label, linewidth=1.2, **look)
        panel.set(title=group.title, xscale="log", yscale="log", xlabel="rank of the code")
        for axis in (panel.xaxis, panel.yaxis):
            plain(axis, (1.0,))
        panel.legend(fontsize=8, loc="lower left")
    for panel in axes[:, 0]:
        panel.set_ylabel("times used on test")
    for panel in list(axes.flat)[len(found) :]:
        panel.axis("off")
    return figure, f"Use of the codes on the test split of {dataset} by rank, log axes, for {names_of(found)}."


def names_of(found: Sequence[Group]) -> str:
    return ", ".join(words.title(row.variant) for group in found for row in group.rows)
