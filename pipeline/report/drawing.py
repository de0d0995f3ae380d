"""What all figures share: style, colours, axes, and files: PNG for the markdown, SVG beside it.

A row has the colour of its variant everywhere; rows of the same quantizer differ in line style and marker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from pipeline.report.read import Row

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
    "svg.hashsalt": "report",  # the same figure gives the same file
    "svg.fonttype": "none",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Picture:
    """A figure that stands in the figures folder.

    Attributes:
        name: its file, without the ending.
        alt: what it shows, for those who do not see it.
        caption: what to look for, and how it was made.
    """

    name: str
    title: str
    alt: str
    caption: str

    def markdown(self) -> str:
        """The figure with its caption below, relative to the reports folder."""
        caption = " ".join(self.caption.split())
        return f"![{self.alt}](figures/{self.name}.png)\n\n{caption} ([SVG](figures/{self.name}.svg))"


def save(figure: Figure, path: Path) -> None:
    """Write `path`.png and `path`.svg.

    Straight from the canvases: `savefig` draws everything once more for each file, only to place it. The first drawing
    works out the layout, which then stays.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    dots = round(figure.dpi)
    picture.save(path.with_suffix(".png"), dpi=(dots, dots))
    figure.set_layout_engine("none")
    FigureCanvasSVG(figure).print_svg(path.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


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
        plain(axes.yaxis, (1.0, 2.0, 5.0) if high / low < 100 else (1.0,))


def plain(axis: Axis, steps: tuple[float, ...]) -> None:
    """Plain numbers at `steps` times the powers of ten of a log axis."""
    axis.set_major_locator(LogLocator(subs=steps))
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
    axes.plot(mean.index, mean, label=row.title, markersize=4, **look)
    if band:
        axes.fill_between(mean.index, epochs.min(), epochs.max(), color=row.colour, alpha=0.15, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
