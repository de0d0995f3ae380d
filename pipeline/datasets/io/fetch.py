"""Files from a URL or a mirror: resumed, retried, checked while they are written, renamed only when they are right.

source → <name>.partial (size and checksum counted on the way) → <name>
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import tenacity
import urllib3
from tqdm import tqdm

from pipeline.core import cli, files
from pipeline.core.errors import UserError

log = logging.getLogger("pipeline")

CHUNK = 1 << 18  # bytes
TIMEOUT = (10.0, 60.0)  # seconds: to connect, and between two pieces
TRIES = 6  # attempts in a row that bring nothing new
MANY = 16  # files: more are fetched by several threads at once
THREADS = 8
WAIT = tenacity.wait_exponential(multiplier=1, max=60) + tenacity.wait_random(0, 1)  # seconds
REFUSED, UNKNOWN = "connection refused", "the host name is not known, or there is no network"


@dataclass(frozen=True)
class File:
    """A file as its official source names it.

    Attributes:
        name: the official file name, the same in a mirror.
        checksum: `<kind>:<hex digits>`, e.g. `md5:…` or `sha256:…`; None where nobody states one.
        size: bytes; None where unknown.
        roughly: bytes, for a look at the free space where the exact size is not known.
        urls: addresses, tried in this order.
        drive: the file's id at Google Drive, fetched by `gdown`, which knows its questions.
        kaggle: the competition at Kaggle it belongs to, fetched by `kaggle` with the person's own account.
    """

    name: str
    checksum: str | None = None
    size: int | None = None
    roughly: int = field(default=0, kw_only=True)
    urls: tuple[str, ...] = ()
    drive: str | None = None
    kaggle: str | None = None


class _Unusable(Exception):
    """This source cannot give the file, however often one asks."""


class _Broken(Exception):
    """This source failed, but may go on when asked again."""


def fetch_all(wanted: Sequence[File], folder: Path, dataset: str, mirror: str | None, terms: str = "") -> None:
    """Bring files into `folder`, after a look at the space they need together; those that are there already stay.

    Args:
        mirror: a folder or an http(s) base URL that holds `<dataset>/<name>`, or None for each file's own addresses.
        terms: what a person has to accept, and where, before the source gives the files.

    Raises:
        UserError: not there, not reachable, the wrong bytes, or too little space on the disk.
    """
    missing = [file for file in wanted if not (folder / file.name).exists()]
    kept = sum(_length(_beside(folder / file.name)) for file in missing)
    files.check_space(folder, sum(file.size or file.roughly for file in missing) - kept, dataset)
    for parent in {(folder / file.name).parent for file in missing}:
        parent.mkdir(parents=True, exist_ok=True)
    if len(missing) <= MANY:
        for file in missing:
            fetch(file, folder / file.name, dataset, mirror, terms)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            work = pool.map(lambda file: fetch(file, folder / file.name, dataset, mirror, terms, quiet=True), missing)
            for _ in cli.progress(work, dataset, len(missing), "files"):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


def fetch(file: File, path: Path, dataset: str, mirror: str | None, terms: str = "", quiet: bool = False) -> None:
    """Bring one file to `path`. What an earlier, broken-off call left beside it is gone on with.

    Raises:
        UserError: as `fetch_all`.
    """
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        _copy(file, Path(mirror), path, dataset, quiet)
        return
    if mirror is None and (file.drive or file.kaggle):
        _from_client(file, path, dataset, terms)
        return
    if file.checksum is None:
        files.remove(_beside(path))  # nothing would tell a mixture of two versions from the file
    urls = (f"{mirror.rstrip('/')}/{dataset}/{quote(file.name)}",) if mirror else file.urls
    failures = []
    for url in urls:
        try:
            _Transfer(file, url, path, dataset, quiet).run()
            return
        except (_Unusable, _Broken) as error:
            failures.append(f"{url}: {error}")
            log.info("%s: %s: %s", dataset, url, error)
    advice = (
        f"check the mirror; {_own_sum(dataset)}" if mirror else _by_hand(file, dataset, terms or "try again later,")
    )
    raise UserError(f"{dataset}: {file.name} could not be fetched ({'; '.join(failures)}); {advice}.")


def _own_sum(dataset: str) -> str:
    return f"a mirror with another version of a file needs its sum in datasets.{dataset}.data.checksums"


def _by_hand(file: File, dataset: str, terms: str) -> str:
    return (
        f"{terms} or fetch the files by hand, put them into <folder>/{dataset}/ (as <folder>/{dataset}/{file.name}) "
        "and set data.mirror, or the environment variable VQ_MIRROR, to <folder>"
    )


def _from_client(file: File, path: Path, dataset: str, terms: str) -> None:
    """The file by the client of its host, checked like every other."""
    client = "gdown" if file.drive else "kaggle"
    try:
        (_by_gdown if file.drive else _by_kaggle)(file, _beside(path))
        problem = _problem_of(_beside(path), file, dataset)
    except ImportError:
        problem = f"is fetched by the package {client}, which is not installed: pip install {client}"
    except (Exception, SystemExit) as error:  # whatever a foreign client raises or prints before it gives up
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        said = "it asks for an account" if isinstance(error, SystemExit) else _reason(error).strip()
        problem = f"was not given to {client} ({said.splitlines()[0] if said else type(error).__name__})"
    if problem:
        raise UserError(f"{dataset}: {file.name} {problem}.\n{_by_hand(file, dataset, terms)}.")
    os.replace(_beside(path), path)


def _problem_of(path: Path, file: File, dataset: str) -> str | None:
    check = _Check(file, dataset)
    with path.open("rb") as read:
        while piece := read.read(CHUNK):
            check.feed(piece)
    problem = check.problem()
    if problem:
        files.remove(path)
    return problem


def _by_gdown(file: File, path: Path) -> None:
    import gdown

    gdown.download(id=file.drive, output=str(path), quiet=not sys.stderr.isatty(), resume=True)


def _by_kaggle(file: File, path: Path) -> None:
    """Kaggle's client names the file itself and packs it into a zip of its own when it likes to."""
    with contextlib.redirect_stdout(None):  # without an account, already the import prints a page of help and exits
        from kaggle.api.kaggle_api_extended import KaggleApi

        api = KaggleApi()
        api.authenticate()
    folder = path.with_name(f"{file.name}.kaggle.partial")
    folder.mkdir(exist_ok=True)
    api.competition_download_file(file.kaggle, file.name, path=str(folder), quiet=not sys.stderr.isatty())
    (got,) = list(folder.iterdir())
    if got.name == f"{file.name}.zip":
        with zipfile.ZipFile(got) as archive, archive.open(file.name) as read, path.open("wb") as write:
            shutil.copyfileobj(read, write, CHUNK)
    else:
        os.replace(got, path)
    files.remove(folder)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _Check:
    """Counts the bytes of a file and its checksum while they pass."""

    def __init__(self, file: File, dataset: str) -> None:
        self.file, self.dataset, self.size = file, dataset, 0
        kind = file.checksum.split(":")[0] if file.checksum else "sha256"
        if kind not in hashlib.algorithms_guaranteed:
            raise UserError(f"{dataset}: the checksum of {file.name} must be <kind>:<digits>, found {file.checksum!r}.")
        self.hash: Any = hashlib.new(kind)

    def feed(self, piece: bytes) -> None:
        self.size += len(piece)
        self.hash.update(piece)

    def problem(self) -> str | None:
        """What is wrong with the whole file, or None."""
        kind, _, expected = (self.file.checksum or "").partition(":")
        found = self.hash.hexdigest()
        if expected and found != expected.lower():
            wrong_size = self.file.size is not None and self.size != self.file.size
            sizes = f" ({self.size} bytes, expected {self.file.size})" if wrong_size else ""
            return f"has {kind} {found}, expected {expected}{sizes}"
        if self.file.size is not None and self.size != self.file.size:
            return f"has {self.size} bytes, expected {self.file.size}"
        return None


def _copy(file: File, mirror: Path, path: Path, dataset: str, quiet: bool) -> None:
    """The file from a mirror that is a folder."""
    if not mirror.is_dir():
        raise UserError(f"the mirror {mirror} is not there; expected a folder that holds {dataset}/{file.name}.")
    source = mirror / dataset / file.name
    if not source.is_file():
        raise UserError(f"the mirror {mirror} does not hold {dataset}/{file.name}.")
    files.check_space(path.parent, source.stat().st_size, dataset)
    check = _Check(file, dataset)
    with files.replacing(path) as beside:
        total = source.stat().st_size
        with source.open("rb") as read, beside.open("wb") as write, _meter(file, total, 0, quiet) as meter:
            while piece := read.read(CHUNK):
                write.write(piece)
                check.feed(piece)
                meter.update(len(piece))
        if problem := check.problem():
            raise UserError(f"{dataset}: {source} {problem}; {_own_sum(dataset)}.")


class _Transfer:
    """One file over HTTP from one address, attempt after attempt."""

    def __init__(self, file: File, url: str, path: Path, dataset: str, quiet: bool) -> None:
        self.file, self.url, self.path, self.dataset, self.quiet = file, url, path, dataset, quiet
        self.beside = _beside(path)
        self.furthest = _length(self.beside)
        self.idle = 0  # attempts in a row that brought nothing new
        self.etag: str | None = None
        self.met = False  # whether this server has ever answered

    def run(self) -> None:
        """Fetch, check and rename.

        Raises:
            _Unusable, _Broken: try another address.
            UserError: the disk is full.
        """
        left_over = self.furthest > 0
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Broken),
            stop=lambda _: self.idle >= TRIES,
            wait=WAIT,
            before_sleep=self._say,
            reraise=True,
        )
        problem = attempts(self._attempt).problem()
        if problem and left_over:  # the file may have changed since an earlier run began it: once more from the start
            files.remove(self.beside)
            problem = attempts(self._attempt).problem()
        if problem:
            files.remove(self.beside)
            raise _Unusable(f"the file {problem}")
        os.replace(self.beside, self.path)

    def _say(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        log.info(
            "%s: %s after %d bytes (%s); again in %.0f s", self.dataset, self.file.name, self.furthest, error, wait
        )

    def _attempt(self) -> _Check:
        try:
            return self._read()
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # a server that never answered is more likely switched off or misspelled than about to come back
            absent = not self.met and _reason(error) in (REFUSED, UNKNOWN)
            raise (_Unusable if absent else _Broken)(_reason(error)) from error
        finally:
            self._count()

    def _count(self) -> None:
        reached = _length(self.beside)
        self.idle = 0 if reached > self.furthest else self.idle + 1
        self.furthest = max(self.furthest, reached)

    def _read(self) -> _Check:
        """Ask for what is missing and write it. The checksum starts from the bytes that are there."""
        have = _length(self.beside)
        if self.file.size is not None and have > self.file.size:
            files.remove(self.beside)
            have = 0
        headers = {"Accept-Encoding": "identity"}  # a .gz must arrive as it is
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.etag:
                headers["If-Range"] = self.etag
        with requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            start = self._start(response, have)
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else self.file.size
            if self.file.size is not None and total != self.file.size:
                raise _Unusable(f"the file has {total} bytes, expected {self.file.size}")
            if self.file.size is None and total:
                files.check_space(self.path.parent, total - start, self.dataset)
            return self._write(response, start, total)

    def _start(self, response: requests.Response, have: int) -> int:
        """From which byte on the answer is, after what the status says about it."""
        self.met = True
        status = response.status_code
        if status == 416:  # the bytes asked for are beyond the end: begin anew
            files.remove(self.beside)
            raise _Broken("the server has no bytes after those already here")
        if status in (408, 425, 429) or status >= 500:
            raise _Broken(f"status {status} {response.reason}")
        if status not in (200, 206):
            raise _Unusable(f"status {status} {response.reason}")
        etag = response.headers.get("ETag", "")
        self.etag = etag if etag.startswith('"') else None  # a weak one does not promise equal bytes
        if status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            files.remove(self.beside)
            raise _Broken("the server answered with other bytes than it was asked for")
        return have if status == 206 else 0

    def _write(self, response: requests.Response, start: int, total: int | None) -> _Check:
        check = _Check(self.file, self.dataset)
        with self.beside.open("r+b" if start else "wb") as write, _meter(self.file, total, start, self.quiet) as meter:
            while check.size < start:
                check.feed(write.read(min(CHUNK, start - check.size)))
            for piece in response.raw.stream(CHUNK, decode_content=False):
                write.write(piece)
                check.feed(piece)
                meter.update(len(piece))
        if total is not None and check.size < total:
            raise _Broken(f"the line was cut after {check.size} of {total} bytes")
        return check


def _reason(error: BaseException) -> str:
    """A requests or urllib3 error in a few words."""
    text = str(error)
    if "refused" in text:
        return REFUSED
    if "resolve" in text or "resolution" in text:
        return UNKNOWN
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return "no answer in time"
    return "the line was cut" if "IncompleteRead" in text or "aborted" in text else text.split("(Caused by")[0][:200]


class _Lines:
    """The way of a download, in a line of the log every 30 seconds."""

    def __init__(self, what: str, total: int | None, start: int) -> None:
        self.what, self.total, self.first, self.done = what, total, start, start
        self.began = self.said = time.monotonic()

    def update(self, n: int) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.said < 30:
            return
        self.said = now
        rate = (self.done - self.first) / (now - self.began)
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate else ""
        share = f" of {self.total / 1e6:.0f}" if self.total else ""
        log.info("%s: %.0f%s MB, %.1f MB/s%s", self.what, self.done / 1e6, share, rate / 1e6, left)


@contextlib.contextmanager
def _meter(file: File, total: int | None, start: int, quiet: bool) -> Iterator[Any]:
    """Something with `update(bytes)`: a bar with rate and time left on a terminal, else lines in the log."""
    if not quiet and sys.stderr.isatty() and not os.environ.get("CI"):
        with tqdm(desc=file.name, total=total, initial=start, unit="B", unit_scale=True, leave=False) as bar:
            yield bar
    else:
        yield _Lines(file.name, total, start)
