"""The files of a folder or an archive that somebody else packed, read by name and without trust.

A zip is read where it lies; a tar is unpacked first, under tarfile's data filter.
"""

from __future__ import annotations

import abc
import errno
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core import files
from pipeline.core.errors import UserError

LARGEST = 256 << 20  # bytes of one file when unpacked; the largest image of the data sets here has under 30 MB
HIDDEN = "__MACOSX/"  # what some packers add
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)
"""What zipfile raises for archives that are cut short, damaged, encrypted or packed in an unknown way."""


class BadFile(Exception):
    """A file of many cannot be used; the text says what is wrong with it, after the file's name."""


class Store(abc.ABC):
    """Files by name.

    Args:
        path: the folder or archive.
        dataset: for messages.
        names: relative, with `/`.

    Raises:
        UserError: a name leads out of the folder, or stands twice.
    """

    def __init__(self, path: Path, dataset: str, names: Iterable[str]) -> None:
        self.path, self.dataset, self.names = path, dataset, list(names)
        check_names(self.names, path, dataset)

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            BadFile: it is cut short, damaged or far too large.
        """

    def text(self, name: str) -> str:
        """A file of UTF-8 text that has to be there.

        Raises:
            UserError: it is not there or not text.
        """
        if name not in self.names:
            raise UserError(f"{self.dataset}: {self.path} lacks {name}.")
        try:
            return self.read(name).decode("utf-8-sig")
        except (BadFile, UnicodeDecodeError) as error:
            raise UserError(f"{self.dataset}: {name} in {self.path} cannot be read as text: {error}.") from error

    def below(self, prefix: str, endings: Sequence[str]) -> list[str]:
        """The names that start with `prefix` and end like an image, sorted."""
        return sorted(name for name in self.names if name.startswith(prefix) and name.lower().endswith(tuple(endings)))


def check_names(names: Sequence[str], path: Path, dataset: str) -> None:
    """
    Raises:
        UserError: a name leads out of the folder, or stands twice.
    """
    for name, times in Counter(PurePosixPath(name) for name in names).items():
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{dataset}: {path} holds {str(name)!r}, a name that leads out of its folder.")
        if times > 1:
            raise UserError(f"{dataset}: {path} holds {name} {times} times, expected every name once.")


class Folder(Store):
    """The files of a folder and its subfolders; hidden ones are not looked at."""

    def __init__(self, path: Path, dataset: str) -> None:
        inside = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
        super().__init__(path, dataset, [x.as_posix() for x in inside if not any(p.startswith(".") for p in x.parts)])

    def read(self, name: str) -> bytes:
        file = self.path / name
        if not file.resolve().is_relative_to(self.path.resolve()):
            raise BadFile("is a link that leads out of its folder")
        if file.stat().st_size > LARGEST:
            raise BadFile(f"has {file.stat().st_size} bytes, more than {LARGEST}")
        return file.read_bytes()


class Zip(Store):
    """The files of a zip archive.

    Raises:
        UserError: not there, not a whole archive, or one that holds links.
    """

    def __init__(self, path: Path, dataset: str) -> None:
        self.path = path
        self.opened: tuple[int, zipfile.ZipFile | None] = (0, None)
        try:
            infos = [info for info in self._archive().infolist() if not info.filename.startswith(HIDDEN)]
        except DAMAGED as error:
            raise UserError(f"{dataset}: {path} is not a whole zip archive ({error}).") from error
        for info in infos:
            if stat.S_ISLNK(info.external_attr >> 16):
                raise UserError(f"{dataset}: {path} holds {info.filename!r}, a link; expected files and folders.")
        super().__init__(path, dataset, [info.filename for info in infos if not info.is_dir()])

    def read(self, name: str) -> bytes:
        try:
            info = self._archive().getinfo(name)
            if info.file_size > LARGEST:
                raise BadFile(f"declares {info.file_size} bytes, more than {LARGEST}")
            return self._archive().read(info)
        except DAMAGED as error:
            raise BadFile(f"cannot be unpacked ({error})") from error

    def _archive(self) -> zipfile.ZipFile:
        """Opened once in each process: two that share an open file would move each other's place in it."""
        process, archive = self.opened
        if archive is None or process != os.getpid():
            archive = zipfile.ZipFile(self.path)
            self.opened = os.getpid(), archive
        return archive

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"opened": (0, None)}  # an open file cannot be sent to a worker


def unpack_tar(path: Path, folder: Path, dataset: str) -> Folder:
    """Unpack a tar archive (also gzipped, …) into a new folder and give that folder.

    Raises:
        UserError: not a whole tar archive, a link, a name that leads out or stands twice, too little space on the disk.
    """
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            for member in members:
                if not (member.isfile() or member.isdir()):
                    kind = "a link" if member.issym() or member.islnk() else "a special file"
                    raise UserError(f"{dataset}: {path} holds {member.name!r}, {kind}; expected files and folders.")
            check_names([member.name for member in members if member.isfile()], path, dataset)
            files.check_space(folder.parent, sum(member.size for member in members), dataset)
            archive.extractall(folder, members, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{dataset}: {path} cannot be unpacked as a whole tar archive ({error}).") from error
    return Folder(folder, dataset)
