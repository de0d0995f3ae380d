"""Image files to uint8 arrays: checked, cut to shape, on all cores, never all in memory.

    a store's files → a DataLoader's workers: read, decode, check, cut → `<split>.npy`, in order

or, where pixels would be too many, the files as they are, one after the other: `<split>.bin`, with `<split>_index.npy`.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.datasets.io.archives import BadFile, Store

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  # what Pillow may try; others run programs
FEW = 64  # images for which no worker processes are started
MOST_WORKERS = 8  # so that they stay under 2 GB together
BATCH_BYTES = 4 << 20  # of pixels that a worker hands over at once
WRONG = (OSError, SyntaxError, ValueError, IndexError, TypeError, EOFError, OverflowError, struct.error, zlib.error)
"""What Pillow raises for files that are not what they say."""

Pixels = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Item:
    """An image of a split: its name in the store and its class, if it has one."""

    name: str
    label: int | None = None


@dataclass(frozen=True)
class Decoder:
    """Turns an image file into an array.

    Attributes:
        shape: (height, width) of the result; channels are red, green and blue.
        cut: brings the decoded picture to that shape; a function of a module, so that it can be sent to a worker.
        expected: (width, height) that every file must have, or None.
        most_pixels: that a file may declare: beyond, it is taken for a decompression bomb and not decoded.
        draft: a JPEG may be decoded at this least width and height, which is far quicker for large ones.
    """

    shape: tuple[int, int]
    cut: Callable[[Image.Image], Image.Image] | None = None
    expected: tuple[int, int] | None = None
    most_pixels: int = 1 << 26
    draft: int | None = None

    def __call__(self, content: bytes) -> Pixels:
        """The pixels of an image file, cut to shape. Grey becomes three equal channels; transparency is dropped.

        Raises:
            BadFile: not an image, cut short, of the wrong or an absurd size, or not 8 bits per channel.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's advice on palettes; its bomb warning, as ours is stricter
                with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                    return self._pixels(image)
        except Image.DecompressionBombError as error:
            raise BadFile(f"declares more than {self.most_pixels} pixels and was not decoded") from error
        except Image.UnidentifiedImageError as error:
            raise BadFile("is not an image") from error
        except WRONG as error:
            raise BadFile(f"is damaged or cut short ({error})") from error

    def _pixels(self, image: Image.Image) -> Pixels:
        width, height = image.size
        if width * height > self.most_pixels:
            raise BadFile(f"declares {width}×{height} pixels, more than {self.most_pixels}, and was not decoded")
        if self.expected is not None and image.size != self.expected:
            raise BadFile(f"has {width}×{height} pixels, expected {self.expected[0]}×{self.expected[1]}")
        if image.mode.startswith(("I", "F")):
            raise BadFile(f"has pixels of kind {image.mode}, expected 8 bits per channel")
        if self.draft is not None:
            image.draft("RGB", (self.draft, self.draft))
        upright = (ImageOps.exif_transpose(image) if self.expected is None else image).convert("RGB")
        array = np.asarray(self.cut(upright) if self.cut else upright)
        if array.shape[:2] != self.shape:
            raise BadFile(f"became {array.shape[1]}×{array.shape[0]} pixels, expected {self.shape[1]}×{self.shape[0]}")
        return array


@dataclass
class BadImages:
    """The images that were skipped and why; where none may be skipped, the first bad one ends the preparation.

    Args:
        policy: `error` or `skip`, from data.on_bad_image.
    """

    dataset: str
    policy: str
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, why: str) -> None:
        """
        Raises:
            UserError: the policy is to stop.
        """
        if self.policy != "skip":
            raise UserError(f"{self.dataset}: {name} {why}; data.on_bad_image: skip would leave such files out.")
        self.skipped[name] = why


class _Read(Dataset):
    """What `work` makes of the bytes of every item, or the BadFile that it ended in."""

    def __init__(self, store: Store, items: Sequence[Item], work: Callable[[bytes], Any]) -> None:
        self.store, self.items, self.work = store, items, work

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Any:
        try:
            return self.work(self.store.read(self.items[place].name))
        except BadFile as error:
            return error


def workers() -> int:
    """The processors this process may use, up to MOST_WORKERS."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _good(
    store: Store, items: Sequence[Item], work: Callable[[bytes], Any], pixels: int, split: str, bad: BadImages
) -> Iterator[tuple[Item, Any]]:
    """The good items in order, each with what `work` makes of it; on all cores, a few batches ahead.

    Args:
        pixels: of one result.
    """
    loader = DataLoader(
        _Read(store, items, work),
        batch_size=max(1, min(FEW, BATCH_BYTES // (3 * pixels))),
        num_workers=workers() if len(items) > FEW else 0,
        collate_fn=list,  # as arrays: tensors would go through /dev/shm, which is small in containers
    )
    results = cli.progress(itertools.chain.from_iterable(loader), f"{bad.dataset} {split}", len(items), "images")
    for item, result in zip(items, results, strict=True):
        if isinstance(result, BadFile):
            bad.add(item.name, str(result))
        else:
            yield item, result


def write_split(
    folder: Path, split: str, store: Store, items: Sequence[Item], decoder: Decoder, bad: BadImages
) -> None:
    """Decode the items into `<split>.npy` and write their labels, if they have any.

    Raises:
        UserError: a bad image, where none may be skipped; or none is left.
    """
    pixels = math.prod(decoder.shape)
    files.check_space(folder, len(items) * 3 * pixels, bad.dataset)
    labels: list[int | None] = []
    with (folder / f"{split}.npy").open("wb") as file:
        _write_head(file, (0, *decoder.shape, 3))
        for item, array in _good(store, items, decoder, pixels, split, bad):
            file.write(np.ascontiguousarray(array).data)
            labels.append(item.label)
        _write_head(file, (len(labels), *decoder.shape, 3))
    _write_labels(folder, split, labels, store)


def _write_head(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The head of a `.npy` file, in which NumPy leaves room for the number of images to grow."""
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def write_encoded(
    folder: Path, split: str, store: Store, items: Sequence[Item], decoder: Decoder, bad: BadImages
) -> list[float]:
    """Write the items' files as they are into `<split>.bin`, each decoded once to see that it can be.

    `<split>_index.npy` (int64, N + 1) says where each begins and where the last one ends.

    Returns:
        The mean of every channel, pixels in [0, 1].
    """
    pixels = math.prod(decoder.shape)
    labels: list[int | None] = []
    index, totals = [0], np.zeros(3, np.int64)
    with (folder / f"{split}.bin").open("wb") as file:
        for item, (content, sums) in _good(store, items, partial(_with_sums, decoder), pixels, split, bad):
            file.write(content)
            index.append(file.tell())
            totals += sums
            labels.append(item.label)
    np.save(folder / f"{split}_index.npy", np.array(index, np.int64))
    _write_labels(folder, split, labels, store)
    return [round(int(value) / (255 * len(labels) * pixels), 6) for value in totals]


def _with_sums(decoder: Decoder, content: bytes) -> tuple[bytes, Int64[np.ndarray, " c"]]:
    return content, channel_sums(decoder(content)[None])


def channel_sums(images: UInt8[np.ndarray, "n h w c"]) -> Int64[np.ndarray, " c"]:
    """The sum of every channel over up to 2²⁴ values: rows first, in 32 bits, which is 25 times as fast as at once."""
    width, channels = images.shape[2:]
    rows = images.reshape(-1, width * channels).sum(axis=0, dtype=np.uint32)
    return rows.reshape(-1, channels).sum(axis=0, dtype=np.int64)


def _write_labels(folder: Path, split: str, labels: list[int | None], store: Store) -> None:
    if not labels:
        raise UserError(
            f"{store.dataset}: {store.path} has no usable image for {split}; expected more images, or other numbers or "
            f"shares of the splits in datasets.{store.dataset}.data."
        )
    known = [label for label in labels if label is not None]
    if len(known) == len(labels):
        np.save(folder / f"{split}_labels.npy", np.array(known, np.int64))


def shuffled(items: Sequence[Item]) -> list[Item]:
    """The items in an order that is random, but always the same: so the first few are of all classes."""
    # The legacy generator is the one whose numbers NumPy promises never to change.
    return [items[place] for place in np.random.RandomState(0).permutation(len(items))]
