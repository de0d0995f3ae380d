"""Error against rate: every row of a data set in one figure, JPEG for comparison, and the best row at each rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from pipeline.report import jpeg, summary, svg
from pipeline.report.blocks import Block, Figure, Heading, Line, Table, paragraph, table
from pipeline.report.describe import few, link
from pipeline.report.drawing import WIDTH, looks, plain
from pipeline.report.evidence.ranking import Ranking, rank
from pipeline.report.evidence.statistics import FEWEST_SEEDS
from pipeline.report.results import Results, Row
from pipeline.report.summary import NONE

TITLE = "Error against rate"
GAP = 0.055  # between two names beside a panel, in heights of the panel


class Regime(NamedTuple):
    """Rows of a data set that may be ranked: their learning rate falls, or it is constant."""

    title: str
    rows: list[Row]


def regimes(results: Results, dataset: str) -> list[Regime]:
    """Those that have rows."""
    rows = results.of(dataset)
    both = [
        Regime("learning rate as published", [row for row in rows if row.learning_rate_falls]),
        Regime("constant learning rate", [row for row in rows if not row.learning_rate_falls]),
    ]
    return [regime for regime in both if regime.rows]


def section(results: Results) -> Iterator[Block]:
    """A figure and a table for each data set."""
    for dataset in results.plan["datasets"]:
        shown = [Regime(title, [row for row in rows if rate_of(row)]) for title, rows in regimes(results, dataset)]
        shown = [regime for regime in shown if regime.rows]
        if not shown:
            continue
        if len(results.plan["datasets"]) > 1:
            yield Heading(results.title(dataset))
        yield figure(results, dataset, shown)
        yield at_each_rate(shown)
    yield paragraph(NOTE)


def figure(results: Results, dataset: str, shown: Sequence[Regime]) -> Figure:
    points, title = jpeg.of_dataset(results, dataset), results.title(dataset)
    names = "; ".join(f"{regime.title}: {', '.join(row.title for row in regime.rows)}" for regime in shown)
    return Figure(
        f"{dataset}-rate",
        f"{title}: error against rate",
        CAPTION + (JPEG_CAPTION if points else ""),
        f"Mean squared error on the test split of {title} against bits, log axes. {names}. Beside them JPEG.",
        lambda: draw(shown, points),
    )


CAPTION = """Lower left is better: less error, fewer bits. The grey steps are the lowest error at no more than so many
bits. The rate is the empirical entropy of the codes on the test split: what an ideal coder that knows their frequencies
would need. Bars: standard deviation over the seeds. Where nearly every latent has a code of its own, as in a dense
lattice, the entropy only counts the latents: a dotted line leads from it to an upper bound of the rate, each
dimension coded by itself. A model that uses one code has no rate and is left out."""

JPEG_CAPTION = """ JPEG, at qualities q, codes the first test images side by side in one file, its header included;
nothing was trained for it."""

NOTE = """A row's rate is the mean of its seeds. Each best row is compared with every other row at no more bits,
paired by seed, with Holm's correction over these; rows whose interval of the difference covers 0 are not told apart
from it. Rows whose learning rate falls as published are not ranked with those whose learning rate is constant."""


# the best row at each rate


def rate_of(row: Row) -> float | None:
    """Bits per latent, the upper bound where the entropy is too low; None without a rate."""
    rate, per_pixel = summary.of(row, "bits_per_latent"), summary.of(row, "bits_per_pixel")
    if rate is None or per_pixel is None or per_pixel.mean <= 0:  # one code alone carries no bits
        return None
    return (saturated(row) or per_pixel.mean) * rate.mean / per_pixel.mean


def best_within(rows: Sequence[Row]) -> list[tuple[int, Ranking]]:
    """Whole numbers of bits per latent, and the rows by error that need no more; only where the best is another."""
    rates = {row.name: rate for row in rows if (rate := rate_of(row)) is not None}
    found: list[tuple[int, Ranking]] = []
    for bits in sorted({math.ceil(rate) for rate in rates.values()}):
        ranking = rank([row for row in rows if rates.get(row.name, math.inf) <= bits], "test_mse")
        if ranking and (not found or found[-1][1].best is not ranking.best):
            found.append((bits, ranking))
    return found


def at_each_rate(shown: Sequence[Regime]) -> Table:
    """A line for each number of bits at which another row is best."""
    measure = shown[0].rows[0].measure("test_mse")
    heads = ["", "lowest error", "bits per latent, at most", "needs", measure.head, "not told apart from it"]
    lines: list[Line] = []
    for title, rows in shown:
        for bits, ranking in best_within(rows):
            best = ranking.best
            needs, close = f"{rate_of(best):.1f}", "; ".join(few([row.title for row in ranking.close])) or NONE
            lines.append([title, link(best), str(bits), needs, summary.cell(best, measure.key), close])
    if not any(len(row.seeds) >= FEWEST_SEEDS for regime in shown for row in regime.rows):
        heads, lines = heads[:-1], [line[:-1] for line in lines]
    found = table(heads, lines, left=2, title="The lowest error at no more than so many bits per latent")
    return replace(
        found, columns=[*found.columns[:5], *(replace(column, align="left") for column in found.columns[5:])]
    )


# the figure


def draw(shown: Sequence[Regime], points: Sequence[jpeg.Point]) -> Drawing:
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(WIDTH, 0.9 + 3.6 * len(shown)), squeeze=False, sharex=True, sharey=True,
        layout="constrained",
    )  # fmt: skip
    every = [row for regime in shown for row in regime.rows]
    scale = latents_per_pixel(every)
    for panel, (title, rows) in zip(axes[:, 0], shown, strict=True):
        look = looks(rows)
        for row in rows:
            point(panel, row, look[row.name], scale or 1.0)
        front(panel, rows, scale or 1.0)
        if points:
            draw_jpeg(panel, points, every, scale or 1.0)
        panel.set(xscale="log", yscale="log", title=title, ylabel=every[0].measure("test_mse").head)
        panel.legend(loc="lower left", fontsize=9)
    rates = [place(row, scale or 1.0)[0] for row in every]
    axes[0][0].set_xlim(min(rates) / 1.4, 1.3 * max(rates))
    for panel, (_, rows) in zip(axes[:, 0], shown, strict=True):
        plain(panel.xaxis, least=5)
        plain(panel.yaxis)
        names(panel, rows, scale or 1.0)
    axes[-1][0].set_xlabel("rate, bits per latent" if scale else "rate, bits per pixel")
    if scale:
        functions = (lambda x: np.asarray(x) * scale, lambda x: np.asarray(x) / scale)
        edge = axes[-1][0].secondary_xaxis(-0.2, functions=functions)
        edge.set_xlabel("rate, bits per pixel")
        plain(edge.xaxis, least=5)
    return figure


def place(row: Row, scale: float) -> tuple[float, float]:
    """Rate and error of a row that has a rate."""
    rate, error = summary.of(row, "bits_per_pixel"), summary.of(row, "test_mse")
    return (rate.mean / scale, error.mean) if rate and error else (math.nan, math.nan)


def point(panel: Axes, row: Row, look: dict[str, Any], scale: float) -> None:
    """A row with its standard deviations."""
    rate, error = summary.of(row, "bits_per_pixel"), summary.of(row, "test_mse")
    if not rate or not error:
        return
    x, y = place(row, scale)
    bound = saturated(row)
    if bound:
        panel.plot([x, bound / scale], [y, y], color=look["color"], linestyle=":", marker="|", markevery=[1])
        panel.annotate(
            f"at most {bound / scale:.3g}", (x, y), (0, 7), textcoords="offset points", fontsize=8, ha="center"
        )
    deviation = rate.std and rate.std / scale
    drawn = panel.errorbar(
        x,
        y,
        xerr=deviation,
        yerr=error.std,
        label="_" + row.title,
        capsize=2,
        markersize=6,
        **{**look, "linestyle": ""},
    )
    needs = f"{summary.number(row, 'bits_per_latent')} bits per latent"
    drawn.lines[0].set_gid(svg.tip(f"{row.title}: MSE {summary.number(row, 'test_mse')} at {needs}"))


def names(panel: Axes, rows: Sequence[Row], scale: float) -> None:
    """The rows' names beside the panel in the order of their errors, a line from each to its point."""
    low, high = np.log(panel.get_ylim())
    ordered = sorted(rows, key=lambda row: place(row, scale)[1])
    heights = spread([(math.log(place(row, scale)[1]) - low) / (high - low) for row in ordered], GAP)
    for row, height in zip(ordered, heights, strict=True):
        panel.annotate(
            row.title,
            place(row, scale),
            (1.04, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": row.colour, "linewidth": 0.5, "alpha": 0.6, "relpos": (0, 0.5)},
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Rising numbers, moved apart by at least `gap`, and down again from where they exceed 1."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    top = 1.0
    for at in reversed(range(len(moved))):
        moved[at] = min(moved[at], top)
        top = moved[at] - gap
    return moved


def front(panel: Axes, rows: Sequence[Row], scale: float) -> None:
    """The lowest error at no more than a rate, as steps."""
    steps: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: rate_of(row) or 0.0):
        x, y = (saturated(row) or place(row, 1.0)[0]) / scale, place(row, scale)[1]
        if not steps or y < steps[-1][1]:
            steps.append((x, y))
    style: dict[str, Any] = {"color": "#BBBBBB", "linewidth": 1.5, "zorder": 0.5, "drawstyle": "steps-post"}
    panel.plot(*zip(*steps, strict=True), label="lowest error at no more bits", **style)


def saturated(row: Row) -> float | None:
    """The upper bound of a lattice's rate in bits per pixel, where its empirical entropy is near the most that so many
    latents can show; else None.
    """
    keys = ("bits_per_latent", "most_bits_seen", "bits_per_latent_by_dimension", "bits_per_pixel")
    summaries = [summary.of(row, key) for key in keys]
    if any(number is None for number in summaries):
        return None
    seen, most, bound, per_pixel = (number.mean for number in summaries if number)
    return bound * per_pixel / seen if seen > 0.9 * most else None


def draw_jpeg(panel: Axes, points: Sequence[jpeg.Point], rows: Sequence[Row], scale: float) -> None:
    """JPEG as a line, as far as the rows' rates reach and a little further."""
    reach = 1.5 * max((place(row, 1.0)[0] for row in rows if not saturated(row)), default=math.inf)
    near = [point for point in points if point.bits_per_pixel <= reach] or list(points[:1])
    places = [(point.bits_per_pixel / scale, point.mse) for point in near]
    panel.plot(*zip(*places, strict=True), color="#666666", marker=".", linewidth=1, label="JPEG")
    beside: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "color": "#666666", "fontsize": 8}
    for at, one in list(zip(places, near, strict=True))[:: max(1, len(near) // 4)]:
        panel.annotate(f"q {one.quality}", at, (-3, -9), **beside)


def latents_per_pixel(rows: Sequence[Row]) -> float | None:
    """Bits per pixel for each bit per latent, where all rows have as many latents per pixel."""
    ratios = [
        pixel / latent
        for row in rows
        for latent, pixel in zip(row.values("bits_per_latent"), row.values("bits_per_pixel"), strict=True)
        if latent
    ]
    return ratios[0] if ratios and max(ratios) / min(ratios) <= 1.001 else None
