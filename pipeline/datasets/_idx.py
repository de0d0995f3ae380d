"""What MNIST and Fashion-MNIST share: four gzipped idx files and a split of the training set."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8
from pydantic import NonNegativeInt, PositiveInt

from pipeline.core.errors import UserError
from pipeline.datasets import Dataset
from pipeline.datasets._splits import drawn, told

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


class IdxDataset(Dataset):
    """Images of the training set for train and validation, the test set apart.

    Pixels enter the network as [0, 1] minus 0.5, as in the code of LL-VQ-VAE for Fashion-MNIST; MNIST follows it, since
    that paper has no MNIST.

    Args:
        val: how many of the 60,000 training images are the validation set: 5,000 in LL-VQ-VAE's code.
        split_seed: of the permutation that chooses them. The paper's own draw is not known.
    """

    offset: ClassVar[float] = 0.5

    def __init__(
        self, *, val: PositiveInt = 5000, split_seed: NonNegativeInt = 0, checksums: dict[str, str] | None = None
    ) -> None:
        super().__init__(checksums=checksums)
        self.val, self.split_seed = val, split_seed

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        """Read, split and write; images stay in the order of the source within their split."""
        images, labels = self._pair(raw, *NAMES[:2])
        if self.val >= len(images):
            raise UserError(
                f"datasets.{self.name}.data.val must be less than the {len(images)} training images, found {self.val}."
            )
        parts = drawn(len(images), self.val, self.split_seed)
        _save(folder, "train", images[parts[0]], labels[parts[0]])
        _save(folder, "val", images[parts[1]], labels[parts[1]])
        _save(folder, "test", *self._pair(raw, *NAMES[2:]))
        return {"split": f"validation: {told(self.val, self.split_seed)}; test: the source's test set"}

    def _pair(
        self, raw: Path, images_name: str, labels_name: str
    ) -> tuple[UInt8[np.ndarray, "n h w"], UInt8[np.ndarray, " n"]]:
        images, labels = read_idx(raw / images_name, self.name), read_idx(raw / labels_name, self.name)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise UserError(
                f"{self.name}: {images_name} holds an array {images.shape} and {labels_name} {labels.shape}; "
                "expected N×H×W images and N labels."
            )
        return images, labels


def _save(folder: Path, name: str, images: UInt8[np.ndarray, "n h w"], labels: UInt8[np.ndarray, " n"]) -> None:
    np.save(folder / f"{name}.npy", images[..., None])
    np.save(folder / f"{name}_labels.npy", labels.astype(np.int64))


def read_idx(path: Path, dataset: str) -> UInt8[np.ndarray, "*shape"]:
    """The array of a gzipped idx file of unsigned bytes (format: http://yann.lecun.com/exdb/mnist/).

    Raises:
        UserError: missing, not gzip, cut short, or not unsigned bytes; the sentence names file and data set.
    """
    if not path.is_file():
        raise UserError(f"{dataset}: {path} is not there; run `python -m pipeline.download {dataset}`.")
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{dataset}: {path} is not a whole gzip file ({error}).") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":  # two zeros, then the code of unsigned bytes
        raise UserError(f"{dataset}: {path} does not start as an idx file of unsigned bytes, but with {content[:4]!r}.")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise UserError(f"{dataset}: {path} ends within its head.")
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    if len(content) - start != math.prod(shape):
        raise UserError(f"{dataset}: {path} declares {shape} but holds {len(content) - start} bytes of them.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
