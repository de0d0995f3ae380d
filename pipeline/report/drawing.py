"""What all figures share: style, colours, axes, and how they are written: SVG, or PNG where they show photographs.

A row has the colour of its variant everywhere; rows of the same quantizer differ in line style and marker.
"""

from __future__ import annotations

import gc
import io
import math
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator
from PIL import Image

from pipeline.report import svg
from pipeline.report.blocks import Figure
from pipeline.report.results import Row

mpl.use("Agg")

OURS, OTHERS = "#0072B2", "#999999"
"""Colours of figures that show no row: of this pipeline or its lattice, and of what stands beside it."""
LINES = ["-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
WIDTH = 9.0  # inches; at 100 dots per inch the width of a page on GitHub
STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # looking for a free place above the axes takes a tenth of the whole time
    "legend.frameon": False,
    "text.parse_math": False,  # titles are text, whatever signs they hold
    "svg.hashsalt": "report",  # the same figure gives the same file
    "svg.fonttype": "none",
    "savefig.facecolor": "white",
}


def write_all(figures: Sequence[Figure], folder: Path) -> None:
    """Draw figures into `folder`, which is made; side by side, on as many cores as there are."""
    folder.mkdir(parents=True)
    workers = min(cores(), len(figures))
    if workers == 1 or sys.platform != "linux":  # elsewhere forking is not safe, and what draws cannot be pickled
        for figure in figures:
            write(figure, folder)
        return
    gc.freeze()  # what is there stays; looking through it again and again takes a share of the time
    _drawing.extend(figures)
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
            list(pool.map(_write_one, range(len(figures)), [folder] * len(figures)))
    finally:
        _drawing.clear()
        gc.unfreeze()


_drawing: list[Figure] = []  # what forked processes find there, since a function that draws cannot be pickled


def _write_one(place: int, folder: Path) -> None:
    write(_drawing[place], folder)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write(figure: Figure, folder: Path) -> None:
    """Write a figure's file straight from the canvas: `savefig` draws everything once more, only to place it."""
    path = folder / figure.file
    with mpl.rc_context(STYLE):
        drawing = figure.draw()
        if figure.photographs:
            canvas = FigureCanvasAgg(drawing)
            canvas.draw()
            dots = round(drawing.dpi)
            Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(path, dpi=(dots, dots))
        else:
            file = io.StringIO()
            FigureCanvasSVG(drawing).print_svg(file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
            path.write_text(svg.tidy(file.getvalue(), figure.key, figure.alt), encoding="utf-8")
        plt.close(drawing)


def looks(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Row name → colour of its variant, and a line style and marker of its own among rows of its quantizer."""
    counts: dict[str, int] = {}
    styles: dict[str, dict[str, Any]] = {}
    for row in rows:
        place = counts.get(row.quantizer, 0)
        counts[row.quantizer] = place + 1
        line, marker = LINES[place % len(LINES)], MARKERS[place % len(MARKERS)]
        styles[row.name] = {"color": row.colour, "linestyle": line, "marker": marker}
    return styles


def scale_errors(axes: Axes) -> None:
    """A log axis of errors, where they span more than a factor of three; else a linear one."""
    low, high = axes.dataLim.intervaly
    if low > 0 and high / low > 3:
        axes.set_yscale("log")
        plain(axes.yaxis)


class FewTicks(Locator):
    """Ticks of a log axis at round numbers: the fewest kind of which at least `least` lie on the axis."""

    KINDS = ((1.0,), (1.0, 2.0, 5.0), (1.0, 2.0, 3.0, 5.0, 7.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0))

    def __init__(self, least: int = 4) -> None:
        self.least = least

    def __call__(self) -> Sequence[float]:
        return self.tick_values(*sorted(self.axis.get_view_interval()))  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        powers = 10.0 ** np.arange(math.floor(math.log10(vmin)), math.ceil(math.log10(vmax)) + 1)
        for steps in self.KINDS:
            ticks = [step * power for power in powers for step in steps if vmin <= step * power <= vmax]
            if len(ticks) >= self.least:
                return ticks
        return list(MaxNLocator(5).tick_values(vmin, vmax))


def plain(axis: Axis, least: int = 4) -> None:
    """Plain numbers at the ticks of a log axis; see `FewTicks`."""
    axis.set_major_locator(FewTicks(least))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_locator(NullLocator())


def tick(value: float) -> str:
    """A number without an exponent, millions as M."""
    if value >= 1e6:
        return f"{value / 1e6:,.10g}M"
    return f"{value:,.10g}" if value >= 1 else np.format_float_positional(value, precision=10, trim="-")


def by_epoch(axes: Axes, row: Row, column: str, look: dict[str, Any], band: bool = True) -> None:
    """A column of the history per epoch: the mean of the seeds, and a band from the smallest to the largest."""
    epochs = row.history.groupby("epoch")[column]
    mean = epochs.mean()
    (line,) = axes.plot(mean.index, mean, label=row.title, markersize=4, **look)
    line.set_gid(svg.tip(f"{row.title}: {mean.iloc[-1]:.4g} after epoch {mean.index[-1]}"))
    if band:
        axes.fill_between(mean.index, epochs.min(), epochs.max(), color=row.colour, alpha=0.15, linewidth=0)
    axes.set_xlim(0.5, axes.dataLim.x1 + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
