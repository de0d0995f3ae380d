"""CIFAR-10: small colour photographs, 32×32, 50,000 for training and 10,000 for testing, ten classes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from pydantic import NonNegativeInt, PositiveInt

from pipeline.core import files as disk
from pipeline.core.errors import UserError
from pipeline.datasets import Dataset, Source
from pipeline.datasets._splits import drawn, told
from pipeline.datasets.io.archives import BadFile, Store, unpack_tar
from pipeline.datasets.io.fetch import File

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


class Cifar10(Dataset):
    """Colours in [0, 1].

    Args:
        val: how many of the 50,000 training images are the validation set.
        split_seed: of the permutation that chooses them.
    """

    source = Source(
        title="CIFAR-10",
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated; its authors ask to cite",
        cite="Krizhevsky: Learning multiple layers of features from tiny images, University of Toronto, 2009",
    )
    files = (
        File(
            ARCHIVE,
            "md5:c58f30108f718f92721af3b95e74349a",
            170_498_071,
            (f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",),
        ),
    )

    def __init__(
        self, *, val: PositiveInt = 5000, split_seed: NonNegativeInt = 0, checksums: dict[str, str] | None = None
    ) -> None:
        super().__init__(checksums=checksums)
        self.val, self.split_seed = val, split_seed

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        unpacked = folder / "unpacked"
        store = unpack_tar(raw / ARCHIVE, unpacked, self.name)
        parts = [read_batch(store, f"{FOLDER}/{name}") for name in BATCHES]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        test = read_batch(store, f"{FOLDER}/test_batch")
        disk.remove(unpacked)
        if self.val >= len(images):
            raise UserError(
                f"datasets.cifar10.data.val must be less than the {len(images)} training images, found {self.val}."
            )
        train, val = drawn(len(images), self.val, self.split_seed)
        for split, arrays in (
            ("train", (images[train], labels[train])),
            ("val", (images[val], labels[val])),
            ("test", test),
        ):
            np.save(folder / f"{split}.npy", arrays[0])
            np.save(folder / f"{split}_labels.npy", arrays[1])
        return {"split": f"validation: {told(self.val, self.split_seed)}; test: the source's test set"}


class _Plain(pickle.Unpickler):
    """Reads dictionaries, lists, text and NumPy arrays, and runs nothing else that a pickle may ask for."""

    ALLOWED = (
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.numeric", "_frombuffer"),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_batch(store: Store, name: str) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, " n"]]:
    """Images and labels of one pickled batch: a dictionary with `data` (N×3072, channel by channel) and `labels`.

    Raises:
        UserError: missing, not such a pickle, or one that wants more than data read.
    """
    where = f"{store.dataset}: {name} in {ARCHIVE}"
    if name not in store.names:
        raise UserError(f"{where} is not there.")
    try:
        with (store.where / name).open("rb") as file:
            content = _Plain(file, encoding="bytes").load()
        data, labels = content[b"data"], np.asarray(content[b"labels"], np.int64)
    except (pickle.UnpicklingError, EOFError, BadFile) as error:
        raise UserError(f"{where} cannot be read as plain data ({error}).") from error
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, IndexError) as error:
        raise UserError(f"{where} is not a batch of images and labels ({error!r}).") from error
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (len(labels), 3 * 32 * 32):
        raise UserError(f"{where} holds data {getattr(data, 'shape', None)} for {len(labels)} labels, expected N×3072.")
    return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels
