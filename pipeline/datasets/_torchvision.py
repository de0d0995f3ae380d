"""What the data sets that torchvision reads share: its readers, and a validation set drawn from the training images."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64, UInt8
from pydantic import NonNegativeInt, PositiveInt

from pipeline.core import files as disk
from pipeline.core.errors import UserError
from pipeline.datasets import Checksums, Dataset
from pipeline.datasets._splits import random_split

Arrays = tuple[UInt8[np.ndarray, "n h w c"], Int64[np.ndarray, " n"]]


class TorchvisionDataset(Dataset):
    """The source's training set for train and validation, its test set apart; images stay in the source's order.

    Args:
        val: how many of the training images are the validation set: 5,000 in LL-VQ-VAE's code.
        split_seed: of the permutation that chooses them. The paper's own draw is not known.
    """

    reader: ClassVar[str]
    """The class of torchvision.datasets."""

    def __init__(
        self, *, val: PositiveInt = 5000, split_seed: NonNegativeInt = 0, checksums: Checksums | None = None
    ) -> None:
        super().__init__(checksums=checksums)
        self.val, self.split_seed = val, split_seed

    @abc.abstractmethod
    def unpack(self, raw: Path, root: Path) -> None:
        """Unpack the files of `raw` to where torchvision looks for them below its `root`."""

    def reader_class(self) -> Any:
        from torchvision import datasets  # here, since `plan` imports this file too and torchvision takes a second

        return getattr(datasets, self.reader)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        unpacked = folder / "unpacked"
        self.unpack(raw, unpacked)
        (images, labels), test = self._read(unpacked, train=True), self._read(unpacked, train=False)
        disk.remove(unpacked)
        if self.val >= len(images):
            raise UserError(
                f"datasets.{self.name}.data.val must be less than the {len(images)} training images, found {self.val}."
            )
        train, val = random_split(len(images), self.val, self.split_seed)
        _save(folder, "train", images[train], labels[train])
        _save(folder, "val", images[val], labels[val])
        _save(folder, "test", *test)
        drawn = f"the first {self.val} of RandomState({self.split_seed}).permutation over the training images"
        return {"split": f"validation: {drawn}, in the source's order; test: the source's test set"}

    def _read(self, root: Path, train: bool) -> Arrays:
        try:
            source = self.reader_class()(root, train=train)
            images, labels = np.asarray(source.data), np.asarray(source.targets, np.int64)
        except Exception as error:  # a reader of unchecked files may raise anything
            kind = "training" if train else "test"
            raise UserError(f"{self.name}: torchvision cannot read the {kind} set ({error!r}).") from error
        if len(images) != len(labels):
            raise UserError(f"{self.name}: there are {len(images)} images but {len(labels)} labels.")
        return images.reshape(*images.shape[:3], -1), labels


def _save(folder: Path, split: str, images: UInt8[np.ndarray, "n h w c"], labels: Int64[np.ndarray, " n"]) -> None:
    np.save(folder / f"{split}.npy", np.ascontiguousarray(images))
    np.save(folder / f"{split}_labels.npy", labels)
