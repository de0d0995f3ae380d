"""What the data sets that torchvision reads share: its readers, and a validation set drawn from the training images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64, UInt8
from pydantic import NonNegativeInt, PositiveInt

from pipeline.core import files as disk
from pipeline.core.errors import UserError
from pipeline.datasets import Dataset
from pipeline.datasets._splits import random_split

Arrays = tuple[UInt8[np.ndarray, "n h w c"], Int64[np.ndarray, " n"]]


@dataclass(kw_only=True)
class TorchvisionDataset(Dataset):
    """The source's training set for train and validation, its test set apart; images stay in the source's order.

    Attributes:
        val: how many of the training images are the validation set: 5,000 in LL-VQ-VAE's code.
        split_seed: of the permutation that chooses them. The paper's own draw is not known.
        reader: the class of torchvision.datasets.
        unpacked: where it looks for the unpacked files, below its root.
    """

    reader: ClassVar[str]
    unpacked: ClassVar[str] = ""
    val: PositiveInt = 5000
    split_seed: NonNegativeInt = 0

    def reader_class(self) -> Any:
        from torchvision import datasets  # here, since `plan` imports this file too and torchvision takes a second

        return getattr(datasets, self.reader)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        from torchvision.datasets.utils import extract_archive

        root = folder / "unpacked"
        (root / self.unpacked).mkdir(parents=True)
        for file in self.files:
            try:
                extract_archive(raw / file.name, root / self.unpacked)
            except Exception as error:  # a reader of unchecked files may raise anything
                raise UserError(f"{self.name}: {raw / file.name} cannot be unpacked ({error!r}).") from error
        (images, labels), test = self._read(root, train=True), self._read(root, train=False)
        disk.remove(root)
        if self.val >= len(images):
            raise UserError(
                f"datasets.{self.name}.data.val must be less than the {len(images)} training images, found {self.val}."
            )
        train, val = random_split(len(images), self.val, self.split_seed)
        for split, arrays in (
            ("train", (images[train], labels[train])),
            ("val", (images[val], labels[val])),
            ("test", test),
        ):
            np.save(folder / f"{split}.npy", arrays[0])
            np.save(folder / f"{split}_labels.npy", arrays[1])
        drawn = f"the first {self.val} of RandomState({self.split_seed}).permutation over the training images"
        return {"split": f"validation: {drawn}, in the source's order; test: the source's test set"}

    def _read(self, root: Path, train: bool) -> Arrays:
        try:
            source = self.reader_class()(root, train=train)
        except Exception as error:  # likewise
            kind = "training" if train else "test"
            raise UserError(f"{self.name}: torchvision cannot read the {kind} set ({error!r}).") from error
        images = np.ascontiguousarray(source.data)
        return images.reshape(*images.shape[:3], -1), np.asarray(source.targets, np.int64)
