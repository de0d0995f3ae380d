"""The files of a folder or an archive that somebody else packed, read by name and without trust.

A zip is read where it lies; a tar is unpacked first, under tarfile's data filter.
"""

from __future__ import annotations

import abc
import functools
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.core import files
from pipeline.core.errors import UserError

LARGEST = 256 << 20  # bytes of one file when unpacked; the largest image of the data sets here has under 30 MB
HIDDEN = (".", "__MACOSX")  # how names begin that systems and packers add
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, KeyError)
"""What zipfile raises for archives that are cut short, damaged, encrypted, packed in an unknown way or lack a file."""


class BadFile(Exception):
    """A file of many cannot be used; the text says what is wrong with it, after the file's name."""


class Store(abc.ABC):
    """Files by name; hidden ones are not looked at.

    Args:
        path: the folder or archive.
        dataset: for messages.
        names: relative, with `/`.
    """

    def __init__(self, path: Path, dataset: str, names: Iterable[str]) -> None:
        self.path, self.dataset = path, dataset
        self.names = sorted({name for name in names if not any(part.startswith(HIDDEN) for part in name.split("/"))})

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            BadFile: it is not there, cut short, damaged or far too large.
        """

    def below(self, prefix: str, endings: Sequence[str]) -> list[str]:
        """The names that start with `prefix` and end like an image, sorted."""
        return [name for name in self.names if name.startswith(prefix) and name.lower().endswith(tuple(endings))]


class Folder(Store):
    """The files of a folder and its subfolders."""

    def __init__(self, path: Path, dataset: str) -> None:
        inside = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        super().__init__(path, dataset, inside)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Zip(Store):
    """The files of a zip archive.

    Raises:
        UserError: not there, or not a whole archive.
    """

    def __init__(self, path: Path, dataset: str) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                super().__init__(path, dataset, [info.filename for info in archive.infolist() if not info.is_dir()])
        except DAMAGED as error:
            raise UserError(f"{dataset}: {path} is not a whole zip archive ({error}).") from error

    def read(self, name: str) -> bytes:
        try:
            archive = _opened(self, os.getpid())
            size = archive.getinfo(name).file_size
            if size > LARGEST:
                raise BadFile(f"declares {size} bytes, more than {LARGEST}")
            return archive.read(name)
        except DAMAGED as error:
            raise BadFile(f"cannot be unpacked ({error})") from error

    def text(self, name: str) -> str:
        """A file of UTF-8 text that has to be there.

        Raises:
            UserError: it is not there or not text.
        """
        try:
            return self.read(name).decode("utf-8-sig")
        except (BadFile, UnicodeDecodeError) as error:
            raise UserError(f"{self.dataset}: {name} in {self.path} cannot be read as text: {error}.") from error


@functools.lru_cache(maxsize=1)
def _opened(store: Zip, process: int) -> zipfile.ZipFile:
    """Opened once in each process: two that share an open file would move each other's place in it."""
    return zipfile.ZipFile(store.path)


def unpack_tar(path: Path, folder: Path, dataset: str) -> Folder:
    """Unpack a tar archive (also gzipped, …) into a new folder and give that folder.

    Raises:
        UserError: not a whole tar archive, a link, a name that leads out, too little space on the disk.
    """
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            for member in members:
                if member.issym() or member.islnk():  # not every Python's data filter sees where a link of a link leads
                    raise UserError(f"{dataset}: {path} holds {member.name!r}, a link; expected files and folders.")
            files.check_space(folder.parent, sum(member.size for member in members), dataset)
            archive.extractall(folder, members, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OSError) as error:
        raise UserError(f"{dataset}: {path} cannot be unpacked as a whole tar archive ({error}).") from error
    return Folder(folder, dataset)
