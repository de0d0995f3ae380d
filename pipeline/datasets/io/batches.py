"""Images for training and measuring: uint8 on the device, turned into floats there.

    fits on the device   <split>.npy → device, once → batches
    does not fit         <split>.npy, memory-mapped → threads → batches → device
    kept as image files  <split>.bin, <split>_index.npy → threads: decode → batches → device

All three give the same batches for the same seed. Of several processes that train together, each gets its part of every
batch.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from pipeline.core import ranks
from pipeline.core.errors import UserError
from pipeline.core.files import digest, read_yaml

CHECKED = 300 * 10**6  # bytes of the largest file whose digest is checked: less than a second
THREADS = 4  # that read ahead; copying from the memory map and decoding do not hold Python's lock
SHARE = 4  # a split is kept on the device where it takes less than one part in SHARE of the free memory

Index = Int[Tensor, " b"] | slice


def check(prepared: Path) -> None:
    """Compare a prepared data set's files with their digests in about.yaml, but for large ones.

    Raises:
        UserError: a file is not the one that `preprocess` wrote.
    """
    about = read_yaml(prepared / "about.yaml") if (prepared / "about.yaml").is_file() else {}
    for name, expected in about.get("sha256", {}).items():
        path = prepared / name
        if path.is_file() and path.stat().st_size <= CHECKED and digest(path) != expected:
            raise UserError(
                f"{path} is not the file that `preprocess` wrote: its sha256 is not {expected[:16]}… as in about.yaml; "
                f"`dvc repro --force --single-item preprocess@{prepared.name}` makes it again."
            )


def to_floats(pixels: UInt8[Tensor, "b c h w"], offset: float) -> Float[Tensor, "b c h w"]:
    """What the network gets: pixels in [0, 1] less the data set's offset."""
    return pixels.float().div_(255).sub_(offset)


def to_pixels(images: Float[Tensor, "b c h w"], offset: float) -> UInt8[np.ndarray, "b h w c"]:
    """The way back from what the network gives; what lies outside of [0, 1] is cut off."""
    pixels = (images.float() + offset).clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


class Images:
    """One split of a prepared data set.

    Args:
        prepared: folder `data/prepared/<dataset>`.
        split: train, val or test.
        device: where the batches are wanted.
        limit: keep only the first so many.
        resident: the most bytes of images that are kept on the device, or None for a share of what is free.

    Raises:
        UserError: the split is not there.
    """

    def __init__(
        self,
        prepared: Path,
        split: str,
        device: torch.device,
        limit: int | None = None,
        resident: int | None = None,
    ) -> None:
        about = read_yaml(prepared / "about.yaml") if (prepared / "about.yaml").is_file() else {}
        if (prepared / f"{split}_index.npy").is_file():
            self.source: Mapped | Encoded = Encoded(prepared, split, limit, tuple(about["shape"]))
        elif (prepared / f"{split}.npy").is_file():
            self.source = Mapped(prepared / f"{split}.npy", limit)
        else:
            raise UserError(f"{prepared / split}.npy is not there; `dvc repro preprocess@{prepared.name}` makes it.")
        self.device = device
        self.offset = float(about["offset"])
        fits = self.source.nbytes <= (_room(device) if resident is None else resident)
        self.pixels = self.source.array.to(device) if fits and isinstance(self.source, Mapped) else None
        """uint8 (N, C, H, W) on the device, or None where images are streamed."""
        if self.pixels is not None:
            # N×H×W×C in memory is channels-last; the view is N×C×H×W without a copy
            self.pixels = self.pixels.permute(0, 3, 1, 2)
        labels = prepared / f"{split}_labels.npy"
        self.labels = torch.from_numpy(np.load(labels)[:limit]) if labels.is_file() else None
        """int64 (N,), or None where the data set has none."""

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        height, width, channels = self.source.shape
        return channels, height, width

    def batch(self, index: Index) -> Float[Tensor, "b c h w"]:
        """The chosen images as floats: pixels in [0, 1] less the data set's offset."""
        return next(self._floats([index]))

    def shuffled(self, size: int, generator: torch.Generator, flip: bool) -> Iterator[Float[Tensor, "b c h w"]]:
        """All images once, in batches of `size` in random order; with `flip`, each mirrored with probability 1/2."""
        order = torch.randperm(len(self), generator=generator)
        if self.pixels is not None:
            order = order.to(self.device)  # once, since each copy from the host waits for the device
        mirrored = (torch.rand(len(self), generator=generator) < 0.5).to(self.device) if flip else None
        parts = self._parts(size)
        for part, images in zip(parts, self._floats(order[part] for part in parts), strict=True):
            if mirrored is not None:
                images = torch.where(mirrored[part, None, None, None], images.flip(3), images)
            yield images

    def in_order(self, size: int) -> Iterator[Float[Tensor, "b c h w"]]:
        """All images once, in batches of `size`."""
        return self._floats(self._parts(size))

    def sizes(self, size: int) -> list[int]:
        """How many images each batch of at most `size` has."""
        return [min(size, len(self) - start) for start in range(0, len(self), size)]

    def _parts(self, size: int) -> list[slice]:
        """Where this process's part of each batch lies; see `ranks`."""
        own = [ranks.part(images) for images in self.sizes(size)]
        return [
            slice(start + part.start, start + part.stop)
            for start, part in zip(range(0, len(self), size), own, strict=True)
        ]

    def _floats(self, indices: Iterable[Index]) -> Iterator[Float[Tensor, "b c h w"]]:
        for pixels in self._pixels(indices):
            yield to_floats(pixels, self.offset)

    def _pixels(self, indices: Iterable[Index]) -> Iterator[UInt8[Tensor, "b c h w"]]:
        """The images of every index, on the device; where they are not there yet, a few batches are read ahead."""
        if self.pixels is not None:
            yield from (self.pixels[i if isinstance(i, slice) else i.to(self.device)] for i in indices)
            return
        for pixels in self._read_ahead(indices):  # (B, H, W, C)
            yield pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def _read_ahead(self, indices: Iterable[Index]) -> Iterator[UInt8[Tensor, "b h w c"]]:
        waiting: deque[Future[Tensor]] = deque()
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                for index in indices:
                    waiting.append(pool.submit(self._read, index))
                    if len(waiting) > THREADS:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _read(self, index: Index) -> UInt8[Tensor, "b h w c"]:
        pixels = self.source.read(index)
        return pixels.pin_memory() if self.device.type == "cuda" else pixels


class Mapped:
    """An array on the disk, N×H×W×C, of which only what is read comes into memory."""

    def __init__(self, path: Path, limit: int | None) -> None:
        # copy-on-write: PyTorch does not take memory that cannot be written to, though nothing writes here
        self.array = torch.from_numpy(np.load(path, mmap_mode="c")[:limit])
        height, width, channels = self.array.shape[1:]
        self.shape = (height, width, channels)
        self.nbytes = self.array.numel()

    def __len__(self) -> int:
        return len(self.array)

    def read(self, index: Index) -> UInt8[Tensor, "b h w c"]:
        return self.array[index].clone() if isinstance(index, slice) else self.array[index]


class Encoded:
    """Image files, one after the other in one file; an index says where each begins."""

    def __init__(self, prepared: Path, split: str, limit: int | None, shape: tuple[int, int, int]) -> None:
        self.index = np.load(prepared / f"{split}_index.npy")[: None if limit is None else limit + 1]
        self.files = np.memmap(prepared / f"{split}.bin", np.uint8, mode="r")
        self.shape = shape
        self.nbytes = len(self) * int(np.prod(shape))

    def __len__(self) -> int:
        return len(self.index) - 1

    def read(self, index: Index) -> UInt8[Tensor, "b h w c"]:
        places = range(*index.indices(len(self))) if isinstance(index, slice) else index.tolist()
        return torch.from_numpy(np.stack([self._decoded(place) for place in places]))

    def _decoded(self, place: int) -> UInt8[np.ndarray, "h w c"]:
        content = self.files[self.index[place] : self.index[place + 1]].tobytes()
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))


def _room(device: torch.device) -> int:
    """Bytes that a split may take on the device."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return int(free) // SHARE
