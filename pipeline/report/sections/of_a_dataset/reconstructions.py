"""Test images and what the models make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Drawing
from PIL import Image

from pipeline.report import summary
from pipeline.report.blocks import Figure
from pipeline.report.evidence.ranking import rank
from pipeline.report.results import Group, Results, Row, groups

TITLE = "Reconstructions"
PICTURES = 6
SIDE = 140  # dots that a picture is wide, nearly: enlarged by a whole number up to it, or reduced
LEFT, BELOW = 230, 22  # dots for the names, and for the error below each picture


def section(results: Results, dataset: str) -> Iterator[Figure]:
    """Originals, then a line per model that is shown (its first seed); the same images for all."""
    rows = [row for group in groups(results, dataset) for row in chosen(group)]
    title = results.title(dataset)
    yield Figure(
        f"{dataset}-reconstructions",
        f"{title}: reconstructions",
        """Test images and what models make of them (first seed), with the mean squared error of each picture below it
        and that of the whole test split beside the name. Shown are the models of the paper, and of every other group
        the one with the lowest error and the one with the highest. Pixels are enlarged as they are; pictures that are
        too large to stand side by side are reduced.""",
        f"Test images of {title} in the first line; below, as reconstructed by {'; '.join(row.title for row in rows)}.",
        lambda: draw(rows),
        photographs=True,
    )


def chosen(group: Group) -> list[Row]:
    """All rows as published; of another group the best and the worst by the error on test."""
    ranking = rank(group.rows, "test_mse")
    if group.title == "As published" or ranking is None:
        return group.rows
    ends = (ranking.rows[0].name, ranking.rows[-1].name)
    return [row for row in group.rows if row.name in ends]


def draw(rows: Sequence[Row]) -> Drawing:
    originals = rows[0].pictures["originals"][:PICTURES]
    shape = fitted(originals[0]).shape
    high, wide = shape[0] + BELOW, shape[1] + 8
    lines = [("original", originals), *((named(row), row.pictures["reconstructions"][0][:PICTURES]) for row in rows)]
    figure = plt.figure()
    width, height = LEFT + wide * len(originals), high * len(lines)
    figure.set_size_inches(width / figure.dpi, height / figure.dpi)
    small: dict[str, Any] = {"fontsize": 8, "color": "#555555", "ha": "center", "va": "top"}
    for line, (name, images) in enumerate(lines):
        top = height - line * high
        figure.text((LEFT - 14) / width, (top - shape[0] / 2) / height, name, ha="right", va="center")
        for column, image in enumerate(images):
            left = LEFT + column * wide
            figure.figimage(fitted(image), left, top - shape[0], cmap="gray", vmin=0, vmax=255, origin="upper")
            if line:
                error = f"{mean_squared(image, originals[column]):.4f}"
                figure.text((left + shape[1] / 2) / width, (top - shape[0] - 3) / height, error, **small)
    return figure


def named(row: Row) -> str:
    return f"{row.title}\nMSE {summary.number(row, 'test_mse')}"


def mean_squared(image: UInt8[np.ndarray, "h w c"], original: UInt8[np.ndarray, "h w c"]) -> float:
    """Of pixels in [0, 1]."""
    return float(np.mean(((image.astype(np.float64) - original) / 255) ** 2))


def fitted(image: UInt8[np.ndarray, "h w c"]) -> np.ndarray:
    """Every pixel as a square of as many dots as fit, or a picture that is too wide reduced; (h, w) or (h, w, 3)."""
    whole = image[..., 0] if image.shape[-1] == 1 else image
    times, factor = SIDE // whole.shape[1], -(-whole.shape[1] // SIDE)
    return whole.repeat(times, 0).repeat(times, 1) if times else np.asarray(Image.fromarray(whole).reduce(factor))
