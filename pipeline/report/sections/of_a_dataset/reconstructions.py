"""Test images and what each model makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Drawing
from PIL import Image

from pipeline.report.blocks import Figure
from pipeline.report.results import Results, Row, groups

TITLE = "Reconstructions"
STRIP, WIDEST = 840, 1400  # dots of a line of pictures: enlarged up to the one, reduced to the other
LEFT = 2.0  # inches for the names


def section(results: Results, dataset: str) -> Iterator[Figure]:
    """Originals, then a line per variant (its first seed); the same images for all, pixels as they are."""
    rows = [row for group in groups(results, dataset) for row in group.rows]
    title = results.title(dataset)
    names = "; ".join(row.title for row in rows)
    yield Figure(
        f"{dataset}-reconstructions",
        f"{title}: reconstructions",
        """Test images and what each model makes of them (first seed); the same images for all, pixels enlarged as they
        are; pictures that are too large to stand side by side are reduced.""",
        f"{len(rows[0].pictures['originals'])} test images of {title} in the first line; below, as reconstructed by "
        f"{names}.",
        lambda: draw(rows),
        photographs=True,
    )


def draw(rows: Sequence[Row]) -> Drawing:
    strips = [("original", rows[0].pictures["originals"])]
    strips += [(row.title, row.pictures["reconstructions"][0]) for row in rows]
    whole = np.concatenate([strip(*fitting(images)) for _, images in strips])
    figure = plt.figure()
    figure.set_size_inches(LEFT + whole.shape[1] / figure.dpi, whole.shape[0] / figure.dpi)
    figure.figimage(whole, xo=round(LEFT * figure.dpi), cmap="gray", vmin=0, vmax=255, origin="upper")
    for place, (name, _) in enumerate(strips):
        height = 1 - (place + 0.5) / len(strips)
        figure.text((LEFT - 0.1) / figure.get_figwidth(), height, name, ha="right", va="center")
    return figure


def fitting(images: UInt8[np.ndarray, "n h w c"]) -> tuple[np.ndarray, int, int]:
    """The images, the gap between them, and how many times to enlarge their pixels so that a line fits the page."""
    wide = len(images) * (images.shape[2] + 1)
    if wide <= WIDEST:
        return images, 1, max(1, STRIP // wide)
    factor = -(-wide // WIDEST)
    small = [np.asarray(Image.fromarray(image.squeeze()).reduce(factor)) for image in images]
    return np.stack(small).reshape(len(images), *small[0].shape[:2], images.shape[-1]), 1, 1


def strip(images: UInt8[np.ndarray, "n h w c"], gap: int = 1, times: int = 4) -> np.ndarray:
    """Images side by side with white gaps, every pixel a square of `times`² pixels; (h, w) or (h, w, 3)."""
    padded = np.pad(images, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    line = np.concatenate(list(padded), axis=1)
    line = line.repeat(times, axis=0).repeat(times, axis=1)
    return line[..., 0] if line.shape[-1] == 1 else line
