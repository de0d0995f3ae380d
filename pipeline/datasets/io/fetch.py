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
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

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
UNSTATED = 2 << 30  # bytes taken of a file whose length neither its source nor the server states

pooch.get_logger().setLevel(logging.WARNING)  # it logs whole addresses, with the passwords in them


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


class _NoUse(Exception):
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
    missing = [file for file in listed if not (folder / file.name).exists()]
    begun = sum(path.stat().st_size for path in folder.glob("*.partial/*"))
    files.check_space(folder, sum(file.size for file in missing) - begun, dataset)
    fetch_one = partial(fetch, folder=folder, dataset=dataset, mirror=mirror, terms=terms, quiet=len(listed) > MANY)
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


def fetch(file: File, folder: Path, dataset: str, mirror: str | None, terms: str = "", quiet: bool = False) -> None:
    """Bring one file into `folder`, from the first of its sources that has it.

    Raises:
        UserError: as `fetch_all`; it names every source that failed, and none of a mirror's passwords.
    """
    failures = []
    for address, retries, download in _sources(file, folder, dataset, mirror, quiet):
        try:
            pooch.create(
                folder, "", registry={file.name: file.checksum}, urls={file.name: address}, retry_if_failed=retries
            ).fetch(file.name, downloader=download)
            return
        except (_NoUse, ValueError, OSError) as error:  # requests' errors are OSErrors
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            failures.append(masked(f"{address}: {_reason(error)}"))
            cli.log.info("%s: %s", dataset, failures[-1])
    if mirror:
        advice = f"a mirror with another version of a file needs its sum in datasets.{dataset}.data.checksums"
    else:
        advice = (
            f"{terms or 'try again later,'} or fetch the files by hand, put them into <folder>/{dataset}/ (as <folder>/"
            f"{dataset}/{file.name}) and set data.mirror, or the environment variable VQ_MIRROR, to <folder>"
        )
    raise UserError(f"{dataset}: {file.name} could not be fetched ({'; '.join(failures)}); {advice}.")


def masked(text: str) -> str:
    """The text without the user and password that an address in it holds."""
    return re.sub(r"(https?://).*@", r"\1***@", text)


def is_url(mirror: str) -> bool:
    return mirror.startswith(("http://", "https://"))


def _sources(
    file: File, folder: Path, dataset: str, mirror: str | None, quiet: bool
) -> Iterator[tuple[str, int, Download]]:
    """Where the file may come from: an address, how often it is asked again, and what brings the file."""
    if mirror and not is_url(mirror):
        yield str(Path(mirror) / dataset / file.name), 0, partial(_copy, mirror=mirror, dataset=dataset)
    elif mirror or file.urls:
        urls = (f"{mirror.rstrip('/')}/{dataset}/{quote(file.name)}",) if mirror else file.urls
        for url in urls:
            yield url, RETRIES, partial(_by_http, file=file, dataset=dataset, quiet=quiet)
    else:
        client = "gdown" if file.drive else "kaggle"
        yield f"by {client}", 0, partial(_by_client, client=client, file=file, partial_folder=_partial(folder, file))


def _partial(folder: Path, file: File) -> Path:
    """Where gdown and kaggle, which go on with what an earlier call left, keep an unfinished file."""
    return folder / f"{file.name}.partial"


def _copy(address: str, output: str, _: object, mirror: str, dataset: str) -> None:
    if not Path(mirror).is_dir():
        raise UserError(f"the mirror {masked(mirror)} is not there; expected a folder that holds {dataset}/.")
    if not Path(address).is_file():
        raise UserError(f"the mirror {mirror} does not hold {Path(address).relative_to(mirror)}.")
    files.check_space(Path(output).parent, Path(address).stat().st_size, dataset)
    shutil.copyfile(address, output)


def _by_http(url: str, output: str, _: object, file: File, dataset: str, quiet: bool) -> None:
    """pooch's own HTTPDownloader takes a body without end and unpacks a .gz that a server calls an encoding."""
    with requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as response:
        if not response.ok:
            again = response.status_code >= 500 or response.status_code == 429
            raise (requests.HTTPError if again else _NoUse)(f"status {response.status_code} {response.reason}")
        length = int(response.headers.get("Content-Length", 0))
        most = 2 * file.size or length or UNSTATED
        files.check_space(Path(output).parent, length, dataset)
        bar = tqdm(desc=file.name, total=length or None, unit="B", unit_scale=True, leave=False, disable=quiet or None)
        with bar, Path(output).open("wb") as write:
            try:
                for piece in response.raw.stream(CHUNK, decode_content=False):
                    if write.tell() + len(piece) > most:
                        raise _NoUse(f"it sends more than {most} bytes")
                    write.write(piece)
                    bar.update(len(piece))
            except urllib3.exceptions.HTTPError as error:
                raise requests.ConnectionError(f"the line was cut after {write.tell()} bytes") from error


def _by_client(_: str, output: str, __: object, client: str, file: File, partial_folder: Path) -> None:
    partial_folder.mkdir(parents=True, exist_ok=True)
    try:
        (_by_gdown if client == "gdown" else _by_kaggle)(file, partial_folder)
    except ImportError as error:
        raise _NoUse(f"the package {client} is not installed: pip install {client}") from error
    except SystemExit as error:
        raise _NoUse("it asks for an account") from error
    except Exception as error:  # whatever a foreign client raises
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise _NoUse(str(error) or type(error).__name__) from error
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
    return text if isinstance(error, _NoUse) else text.rpartition(": ")[2].partition(". ")[0].rstrip("'\")")
