"""CIFAR-10: small colour photographs, 32×32, 50,000 for training and 10,000 for testing, ten classes."""

from __future__ import annotations

from typing import Any

from pipeline.core.errors import UserError
from pipeline.datasets import Source
from pipeline.datasets._torchvision import TorchvisionDataset
from pipeline.datasets.io.fetch import File

ARCHIVE = "cifar-10-python.tar.gz"


class Cifar10(TorchvisionDataset):
    """Colours in [0, 1].

    torchvision unpickles the batches, which can run code: the archive's checksum may be another, but not be left out.
    """

    source = Source(
        title="CIFAR-10",
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated; its authors ask to cite",
        cite="Krizhevsky: Learning multiple layers of features from tiny images, University of Toronto, 2009",
    )
    reader = "CIFAR10"
    image_shape = (32, 32)
    files = (
        File(
            ARCHIVE,
            "md5:c58f30108f718f92721af3b95e74349a",
            170_498_071,
            (f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",),
        ),
    )

    def files_to_fetch(self) -> list[File]:
        if self.checksums and self.checksums.get(ARCHIVE) == "":
            raise UserError(
                f"datasets.cifar10.data.checksums: the check of {ARCHIVE} cannot be switched off, since reading it can "
                "run code; expected the checksum of a file that you trust."
            )
        return super().files_to_fetch()

    def reader_class(self) -> Any:
        """torchvision's without its checksums of the archive's files, as the archive may be another one."""
        official = super().reader_class()
        lists = {name: [(file, None) for file, _ in getattr(official, name)] for name in ("train_list", "test_list")}
        return type("Cifar10", (official,), {**lists, "meta": {**official.meta, "md5": None}})
