"""Data sets, one file each; the name in params.yaml is the name of the file.

class MyDataset(Dataset):
    def __init__(self, *, size: PositiveInt) -> None: ...   # keyword-only arguments are the settings
    def download(self, folder, mirror) -> None: ...         # the source's files, as they are
    def prepare(self, raw, folder) -> dict: ...             # uint8 arrays, and what about.yaml says
"""

from __future__ import annotations

import abc
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline import registry

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and on which terms."""

    title: str
    url: str
    licence: str
    cite: str


class Dataset(abc.ABC):
    """A source of images. Its settings are the keyword-only arguments of its constructor.

    `prepare` leaves in `folder`, for each of train, val and test, `<split>.npy` (uint8, N×H×W×C, readable with
    `numpy.load(..., mmap_mode="r")`) and, where there are labels, `<split>_labels.npy` (int64, N).
    """

    source: ClassVar[Source]
    offset: ClassVar[float] = 0.0
    """Subtracted from pixels in [0, 1] before they enter the network."""

    @abc.abstractmethod
    def download(self, folder: Path, mirror: str | None) -> None:
        """Bring the source's files into `folder`, which exists and is empty, each checked against its checksum.

        Args:
            mirror: a folder or an http(s) base URL that holds `<dataset>/<official file name>`, or None for the source.

        Raises:
            Refused: not reachable, not there, or the wrong bytes.
        """

    @abc.abstractmethod
    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        """Turn the files of `raw` into the arrays above and return what is special to tell in about.yaml."""


def names() -> list[str]:
    return registry.names(sys.modules[__name__])


def find(name: str) -> type[Dataset]:
    """The class of the data set called `name`.

    Raises:
        Refused: there is no such data set.
    """
    return registry.find(sys.modules[__name__], Dataset, name)  # type: ignore[type-abstract]
