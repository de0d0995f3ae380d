"""Files from a web address, a mirror, Google Drive or Kaggle.

    a source → temporary file → checksum compared → <folder>/<name>

pooch keeps the temporary file, compares the checksum and tries again; here stands where a file comes from and what a
person is told when it does not come.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pooch
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipeline.core import cli, files
from pipeline.core.errors import UserError

CHUNK = 1 << 20  # bytes
TIMEOUT = (10.0, 60.0)  # seconds: to connect, and between two pieces
RETRIES = 2  # after a first attempt over http that failed
PASSING = (429, 500, 502, 503, 504)  # statuses of a server that may answer better in a moment
MOST_WAITING = 60  # seconds that a server may ask for between two attempts
MANY = 16  # files: more are fetched by several threads at once
THREADS = 8
LARGE = 8 << 20  # bytes of a file whose progress is shown
UNSTATED = 2 << 30  # bytes taken of a file whose length neither its source nor the server states

pooch.get_logger().setLevel(logging.WARNING)  # else it writes two lines about every file


@dataclass(frozen=True)
class File:
    """A file as its official source names it.

    Attributes:
        name: the official file name, the same in a mirror; it may stand in folders.
        checksum: `<kind>:<hex digits>`, e.g. `md5:…` or `sha256:…`; None where nobody states one.
        size: bytes, perhaps rounded; 0 where unknown. More than twice as many are never taken.
        urls: addresses, tried in this order.
        drive: the file's id at Google Drive, fetched by `gdown`.
        kaggle: the competition at Kaggle it belongs to, fetched by `kaggle` with the person's own account.
    """

    name: str
    checksum: str | None = None
    size: int = 0
    urls: tuple[str, ...] = ()
    drive: str | None = None
    kaggle: str | None = None


def fetch_all(listed: Sequence[File], folder: Path, dataset: str, mirror: str | None, terms: str = "") -> None:
    """Bring files into `folder`; those that are there with the right checksum stay.

    Args:
        mirror: a folder or an http(s) base URL that holds `<dataset>/<name>`, or None for each file's own source.
        terms: what a person has to accept, and where, before the source gives the files.

    Raises:
        UserError: not there, not reachable, the wrong bytes, or too little space on the disk.
    """
    address, login = split_mirror(mirror)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.rglob("tmp????????"):  # pooch's temporary files, of a run that was killed
        left.unlink()
    missing = [file for file in listed if not (folder / file.name).exists()]
    begun = sum(path.stat().st_size for path in folder.glob("*.partial/*"))
    files.check_space(folder, sum(file.size for file in missing) - begun, dataset)
    for parent in {(folder / file.name).parent for file in listed}:  # here, not by several threads at once
        parent.mkdir(parents=True, exist_ok=True)
    fetch_one = partial(_fetch, folder=folder, dataset=dataset, mirror=address, login=login, terms=terms)
    if len(listed) <= MANY:
        for file in listed:
            fetch_one(file)
        return
    with ThreadPool(THREADS) as pool:
        for _ in cli.progress(pool.imap(fetch_one, listed), dataset, len(listed), "files"):
            pass


def split_mirror(mirror: str | None) -> tuple[str | None, tuple[str, str] | None]:
    """A mirror's address without user and password, so that no message can show them; and these two.

    Raises:
        UserError: an address of another kind than http(s), or an @ behind the host, perhaps of a password.
    """
    if not mirror or "://" not in mirror:
        return mirror, None
    parts = urlsplit(mirror)
    if parts.scheme not in ("http", "https") or mirror.count("@") > parts.netloc.count("@"):
        raise UserError(
            "the mirror should be a folder or an http(s) address; in that of a web page, write @ as %40 and, "
            "in a password, / as %2F."
        )
    host = parts.netloc.rpartition("@")[2]
    login = (unquote(parts.username or ""), unquote(parts.password or ""))
    return parts._replace(netloc=host).geturl(), login if host != parts.netloc else None


def _fetch(
    file: File, folder: Path, dataset: str, mirror: str | None, login: tuple[str, str] | None, terms: str
) -> None:
    """Bring one file from the first of its addresses that has it."""

    def download(address: str, output: str, _: object) -> None:
        if "://" in address:
            _by_http(address, output, file, login)
        elif mirror:
            shutil.copyfile(address, output)
        else:
            _by_client(file, output, folder / f"{file.name}.partial")

    failures = []
    for address in _addresses(file, dataset, mirror):
        retries = RETRIES if "://" in address else 0
        place = pooch.create(
            folder, "", registry={file.name: file.checksum}, urls={file.name: address}, retry_if_failed=retries
        )
        try:
            place.fetch(file.name, downloader=download)
            return
        except (ValueError, OSError) as error:  # a wrong checksum is a ValueError, requests' errors are OSErrors
            failures.append(f"{address}: {_reason(error)}")
            cli.log.info("%s: %s", dataset, failures[-1])
    if mirror:
        advice = (
            f"the mirror should hold {dataset}/{file.name}, and another version of it needs its checksum in "
            f"datasets.{dataset}.data.checksums"
        )
    else:
        advice = (
            f"{terms or 'try again later,'} or fetch the files by hand, put them into <folder>/{dataset}/ (as "
            f"<folder>/{dataset}/{file.name}) and set data.mirror, or the environment variable VQ_MIRROR, to <folder>"
        )
    raise UserError(f"{dataset}: {file.name} could not be fetched ({'; '.join(failures)}); {advice}.")


def _addresses(file: File, dataset: str, mirror: str | None) -> Sequence[str]:
    """Where the file may come from: web addresses, a path in a mirror, or the name of a client."""
    if mirror and "://" in mirror:
        return [f"{mirror.rstrip('/')}/{dataset}/{quote(file.name)}"]
    if mirror:
        return [str(Path(mirror, dataset, file.name))]
    return file.urls or ["gdown" if file.drive else "kaggle"]


def _session() -> requests.Session:
    """One that asks again after a passing no, when the server's Retry-After says; after other failures pooch does."""
    retry = Retry(
        total=None,
        connect=0,
        read=False,
        other=0,
        status=RETRIES,
        status_forcelist=PASSING,
        backoff_factor=1,
        raise_on_status=False,
    )
    retry.retry_after_max = MOST_WAITING  # no argument of older urllib3
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _by_http(url: str, output: str, file: File, login: tuple[str, str] | None) -> None:
    """pooch's own HTTPDownloader takes a body without end and unpacks a .gz that a server calls an encoding."""
    headers = {"Accept-Encoding": "identity"}
    with (
        _session() as session,
        session.get(url, stream=True, timeout=TIMEOUT, headers=headers, auth=login) as response,
        Path(output).open("wb") as write,
    ):
        if not response.ok:
            raise OSError(f"status {response.status_code} {response.reason}")
        length = int(response.headers.get("Content-Length", 0))
        most = 2 * file.size or length or UNSTATED
        pieces = response.raw.stream(CHUNK, decode_content=False)
        try:
            for piece in pieces if length < LARGE else cli.progress(pieces, file.name, length // CHUNK, "MB"):
                write.write(piece)
                if write.tell() > most:
                    raise OSError(f"it sends more than {most} bytes")
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(f"the line was cut after {write.tell()} bytes") from error


def _by_client(file: File, output: str, begun: Path) -> None:
    """Google Drive by gdown, Kaggle by kaggle; in the folder `begun` they go on with what an earlier call left."""
    begun.mkdir(parents=True, exist_ok=True)
    quiet = not sys.stderr.isatty()
    try:
        if file.drive:
            import gdown

            gdown.download(id=file.drive, output=str(begun / file.name), quiet=quiet, resume=True)
        else:
            from kaggle.api.kaggle_api_extended import KaggleApi

            api = KaggleApi()
            api.authenticate()
            api.competition_download_file(file.kaggle, file.name, path=str(begun), quiet=quiet, unzip=True)
        os.replace(begun / file.name, output)
    except (Exception, SystemExit) as error:  # whatever a foreign client raises; kaggle exits without an account
        raise OSError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    files.remove(begun)


def _reason(error: Exception) -> str:
    """An error in a few words: of pooch's and urllib3's nested ones the core, without the advice that follows."""
    text = str(error)
    nested = isinstance(error, ValueError | requests.RequestException)
    return text.rpartition(": ")[2].partition(". ")[0].rstrip("'\")") if nested else text
