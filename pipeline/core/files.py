"""Files that are never half-written: write beside, then rename."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from pipeline.core.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write at: on success it takes the final name, on failure it is removed.

    The old `path` stays whole until the very end. A folder is not created: the caller makes it. An error in writing
    names `path`, which a full disk leaves out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    remove(beside)
    try:
        with naming(path):
            yield beside
        if path.is_dir() or beside.is_dir():
            remove(path)
        os.replace(beside, path)
    except BaseException:
        remove(beside)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError that names no file, as a full disk's, name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def check_writable(*folders: Path) -> None:
    """Find out before long work whether its results can be written; folders that are not there are made.

    Raises:
        OSError: it names the folder.
    """
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            error.filename = str(folder)
            raise


PATIENCE = 2  # seconds to wait for a lock: after a kill, the processes of single seeds take a moment to go


@contextmanager
def alone(lock: Path, work: str) -> Iterator[None]:
    """Do something that one process at a time may do; the file beside `lock` tells others which one does.

    Args:
        work: what is done, for the message, e.g. "photos-vq is being trained".

    Raises:
        UserError: another process does it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    owner = lock.with_suffix(".pid")
    try:
        with FileLock(lock, timeout=PATIENCE):
            owner.write_text(str(os.getpid()))
            yield
    except Timeout:
        who = f"process {owner.read_text()}" if owner.is_file() else "another process"
        raise UserError(f"{work} by {who}; wait for it or stop it.") from None


SPARE = 64 << 20  # bytes of a disk that are left free


def check_space(folder: Path, needed: int, who: str) -> None:
    """
    Args:
        needed: bytes about to be written.
        who: the data set, for the message.

    Raises:
        UserError: the disk of `folder` has less free.
    """
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise UserError(
            f"{who}: {folder} needs {(needed + SPARE) / 1e9:.1f} GB on the disk, but {free / 1e9:.1f} GB are free."
        )


def remove(path: Path) -> None:
    """Remove a file, link or folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON that every reader accepts: NaN and infinity are an error, not an extension."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_yaml(path: Path, content: Any, comment: str = "") -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    write_text(path, (f"# {comment}\n" if comment else "") + text)


def read_yaml(path: Path) -> Any:
    """Read YAML that `write_yaml` wrote. A file that a person edits is read by `read_edited_yaml`."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_edited_yaml(path: Path) -> Any:
    """Read YAML 1.2, in which 1e-05 is a number and `on` is text, and a key that stands twice is an error.

    Raises:
        UserError: not UTF-8, not YAML.
        FileNotFoundError: not there.
    """
    from ruamel.yaml import YAML, YAMLError  # here, since a training reads no such file and need not wait for it

    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def digest(path: Path, kind: str = "sha256") -> str:
    """The checksum of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
