"""Image files to uint8 arrays: checked, cut to shape, on all cores, never all in memory.

    a store's files → batches of bytes → worker processes: decode, check, cut → `<split>.npy`, in order

or, where pixels would be too many, the files as they are, one after the other: `<split>.bin`, with `<split>_index.npy`.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.datasets.io.archives import BadFile, Store

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  # what Pillow may try; others run programs
FEW = 64  # images for which no worker processes are started
TOLD = 10  # skipped images that the log names one by one
MOST_WORKERS = 8  # so that they stay under 1 GB together
BATCH = 64  # images that go to a worker together, or fewer where they are large
BATCH_BYTES = 4 << 20
WRONG = (OSError, SyntaxError, ValueError, IndexError, TypeError, EOFError, OverflowError, struct.error, zlib.error)
"""What Pillow raises for files that are not what they say."""


@dataclass(frozen=True)
class Item:
    """An image of a split: its name in the store and its class, if it has one."""

    name: str
    label: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How a file becomes an array.

    Attributes:
        shape: (height, width) of the result; channels are red, green and blue.
        cut: brings the decoded picture to that shape; a function of a module, that it can be sent to a worker.
        source: (width, height) that every file must have, or None.
        most: pixels that a file may declare: beyond, it is taken for a bomb and not decoded.
        draft: a JPEG may be decoded at this least width and height, which is far quicker for large ones.
    """

    shape: tuple[int, int]
    cut: Callable[[Image.Image], Image.Image]
    source: tuple[int, int] | None = None
    most: int = 1 << 26
    draft: int | None = None


@dataclass
class Tally:
    """What was skipped and why; where images may not be skipped, the first bad one ends everything.

    Args:
        policy: `error` or `skip`, from data.on_bad_image.
    """

    dataset: str
    policy: str
    skipped: dict[str, str] = field(default_factory=dict)

    def bad(self, name: str, why: str) -> None:
        """
        Raises:
            UserError: the policy is to stop.
        """
        if self.policy != "skip":
            raise UserError(f"{self.dataset}: {name} {why}; data.on_bad_image: skip would leave such files out.")
        self.skipped[name] = why
        if len(self.skipped) <= TOLD:
            more = "; further ones are told in about.yaml only" if len(self.skipped) == TOLD else ""
            cli.log.info("%s: left out %s, which %s%s", self.dataset, name, why, more)


# cutting to shape


def centre(image: Image.Image, crop: int) -> Image.Image:
    """The square of `crop` pixels in the middle; of an odd rest, the smaller half is left and above."""
    left, top = (image.width - crop) // 2, (image.height - crop) // 2
    return image.crop((left, top, left + crop, top + crop))


def resized(image: Image.Image, size: int) -> Image.Image:
    """A square picture at another size, by averaging where it shrinks by a whole factor, else Lanczos."""
    if image.size == (size, size):
        return image
    whole = image.width % size == 0
    return image.resize((size, size), Image.Resampling.BOX if whole else Image.Resampling.LANCZOS)


def covering(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle, at `size` pixels."""
    return resized(centre(image, min(image.size)), size)


def as_is(image: Image.Image) -> Image.Image:
    return image


# decoding


def decode(content: bytes, recipe: Recipe) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of an image file, cut to shape. Grey becomes three equal channels; transparency is dropped.

    Raises:
        BadFile: not an image, cut short, of the wrong or an absurd size, or not 8 bits per channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's advice on palettes; its bomb warning, as `most` is stricter
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _pixels(image, recipe)
    except Image.DecompressionBombError as error:
        raise BadFile(f"declares more than {recipe.most} pixels and was not decoded") from error
    except Image.UnidentifiedImageError as error:
        raise BadFile("is not an image") from error
    except WRONG as error:
        raise BadFile(f"is damaged or cut short ({error})") from error


def _pixels(image: Image.Image, recipe: Recipe) -> UInt8[np.ndarray, "h w 3"]:
    width, height = image.size
    if width * height > recipe.most:
        raise BadFile(f"declares {width}×{height} pixels, more than {recipe.most}, and was not decoded")
    if recipe.source is not None and image.size != recipe.source:
        raise BadFile(f"has {width}×{height} pixels, expected {recipe.source[0]}×{recipe.source[1]}")
    if image.mode.startswith(("I", "F")):
        raise BadFile(f"has pixels of kind {image.mode}, expected 8 bits per channel")
    if recipe.draft is not None:
        image.draft("RGB", (recipe.draft, recipe.draft))
    upright = ImageOps.exif_transpose(image) if recipe.source is None else image
    array = np.asarray(recipe.cut(upright.convert("RGB")))
    if array.shape != (*recipe.shape, 3):
        raise BadFile(f"became {array.shape[1]}×{array.shape[0]} pixels, expected {recipe.shape[1]}×{recipe.shape[0]}")
    return array


Decoded = tuple[UInt8[np.ndarray, "n h w 3"], dict[int, str]]  # the good ones in order; place → what is wrong


def _decode_all(recipe: Recipe, contents: list[bytes]) -> Decoded:
    good, bad = [], {}
    for place, content in enumerate(contents):
        try:
            good.append(decode(content, recipe))
        except BadFile as error:
            bad[place] = str(error)
    return np.stack(good) if good else np.empty((0, *recipe.shape, 3), np.uint8), bad


def _sum_all(recipe: Recipe, contents: list[bytes]) -> tuple[list[int], dict[int, str]]:
    arrays, bad = _decode_all(recipe, contents)
    return sums(arrays), bad


def sums(images: UInt8[np.ndarray, "n h w c"]) -> list[int]:
    """The sum of every channel over up to 2²⁴ values: rows first, in 32 bits, which is 25 times as fast as at once."""
    width, channels = images.shape[2:]
    rows = images.reshape(-1, width * channels).sum(axis=0, dtype=np.uint32)
    return [int(total) for total in rows.reshape(-1, channels).sum(axis=0, dtype=np.int64)]


# on all cores


def cores() -> int:
    """The processors this process may use, up to MOST_WORKERS."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def in_order(function: Callable[[Any], Any], tasks: Iterable[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """Every task with what the function makes of it, in order; at most two tasks per worker are under way."""
    if workers <= 1:
        yield from ((task, function(task)) for task in tasks)
        return
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    waiting: deque[tuple[Any, Future[Any]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            for task in tasks:
                waiting.append((task, pool.submit(function, task)))
                if len(waiting) >= 2 * workers:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


@dataclass(frozen=True)
class _Batch:
    items: list[Item]
    contents: list[bytes]


def _batches(store: Store, items: Sequence[Item], recipe: Recipe, tally: Tally) -> Iterator[_Batch]:
    """The items with their bytes; a file that cannot even be read is told to the tally."""
    most = max(1, min(BATCH, BATCH_BYTES // (3 * math.prod(recipe.shape))))
    batch, size = _Batch([], []), 0
    for item in items:
        try:
            content = store.read(item.name)
        except BadFile as error:
            tally.bad(item.name, str(error))
            continue
        batch.items.append(item)
        batch.contents.append(content)
        size += len(content)
        if len(batch.items) >= most or size >= BATCH_BYTES:
            yield batch
            batch, size = _Batch([], []), 0
    if batch.items:
        yield batch


def _through(
    function: Callable[[list[bytes]], Any], store: Store, items: Sequence[Item], recipe: Recipe, tally: Tally, what: str
) -> Iterator[tuple[list[Item], list[bytes], Any]]:
    """The good items of every batch, their bytes, and what the function made of them, with progress."""
    workers = cores() if len(items) > FEW else 1
    batches = _batches(store, items, recipe, tally)
    work = partial(_apply, function)
    results = ((item_batch, result) for item_batch, result in in_order(work, batches, workers))
    for batch, (made, bad) in _counted(results, what, len(items)):
        for place, why in bad.items():
            tally.bad(batch.items[place].name, why)
        good = [place for place in range(len(batch.items)) if place not in bad]
        yield [batch.items[i] for i in good], [batch.contents[i] for i in good], made


def _apply(function: Callable[[list[bytes]], Any], batch: _Batch) -> Any:
    return function(batch.contents)


def _counted(results: Iterator[tuple[_Batch, Any]], what: str, total: int) -> Iterator[tuple[_Batch, Any]]:
    """Progress in images, although they come in batches."""

    def singles() -> Iterator[tuple[_Batch, Any] | None]:
        for batch, result in results:
            yield from [None] * (len(batch.items) - 1)
            yield batch, result

    for single in cli.progress(singles(), what, total, "images"):
        if single is not None:
            yield single


# writing


class Growing:
    """A `.npy` file of uint8 images that grows; the number of images enters its head at the end."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...]) -> None:
        self.file, self.shape, self.count = file, shape, 0
        self._head()

    def _head(self) -> None:
        # NumPy leaves room in the head for the number of images to grow
        head = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self.shape)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, head)

    def add(self, images: UInt8[np.ndarray, "n ..."]) -> None:
        self.file.write(np.ascontiguousarray(images).data)
        self.count += len(images)

    def finish(self) -> None:
        self._head()


@contextmanager
def growing(path: Path, shape: tuple[int, ...]) -> Iterator[Growing]:
    with path.open("wb") as file:
        array = Growing(file, shape)
        yield array
        array.finish()


def write_split(folder: Path, split: str, store: Store, items: Sequence[Item], recipe: Recipe, tally: Tally) -> None:
    """Decode the items into `<split>.npy` and write their labels, if they have any.

    Raises:
        UserError: a bad image, where the tally does not skip; or none is left.
    """
    files.check_space(folder, len(items) * 3 * math.prod(recipe.shape), tally.dataset)
    labels: list[int | None] = []
    with growing(folder / f"{split}.npy", (*recipe.shape, 3)) as array:
        work = partial(_decode_all, recipe)
        for good, _, arrays in _through(work, store, items, recipe, tally, f"{tally.dataset} {split}"):
            array.add(arrays)
            labels += [item.label for item in good]
    _finish(folder, split, labels, store, tally)


def write_encoded(
    folder: Path, split: str, store: Store, items: Sequence[Item], recipe: Recipe, tally: Tally
) -> list[float]:
    """Write the items' files as they are into `<split>.bin`, each decoded once to see that it can be.

    `<split>_index.npy` (int64, N + 1) says where each begins and where the last one ends.

    Returns:
        The mean of every channel, pixels in [0, 1].
    """
    labels: list[int | None] = []
    index, totals = [0], np.zeros(3, np.int64)
    with (folder / f"{split}.bin").open("wb") as file:
        work = partial(_sum_all, recipe)
        for good, contents, some in _through(work, store, items, recipe, tally, f"{tally.dataset} {split}"):
            for content in contents:
                file.write(content)
                index.append(index[-1] + len(content))
            totals += some
            labels += [item.label for item in good]
    np.save(folder / f"{split}_index.npy", np.array(index, np.int64))
    _finish(folder, split, labels, store, tally)
    pixels = len(labels) * math.prod(recipe.shape)
    return [round(int(value) / (255 * pixels), 6) for value in totals]


def _finish(folder: Path, split: str, labels: list[int | None], store: Store, tally: Tally) -> None:
    if not labels:
        raise UserError(f"{tally.dataset}: {store.where} has no usable image for {split}.")
    known = [label for label in labels if label is not None]
    if len(known) == len(labels):
        np.save(folder / f"{split}_labels.npy", np.array(known, np.int64))


def mixed(items: Sequence[Item]) -> list[Item]:
    """The items in an order that is random, but always the same: so the first few are of all classes."""
    # The legacy generator is the one whose numbers NumPy promises never to change.
    order: Int[np.ndarray, " n"] = np.random.RandomState(0).permutation(len(items))
    return [items[place] for place in order]
