"""Small files in the official layout of every data set, made on the spot: `made_sources.<dataset>(folder, rng)`.

Each function fills `folder` as a mirror's folder of that data set and returns the settings that a data set of this size
needs. `checksums` are those of the made files, so that the same code path as with the official ones is taken.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import digest

Rng = np.random.Generator


def checksums(folder: Path) -> dict[str, str]:
    return {path.name: f"sha256:{digest(path)}" for path in sorted(folder.iterdir())}


def idx(array: np.ndarray) -> bytes:
    """The bytes of an idx file of unsigned bytes, gzipped without a date."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


def mnist(folder: Path, rng: Rng, train: int = 30, test: int = 7, val: int = 6) -> dict[str, Any]:
    for stem, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return {"val": val, "checksums": checksums(folder)}


fashion_mnist = mnist


def photos(folder: Path, rng: Rng) -> dict[str, Any]:
    return {"train": 60, "val": 20, "test": 20}
