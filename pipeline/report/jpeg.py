"""JPEG's rate and error on the test images of a data set."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.report.results import Results

QUALITIES = (1, 3, 5, 8, 12, 18, 25, 35, 50, 65, 80, 90, 95)
IMAGES = 1000
BLOCK = 16  # JPEG codes colour in squares of 16 pixels


class Point(NamedTuple):
    """What JPEG makes at one quality."""

    quality: int
    bits_per_pixel: float
    mse: float


def of_dataset(results: Results, dataset: str) -> list[Point]:
    """JPEG on the first test images; nothing where the data set is not kept as one array."""
    path = results.paths.prepared(dataset) / "test.npy"
    if not path.is_file() or results.about[dataset]["shape"][-1] not in (1, 3):
        return []
    count = min(IMAGES, *(row.images["measured"]["test"] for row in results.of(dataset)))
    return _of_file(path.resolve(), path.stat().st_mtime_ns, count)


@functools.cache
def _of_file(path: Path, _written: int, count: int) -> list[Point]:
    return measure(np.asarray(np.load(path, mmap_mode="r")[:count]))


def measure(images: UInt8[np.ndarray, "n h w c"], qualities: Sequence[int] = QUALITIES) -> list[Point]:
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
        size, back = through_file(mosaic, quality)
        tiles = back.reshape(lines, high, columns, wide, channels).swapaxes(1, 2).reshape(-1, high, wide, channels)
        error = (tiles[:count, :height, :width].astype(np.float64) - images) / 255
        points.append(Point(quality, 8 * size / (count * height * width), float(np.mean(error**2))))
    return points


def through_file(mosaic: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
    """Bytes of the file, and the picture read back from it."""
    file = io.BytesIO()
    picture = Image.fromarray(mosaic[..., 0] if mosaic.shape[-1] == 1 else mosaic)
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.tell(), np.asarray(Image.open(file)).reshape(mosaic.shape)


def error_at(points: Sequence[Point], bits_per_pixel: float) -> float | None:
    """JPEG's error at a rate, between two qualities on logarithmic scales; None where no quality has that rate."""
    rates, errors = [point.bits_per_pixel for point in points], [point.mse for point in points]
    if not points or not rates[0] <= bits_per_pixel <= rates[-1]:
        return None
    return float(np.exp(np.interp(np.log(bits_per_pixel), np.log(rates), np.log(errors))))
