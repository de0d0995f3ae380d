"""Reading the files of a folder or an archive that somebody else packed, one by one and without trust.

Nothing is ever unpacked under a name that the archive chose for it outside its own folder.
"""

from __future__ import annotations

import abc
import io
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from pipeline.core.errors import UserError

LARGEST = 256 << 20  # bytes of one file when unpacked; the largest image of the data sets here has under 30 MB
HIDDEN = ("__MACOSX/",)  # what some packers add


class BadFile(Exception):
    """One file of many cannot be used; the text says what is wrong with it, after the file's name."""


class Store(abc.ABC):
    """Files by name.

    Args:
        where: for messages: the path of the folder or archive.
        dataset: for messages.
        names: relative, with `/`; duplicates, links and names that lead out of the folder are refused.
    """

    def __init__(self, where: Path, dataset: str, names: Iterable[str]) -> None:
        self.where, self.dataset = where, dataset
        self.names = list(names)
        for name in self.names:
            check_name(name, where, dataset)
        for path, times in Counter(PurePosixPath(name) for name in self.names).items():
            if times > 1:
                raise UserError(f"{dataset}: {where} holds {path} {times} times, expected every name once.")

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
            raise UserError(f"{self.dataset}: {self.where} lacks {name}.")
        try:
            return self.read(name).decode("utf-8-sig")
        except (BadFile, UnicodeDecodeError) as error:
            raise UserError(f"{self.dataset}: {name} in {self.where} cannot be read as text: {error}.") from error

    def below(self, prefix: str, endings: Sequence[str]) -> list[str]:
        """The names that start with `prefix` and end like an image, sorted."""
        return sorted(name for name in self.names if name.startswith(prefix) and name.lower().endswith(tuple(endings)))


def check_name(name: str, where: Path, dataset: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or (path.parts and ":" in path.parts[0]):
        raise UserError(
            f"{dataset}: {where} holds {name!r}, a name that leads out of its folder; nothing was unpacked."
        )


class Folder(Store):
    """The files of a folder and its subfolders; hidden ones are not looked at."""

    def __init__(self, root: Path, dataset: str) -> None:
        if not root.is_dir():
            raise UserError(f"{dataset}: there is no folder {root}.")
        paths = [path.relative_to(root) for path in root.rglob("*")]
        self.root = root
        super().__init__(
            root,
            dataset,
            sorted(p.as_posix() for p in paths if not any(x.startswith(".") for x in p.parts) and (root / p).is_file()),
        )

    def read(self, name: str) -> bytes:
        path = self.root / name
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise BadFile("is a link that leads out of its folder")
        if path.stat().st_size > LARGEST:
            raise BadFile(f"has {path.stat().st_size} bytes, more than {LARGEST}")
        return path.read_bytes()


class Zip(Store):
    """The files of a zip archive, or of one that was cut into parts (`x.zip.001`, `x.zip.002`, …)."""

    def __init__(self, paths: Path | Sequence[Path], dataset: str) -> None:
        parts = [paths] if isinstance(paths, Path) else list(paths)
        for part in parts:
            if not part.is_file():
                raise UserError(f"{dataset}: {part} is not there; run `python -m pipeline.download {dataset}`.")
        try:
            self.archive = zipfile.ZipFile(parts[0] if len(parts) == 1 else Joined(parts))
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise UserError(f"{dataset}: {parts[0]} is not a whole zip archive ({error}).") from error
        infos = [info for info in self.archive.infolist() if not info.filename.startswith(HIDDEN)]
        for info in infos:
            if stat.S_ISLNK(info.external_attr >> 16):
                raise UserError(f"{dataset}: {parts[0]} holds {info.filename!r}, a link; nothing was unpacked.")
        super().__init__(parts[0], dataset, [info.filename for info in infos if not info.is_dir()])

    def read(self, name: str) -> bytes:
        info = self.archive.getinfo(name)
        if info.file_size > LARGEST:
            raise BadFile(f"declares {info.file_size} bytes, more than {LARGEST}")
        try:
            with self.archive.open(info) as file:
                content = file.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise BadFile(f"cannot be unpacked ({error})") from error
        return content


class Joined(io.RawIOBase):
    """Several files, one after the other, read as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths, self.sizes = list(paths), [path.stat().st_size for path in paths]
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: sum(self.sizes)}[whence]
        self.position = max(0, base + offset)
        return self.position

    def read(self, size: int = -1) -> bytes:
        left = sum(self.sizes) - self.position if size < 0 else size
        pieces = []
        while left > 0 and (piece := self._piece(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _piece(self, most: int) -> bytes:
        """Up to `most` bytes from the one file that holds the position."""
        start = 0
        for path, size in zip(self.paths, self.sizes, strict=True):
            if start <= self.position < start + size:
                with path.open("rb") as file:
                    file.seek(self.position - start)
                    piece = file.read(most)
                self.position += len(piece)
                return piece
            start += size
        return b""


def unpack_tar(path: Path, folder: Path, dataset: str) -> Folder:
    """Unpack a tar archive (also gzipped, …) into an empty folder and give that folder.

    Raises:
        UserError: not a whole tar archive, a link, a file too large, a name that leads out or stands twice.
    """
    if not path.is_file():
        raise UserError(f"{dataset}: {path} is not there; run `python -m pipeline.download {dataset}`.")
    seen: set[PurePosixPath] = set()
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                _check_member(member, path, dataset, seen)
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    target = folder / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content.read())
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this computer, not of the archive
        raise UserError(f"{dataset}: {path} is not a whole tar archive ({error}).") from error
    return Folder(folder, dataset)


def _check_member(member: tarfile.TarInfo, path: Path, dataset: str, seen: set[PurePosixPath]) -> None:
    check_name(member.name, path, dataset)
    if not (member.isfile() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "a special file"
        raise UserError(f"{dataset}: {path} holds {member.name!r}, {kind}; expected files and folders only.")
    if member.size > LARGEST:
        raise UserError(f"{dataset}: {member.name} in {path} has {member.size} bytes, more than {LARGEST}.")
    name = PurePosixPath(member.name)
    if member.isfile() and name in seen:
        raise UserError(f"{dataset}: {path} holds {name} twice, expected every name once.")
    seen.add(name)
