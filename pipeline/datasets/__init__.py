"""Data sets, one file each; the name in params.yaml is the name of the file.

@dataclass(kw_only=True)
class MyDataset(Dataset):
    source = Source(title, url, licence, cite)              # where it comes from, on which terms
    files = (File(name, checksum, size, urls), ...)         # what `download` brings
    image_shape = (height, width)                           # where they tell it beforehand
    size: PositiveInt = 64                                  # fields are the settings
    def prepare(self, raw, folder) -> dict: ...             # uint8 arrays, and what about.yaml says
"""

# No `from __future__ import annotations`: subclasses of other modules need the types of fields, not their names.
import abc
import dataclasses
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from pipeline.core import files as disk
from pipeline.core import registry, schema
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.datasets.io import fetch

SPLITS = ("train", "val", "test")


def _checksum(text: str) -> str:
    if text and not re.fullmatch(r"\w+:[0-9a-fA-F]+", text):
        raise ValueError("be <kind>:<hex digits>, as md5:0123…, or empty")
    return text


Checksums = dict[str, Annotated[str, AfterValidator(_checksum)]]
"""File name → `<kind>:<hex digits>`, or an empty text."""


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and on which terms."""

    title: str
    url: str
    licence: str
    cite: str


@dataclass(kw_only=True)
class Dataset(abc.ABC):
    """A source of images. Its settings are the keyword-only arguments of its constructor: the fields of a dataclass.

    `prepare` leaves in `folder`, for each of train, val and test, `<split>.npy` (uint8, N×H×W×C, readable with
    `numpy.load(..., mmap_mode="r")`) and, where there are labels, `<split>_labels.npy` (int64, N).

    Attributes:
        checksums: file name → `<kind>:<digits>` in the place of the official ones, for a mirror that holds a subset or
            a repacked file; an empty text switches the check of a file off.
        files: what `download` brings.
        image_shape: height and width of the images in pixels, or None where only the files tell.
        offset: subtracted from pixels in [0, 1] before they enter the network.
        terms: what a person has to accept, and where, before the source gives the files.
    """

    source: ClassVar[Source]
    offset: ClassVar[float] = 0.0
    terms: ClassVar[str] = ""
    files: tuple[fetch.File, ...] = field(default=(), init=False)
    image_shape: tuple[int, int] | None = field(default=None, init=False)
    checksums: Checksums | None = None

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def files_to_fetch(self) -> list[fetch.File]:
        """The files, with the settings' checksums in the place of the official ones.

        Raises:
            UserError: a checksum for a file that the data set does not have.
        """
        listed = {file.name: file for file in self.files}
        for name, checksum in (self.checksums or {}).items():
            if name not in listed:
                raise UserError(
                    f"datasets.{self.name}.data.checksums: there is no file {name!r}; there is {', '.join(listed)}."
                )
            listed[name] = dataclasses.replace(listed[name], checksum=checksum or None, size=0)
        return list(listed.values())

    def identity(self) -> dict[str, Any]:
        """What `download` brings. Only a change of this downloads anew, not another split or size."""
        return {"files": {file.name: file.checksum for file in self.files_to_fetch()}}

    def download(self, folder: Path, mirror: str | None) -> None:
        """Bring the source's files into `folder`, which may hold those of an earlier, broken-off download.

        Args:
            mirror: a folder or an http(s) base URL that holds `<dataset>/<official file name>`, or None for the source.

        Raises:
            UserError: not reachable, not there, or the wrong bytes.
        """
        fetch.fetch_all(self.files_to_fetch(), folder, self.name, mirror, self.terms)

    @abc.abstractmethod
    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        """Turn the files of `raw` into the arrays above and return what about.yaml says besides."""


def names() -> list[str]:
    return registry.names(sys.modules[__name__])


def find(name: str) -> type[Dataset]:
    """The class of the data set called `name`.

    Raises:
        UserError: there is no such data set.
    """
    return registry.find(sys.modules[__name__], Dataset, name)  # type: ignore[type-abstract]


def from_settings(name: str, paths: Paths = Paths()) -> tuple[Dataset, dict[str, Any]]:
    """The data set `name` as its settings file describes it, and those settings.

    Raises:
        UserError: no such data set, no settings file, or a setting it does not take.
    """
    cls = find(name)
    path = paths.dataset_settings(name)
    if not path.is_file():
        raise UserError(f"there is no {path}; run `python -m pipeline.plan` first, with {name} in grid.datasets.")
    settings = disk.read_yaml(path)["settings"]
    try:
        checked = schema.check(registry.settings_of(cls), settings, name, {key: f"settings.{key}" for key in settings})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return cls(**{field: getattr(checked, field) for field in type(checked).model_fields}), settings
