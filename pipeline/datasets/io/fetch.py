"""Files from a web address, a mirror, Google Drive or Kaggle.

    a source → temporary file → checksum compared → <folder>/<name>

pooch keeps the temporary file, compares the checksum and tries again; here stands where a file comes from and what a
person is told when it does not come.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pooch
import requests
import urllib3
from tqdm import tqdm

from pipeline.core import cli, files
from pipeline.core.errors import UserError

CHUNK = 1 << 20  # bytes
TIMEOUT = (10.0, 60.0)  # seconds: to connect, and between two pieces
RETRIES = 2  # after a first attempt over http that failed
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


class _Unavailable(Exception):
    """A source cannot give the file, however often one asks."""


Download = Callable[[str, str, object], None]
"""What pooch calls: address, path of the temporary file, its own object."""


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
    places = _Places(folder, dataset, address, login, terms)
    fetch_one = partial(_fetch, places=places)
    if len(listed) <= MANY:
        for file in listed:
            fetch_one(file)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for _ in cli.progress(pool.map(fetch_one, listed), dataset, len(listed), "files"):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Places:
    """Where to bring files from and to; `login` is the mirror's user and password."""

    folder: Path
    dataset: str
    mirror: str | None
    login: tuple[str, str] | None
    terms: str


def split_mirror(mirror: str | None) -> tuple[str | None, tuple[str, str] | None]:
    """A mirror's address without user and password, so that no message can show them; and these two.

    Raises:
        UserError: an address of another kind than http(s), or an @ behind the host, perhaps of a password.
    """
    scheme, host = (urlsplit(mirror).scheme, urlsplit(mirror).netloc) if mirror and "://" in mirror else ("", "")
    if not mirror or not scheme:
        return mirror, None
    if scheme not in ("http", "https"):
        raise UserError(f"the mirror is an address of kind {scheme}, expected a folder or an http(s) address.")
    if mirror.count("@") > host.count("@"):
        raise UserError("the mirror's address has an @ behind its host; write @ as %40 and, in a password, / as %2F.")
    login, _, rest = host.rpartition("@")
    user, _, password = login.partition(":")
    return mirror.replace(host, rest, 1), (unquote(user), unquote(password)) if login else None


def _fetch(file: File, places: _Places) -> None:
    """Bring one file from the first of its sources that has it."""
    failures = []
    for address, retries, download in _sources(file, places):
        place = pooch.create(
            places.folder, "", registry={file.name: file.checksum}, urls={file.name: address}, retry_if_failed=retries
        )
        try:
            place.fetch(file.name, downloader=download)
            return
        except (_Unavailable, ValueError, OSError) as error:  # requests' errors are OSErrors
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            failures.append(f"{address}: {_reason(error)}")
            cli.log.info("%s: %s", places.dataset, failures[-1])
    dataset = places.dataset
    if places.mirror:
        advice = f"a mirror with another version of a file needs its checksum in datasets.{dataset}.data.checksums"
    else:
        advice = (
            f"{places.terms or 'try again later,'} or fetch the files by hand, put them into <folder>/{dataset}/ (as "
            f"<folder>/{dataset}/{file.name}) and set data.mirror, or the environment variable VQ_MIRROR, to <folder>"
        )
    raise UserError(f"{dataset}: {file.name} could not be fetched ({'; '.join(failures)}); {advice}.")


def _sources(file: File, places: _Places) -> Iterator[tuple[str, int, Download]]:
    """Where the file may come from: an address, how often it is asked again, and what brings the file."""
    mirror, dataset = places.mirror, places.dataset
    if mirror and "://" not in mirror:
        yield str(Path(mirror) / dataset / file.name), 0, partial(_copy, mirror=mirror, dataset=dataset)
    elif mirror or file.urls:
        urls = (f"{mirror.rstrip('/')}/{dataset}/{quote(file.name)}",) if mirror else file.urls
        for url in urls:
            yield url, RETRIES, partial(_by_http, file=file, places=places)
    else:
        client = "gdown" if file.drive else "kaggle"
        partial_folder = places.folder / f"{file.name}.partial"  # the clients go on with what an earlier call left
        yield f"by {client}", 0, partial(_by_client, client=client, file=file, partial_folder=partial_folder)


def _copy(address: str, output: str, _: object, mirror: str, dataset: str) -> None:
    if not Path(mirror).is_dir():
        raise UserError(f"the mirror {mirror} is not there; expected a folder that holds {dataset}/.")
    if not Path(address).is_file():
        raise UserError(f"the mirror {mirror} does not hold {Path(address).relative_to(mirror)}.")
    files.check_space(Path(output).parent, Path(address).stat().st_size, dataset)
    shutil.copyfile(address, output)


def _by_http(url: str, output: str, _: object, file: File, places: _Places) -> None:
    """pooch's own HTTPDownloader takes a body without end and unpacks a .gz that a server calls an encoding."""
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers, auth=places.login) as response:
        if not response.ok:
            again = response.status_code >= 500 or response.status_code == 429
            raise (requests.HTTPError if again else _Unavailable)(f"status {response.status_code} {response.reason}")
        length = int(response.headers.get("Content-Length", 0))
        most = 2 * file.size or length or UNSTATED
        files.check_space(Path(output).parent, length, places.dataset)
        if length >= LARGE:
            cli.log.info("%s: fetching %s, %.0f MB", places.dataset, file.name, length / 1e6)
        hidden = True if length < LARGE else None  # None: shown on a terminal
        bar = tqdm(desc=file.name, total=length, unit="B", unit_scale=True, leave=False, disable=hidden)
        with bar, Path(output).open("wb") as write:
            try:
                for piece in response.raw.stream(CHUNK, decode_content=False):
                    if write.tell() + len(piece) > most:
                        raise _Unavailable(f"it sends more than {most} bytes")
                    write.write(piece)
                    bar.update(len(piece))
            except urllib3.exceptions.HTTPError as error:
                raise requests.ConnectionError(f"the line was cut after {write.tell()} bytes") from error


def _by_client(_: str, output: str, __: object, client: str, file: File, partial_folder: Path) -> None:
    partial_folder.mkdir(parents=True, exist_ok=True)
    try:
        (_by_gdown if client == "gdown" else _by_kaggle)(file, partial_folder)
    except ImportError as error:
        raise _Unavailable(f"the package {client} is not installed: pip install {client}") from error
    except SystemExit as error:
        raise _Unavailable("it asks for an account") from error
    except Exception as error:  # whatever a foreign client raises
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise _Unavailable(str(error) or type(error).__name__) from error
    os.replace(partial_folder / file.name, output)
    files.remove(partial_folder)


def _by_gdown(file: File, folder: Path) -> None:
    import gdown

    gdown.download(id=file.drive, output=str(folder / file.name), quiet=not sys.stderr.isatty(), resume=True)


def _by_kaggle(file: File, folder: Path) -> None:
    with contextlib.redirect_stdout(None):  # without an account, already the import may print a page of help
        from kaggle.api.kaggle_api_extended import KaggleApi

        api = KaggleApi()
        api.authenticate()
    api.competition_download_file(file.kaggle, file.name, path=str(folder), quiet=not sys.stderr.isatty(), unzip=True)


def _reason(error: Exception) -> str:
    """An error in a few words: of pooch's and urllib3's nested ones the core, without the advice that follows."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text if isinstance(error, _Unavailable) else text.rpartition(": ")[2].partition(". ")[0].rstrip("'\")")
