"""Images for training and measuring: uint8 on the device, turned into floats there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.files import read_yaml
from pipeline.stage import Refused


class Images:
    """One split of a prepared data set.

    Args:
        prepared: folder `data/prepared/<dataset>`.
        split: train, val or test.
        device: where the images are kept.
        limit: keep only the first so many.

    Raises:
        Refused: the split is not there.
    """

    def __init__(self, prepared: Path, split: str, device: torch.device, limit: int | None = None) -> None:
        path = prepared / f"{split}.npy"
        if not path.is_file():
            raise Refused(f"{path} is not there; `dvc repro preprocess@{prepared.name}` makes it.")
        array = np.load(path, mmap_mode="r")[:limit]
        # N×H×W×C in memory is channels-last; the view below is N×C×H×W without a copy
        self.pixels = torch.from_numpy(np.array(array)).to(device).permute(0, 3, 1, 2)
        labels = prepared / f"{split}_labels.npy"
        self.labels = torch.from_numpy(np.load(labels)[:limit]) if labels.is_file() else None
        self.offset = float(read_yaml(prepared / "about.yaml")["offset"])

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def batch(self, index: Int[Tensor, " b"] | slice) -> Float[Tensor, "b c h w"]:
        """The chosen images as floats: pixels in [0, 1] less the data set's offset."""
        return self.pixels[index].float().div_(255).sub_(self.offset)

    def shuffled(self, size: int, generator: torch.Generator, flip: bool) -> Iterator[Float[Tensor, "b c h w"]]:
        """All images once, in batches of `size` in random order; with `flip`, each mirrored with probability 1/2."""
        order = torch.randperm(len(self), generator=generator).to(self.pixels.device)
        mirrored = torch.rand(len(self), generator=generator).to(order.device) < 0.5 if flip else None
        for start in range(0, len(self), size):
            images = self.batch(order[start : start + size])
            if mirrored is not None:
                images = torch.where(mirrored[start : start + size, None, None, None], images.flip(3), images)
            yield images

    def in_order(self, size: int) -> Iterator[Float[Tensor, "b c h w"]]:
        """All images once, in batches of `size`."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))
