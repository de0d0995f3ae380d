"""Error against rate: every row of a data set in one figure, and JPEG for comparison."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from PIL import Image

from pipeline.report import summary
from pipeline.report.blocks import Figure
from pipeline.report.drawing import WIDTH, looks, plain
from pipeline.report.results import Results, Row

TITLE = "Error against rate"
QUALITIES = (1, 3, 5, 8, 12, 18, 25, 35, 50, 65, 80, 90, 95)
JPEG_IMAGES = 1000
BLOCK = 16  # JPEG codes colour in squares of 16 pixels


class Point(NamedTuple):
    """What JPEG makes at one quality."""

    quality: int
    bits_per_pixel: float
    mse: float


def jpeg(images: UInt8[np.ndarray, "n h w c"], qualities: Sequence[int] = QUALITIES) -> list[Point]:
    """Rate and error of JPEG on images that lie side by side in one file, so that they share its header.

    Each image is extended to whole blocks by repeating its last line and column, so that none touches another's blocks;
    bits count for the pixels of the images alone. Errors are on pixels in [0, 1].
    """
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    pad = [(0, -count % columns), (0, -height % BLOCK), (0, -width % BLOCK), (0, 0)]
    padded = np.pad(images, pad, mode="edge")
    lines, high, wide = len(padded) // columns, padded.shape[1], padded.shape[2]
    mosaic = (
        padded.reshape(lines, columns, high, wide, channels).swapaxes(1, 2).reshape(lines * high, columns * wide, -1)
    )
    points = []
    for quality in qualities:
        size, back = through_jpeg(mosaic, quality)
        tiles = back.reshape(lines, high, columns, wide, channels).swapaxes(1, 2).reshape(-1, high, wide, channels)
        error = (tiles[:count, :height, :width].astype(np.float64) - images) / 255
        points.append(Point(quality, 8 * size / (count * height * width), float(np.mean(error**2))))
    return points


def through_jpeg(mosaic: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
    """Bytes of the file, and the picture read back from it."""
    file = io.BytesIO()
    picture = Image.fromarray(mosaic[..., 0] if mosaic.shape[-1] == 1 else mosaic)
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.tell(), np.asarray(Image.open(file)).reshape(mosaic.shape)


def jpeg_points(results: Results, dataset: str) -> list[Point]:
    """JPEG on the first test images; nothing where the data set is not kept as one array."""
    path = results.paths.prepared(dataset) / "test.npy"
    if not path.is_file() or results.about[dataset]["shape"][-1] not in (1, 3):
        return []
    count = min(JPEG_IMAGES, *(row.images["measured"]["test"] for row in results.of(dataset)))
    return jpeg(np.asarray(np.load(path, mmap_mode="r")[:count]))


def section(results: Results, dataset: str) -> Iterator[Figure]:
    """One figure: error against bits per pixel, and against bits per latent on the upper edge."""
    rows = [row for row in results.of(dataset) if row.values("bits_per_pixel")]
    if not rows:
        return
    points = jpeg_points(results, dataset)
    title = results.title(dataset)
    names = "; ".join(row.title for row in rows)
    yield Figure(
        f"{dataset}-rate",
        f"{title}: error against rate",
        CAPTION + (JPEG_CAPTION if points else ""),
        f"Mean squared error on the test split of {title} against bits per pixel, log axes, for {names}, and JPEG.",
        lambda: draw(rows, points),
    )


CAPTION = """Lower left is better. The rate is the empirical entropy of the codes on the test split: what an ideal
coder that knows their frequencies would need. Filled markers: the learning rate falls as published; hollow: it is
constant. Bars: standard deviation over the seeds. Where nearly every latent has a code of its own, as in a dense
lattice, the entropy only counts the latents: a dotted line leads from it to an upper bound of the rate, each
dimension coded by itself. A model that uses one code has no rate and is left out."""

JPEG_CAPTION = """ JPEG, at qualities q, codes the first test images side by side in one file, its header included;
nothing was trained for it."""


def draw(rows: Sequence[Row], points: Sequence[Point]) -> Drawing:
    figure, axes = plt.subplots(figsize=(WIDTH, 5), layout="constrained")
    look = looks(rows)
    for row in rows:
        point(axes, row, look[row.name])
    if points:
        draw_jpeg(axes, points, rows)
    axes.set(xscale="log", yscale="log", xlabel="rate, bits per pixel", ylabel=rows[0].measure("test_mse").head)
    plain(axes.xaxis, (1.0, 2.0, 5.0))
    plain(axes.yaxis, (1.0, 2.0, 5.0))
    upper_edge(axes, rows)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def point(axes: Axes, row: Row, look: dict[str, object]) -> None:
    """A row with its standard deviations; hollow where the learning rate is constant."""
    rate, error = summary.of(row, "bits_per_pixel"), summary.of(row, "test_mse")
    if rate is None or error is None or rate.mean <= 0:  # one code alone carries no bits and has no place on a log axis
        return
    bound = saturated(row)
    if bound:
        axes.plot([rate.mean, bound], [error.mean] * 2, color=look["color"], linestyle=":", marker="|", markevery=[1])
    filled = {} if row.learning_rate_falls else {"markerfacecolor": "white"}
    axes.errorbar(
        rate.mean,
        error.mean,
        xerr=rate.std,
        yerr=error.std,
        label=row.title,
        capsize=2,
        markersize=7,
        **{**look, "linestyle": "", **filled},  # type: ignore[arg-type]
    )


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


def draw_jpeg(axes: Axes, points: Sequence[Point], rows: Sequence[Row]) -> None:
    """JPEG as a line, as far as the rows' rates reach and a little further."""
    rates = [value for row in rows for value in row.values("bits_per_pixel") if value > 0]
    reach = 1.5 * max(rates, default=math.inf)
    near = [point for point in points if point.bits_per_pixel <= reach] or list(points[:1])
    places = [(point.bits_per_pixel, point.mse) for point in near]
    axes.plot(*zip(*places, strict=True), color="#888888", marker=".", label="JPEG")
    beside: dict[str, Any] = {"xytext": (4, 4), "textcoords": "offset points", "color": "#666666", "fontsize": 8}
    for place, point in list(zip(places, near, strict=True))[:: max(1, len(near) // 5)]:
        axes.annotate(f"q {point.quality}", place, **beside)


def upper_edge(axes: Axes, rows: Sequence[Row]) -> None:
    """Bits per latent on the upper edge, where all rows have as many latents per pixel."""
    ratios = [
        a / b
        for row in rows
        for a, b in zip(row.values("bits_per_latent"), row.values("bits_per_pixel"), strict=True)
        if b
    ]
    if not ratios or max(ratios) / min(ratios) > 1.001:
        return
    ratio = ratios[0]
    edge = axes.secondary_xaxis("top", functions=(lambda x: np.asarray(x) * ratio, lambda x: np.asarray(x) / ratio))
    edge.set_xlabel("bits per latent")
    plain(edge.xaxis, (1.0, 2.0, 5.0))
