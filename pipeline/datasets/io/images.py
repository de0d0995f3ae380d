"""Image files to uint8 arrays: checked, cut to shape, on all cores, never all in memory.

    a store's files → a DataLoader's workers: read, decode, check, cut → `<split>.npy`, in order

or, where pixels would be too many, the files as they are, one after the other: `<split>.bin`, with `<split>_index.npy`.
"""

from __future__ import annotations

import io
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.datasets.io.archives import BadFile, Store

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  # what Pillow may try; others run programs
FEW = 64  # images for which no worker processes are started
MOST_WORKERS = 8  # so that they stay under 2 GB together
BATCH = 16  # images that a worker hands over at once

Pixels = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Item:
    """An image of a split: its name in the store and its class, if it has one."""

    name: str
    label: int | None = None


Good = Iterator[tuple[Item, Any]]
"""Items that are not bad, each with its pixels or its file."""


@dataclass(frozen=True)
class Decoder:
    """Turns an image file into an array.

    Attributes:
        shape: (height, width) of the result; channels are red, green and blue.
        cut: brings the decoded picture to that shape; a function of a module, so that it can be sent to a worker.
        expected: (width, height) that every file must have, or None.
        draft: a JPEG may be decoded at this least width and height, which is far quicker for large ones.
    """

    shape: tuple[int, int]
    cut: Callable[[Image.Image], Image.Image] | None = None
    expected: tuple[int, int] | None = None
    draft: int | None = None

    def __call__(self, content: bytes) -> Pixels:
        """The pixels of an image file, cut to shape. Grey becomes three equal channels; transparency is dropped.

        Raises:
            BadFile: not an image, cut short, of the wrong or an absurd size, or not 8 bits per channel.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's advice on palettes
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                    return self._pixels(image)
        except BadFile:
            raise
        except Image.UnidentifiedImageError as error:
            raise BadFile("is not an image") from error
        except Exception as error:  # a reader of unchecked files may raise anything
            raise BadFile(f"cannot be decoded ({error})") from error

    def _pixels(self, image: Image.Image) -> Pixels:
        width, height = image.size
        if self.expected is not None and image.size != self.expected:
            raise BadFile(f"has {width}×{height} pixels, expected {self.expected[0]}×{self.expected[1]}")
        if image.mode.startswith(("I", "F")):
            raise BadFile(f"has pixels of kind {image.mode}, expected 8 bits per channel")
        if self.draft is not None:
            image.draft("RGB", (self.draft, self.draft))
        upright = (ImageOps.exif_transpose(image) if self.expected is None else image).convert("RGB")
        return np.asarray(self.cut(upright) if self.cut else upright).reshape(*self.shape, 3)


def write_splits(
    folder: Path,
    store: Store,
    items: dict[str, list[Item]],
    decoder: Decoder,
    on_bad_image: str,
    encoded: bool = False,
) -> dict[str, str]:
    """Write the pixels of every split's items, or with `encoded` their files, and their labels, if they have any.

    Args:
        on_bad_image: `error` or `skip`.

    Returns:
        The images that were skipped, and why.

    Raises:
        UserError: a bad image, where none may be skipped; or none is left.
    """
    skipped: dict[str, str] = {}
    for split, some in items.items():
        good = _good(store, some, partial(_tried, decoder) if encoded else decoder, split, on_bad_image, skipped)
        if encoded:
            written = _write_encoded(folder, split, good)
        else:
            files.check_space(folder, len(some) * 3 * math.prod(decoder.shape), store.dataset)
            written = _write_pixels(folder / f"{split}.npy", good, decoder.shape)
        if not written:
            raise UserError(
                f"{store.dataset}: {store.path} has no usable image for {split}; expected more images, or other "
                f"numbers or shares of the splits in datasets.{store.dataset}.data."
            )
        labels = [item.label for item in written if item.label is not None]
        if labels:
            np.save(folder / f"{split}_labels.npy", np.array(labels, np.int64))
    return skipped


def _good(
    store: Store,
    items: Sequence[Item],
    work: Callable[[bytes], Any],
    split: str,
    on_bad_image: str,
    skipped: dict[str, str],
) -> Good:
    """The good items in order, each with what `work` makes of it; on all cores, a few batches ahead."""
    batches: DataLoader[list[Any]] = DataLoader(
        items,  # type: ignore[arg-type]  # a sequence will do
        batch_size=BATCH,
        num_workers=min(MOST_WORKERS, torch.get_num_threads()) if len(items) > FEW else 0,
        collate_fn=partial(_read, store, work),  # gives arrays: tensors would take /dev/shm, small in containers
    )
    results = cli.progress(itertools.chain.from_iterable(batches), f"{store.dataset} {split}", len(items), "images")
    for item, result in zip(items, results, strict=True):
        if not isinstance(result, BadFile):
            yield item, result
        elif on_bad_image == "skip":
            skipped[item.name] = str(result)
        else:
            raise UserError(
                f"{store.dataset}: {item.name} {result}; data.on_bad_image: skip would leave such files out."
            )


def _read(store: Store, work: Callable[[bytes], Any], items: Sequence[Item]) -> list[Any]:
    """What `work` makes of the bytes of every item, or the BadFile that it ended in; happens in a worker."""
    results: list[Any] = []
    for item in items:
        try:
            results.append(work(store.read(item.name)))
        except BadFile as error:
            results.append(error)
    return results


def _tried(decoder: Decoder, content: bytes) -> bytes:
    decoder(content)
    return content


def _write_pixels(path: Path, good: Good, shape: tuple[int, int]) -> list[Item]:
    """Write the arrays as one, and give the items that were written."""
    written = []
    with path.open("wb") as file:
        _write_head(file, (0, *shape, 3))
        for item, array in good:
            file.write(np.ascontiguousarray(array).data)
            written.append(item)
        _write_head(file, (len(written), *shape, 3))
    return written


def _write_head(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The head of a `.npy` file, in which NumPy leaves room for the number of images to grow."""
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _write_encoded(folder: Path, split: str, good: Good) -> list[Item]:
    """Write files as they are, one after the other, and give the items that were written.

    `<split>_index.npy` (int64, N + 1) says where each begins in `<split>.bin` and where the last one ends.
    """
    written, index = [], [0]
    with (folder / f"{split}.bin").open("wb") as file:
        for item, content in good:
            file.write(content)
            index.append(file.tell())
            written.append(item)
    np.save(folder / f"{split}_index.npy", np.array(index, np.int64))
    return written


def shuffled(items: dict[str, list[Item]]) -> dict[str, list[Item]]:
    """Every split's items in an order that is random, but always the same: so the first few are of all classes."""
    # The legacy generator is the one whose numbers NumPy promises never to change.
    return {
        split: [some[place] for place in np.random.RandomState(0).permutation(len(some))]
        for split, some in items.items()
    }
