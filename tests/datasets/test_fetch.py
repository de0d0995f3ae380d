"""Fetching: from folders and from servers that cut the line, refuse, lie, never end and send wrong bytes."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from server import Handler, serving

from pipeline import datasets
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.datasets.io import fetch
from pipeline.datasets.io.fetch import File

CONTENT = bytes(range(256)) * 40
NAME = "images.zip"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pooch.core", "urllib3.util.retry"):  # between two attempts
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    monkeypatch.setattr(files, "SPARE", 0)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder laid out as a mirror, with one file."""
    (tmp_path / "mirror" / "made").mkdir(parents=True)
    (tmp_path / "mirror" / "made" / NAME).write_bytes(CONTENT)
    return tmp_path / "mirror"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def file_of(**changes: object) -> File:
    return File(**({"name": NAME, "checksum": md5(CONTENT), "size": len(CONTENT)} | changes))  # type: ignore[arg-type]


def bring(file: File, folder: Path, mirror: str | None) -> bytes:
    """Fetch, look that nothing but the file is left, and give its bytes."""
    fetch.fetch_all([file], folder, "made", mirror)
    assert [path.name for path in folder.iterdir()] == [file.name]
    return (folder / file.name).read_bytes()


def test_from_a_folder_and_from_a_server(mirror: Path, folder: Path, tmp_path: Path) -> None:
    assert bring(file_of(), folder, str(mirror)) == CONTENT
    with serving(mirror) as web:
        assert bring(file_of(), tmp_path / "other", web.url + "/") == CONTENT
        assert web.asked == [f"/made/{NAME}"]


@pytest.mark.parametrize("checksum", [f"sha256:{hashlib.sha256(CONTENT).hexdigest().upper()}", None])
def test_a_checksum_may_be_of_another_kind_or_none(checksum: str | None, mirror: Path, folder: Path) -> None:
    assert bring(file_of(checksum=checksum), folder, str(mirror)) == CONTENT


def test_only_a_file_that_is_not_there_with_its_sum_is_fetched(mirror: Path, folder: Path) -> None:
    with serving(mirror) as web:
        bring(file_of(), folder, web.url)
        bring(file_of(), folder, web.url)
        assert len(web.asked) == 1
        (folder / NAME).write_bytes(b"damaged since")
        assert bring(file_of(), folder, web.url) == CONTENT


def test_what_a_killed_run_left_is_removed(mirror: Path, folder: Path) -> None:
    def killed(*_: object) -> None:
        os._exit(9)

    child = os.fork()
    if child == 0:
        shutil.copyfile = killed  # type: ignore[assignment]  # the temporary file is there by then
        bring(file_of(), folder, str(mirror))
    os.waitpid(child, 0)
    assert [path.name for path in folder.iterdir()] != []
    assert bring(file_of(), folder, str(mirror)) == CONTENT


def test_many_files_in_folders_of_their_own(mirror: Path, folder: Path) -> None:
    listed = []
    for number in range(fetch.MANY + 4):
        path = mirror / "made" / f"{number % 3}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([number]))
        listed.append(File(f"{number % 3}/{number}.png", md5(bytes([number])), 1))
    with serving(mirror) as web:
        fetch.fetch_all(listed, folder, "made", web.url)
    assert {path.stem: path.read_bytes() for path in folder.rglob("*.png")} == {
        str(number): bytes([number]) for number in range(fetch.MANY + 4)
    }
    (mirror / "made" / "1" / "7.png").write_bytes(b"?")
    files.remove(folder / "1")
    with pytest.raises(UserError, match=r"^made: 1/7\.png could not be fetched \(.*1/7\.png: expected md5:\w+ but got"):
        fetch.fetch_all(listed, folder, "made", str(mirror))


@pytest.mark.parametrize("by_web", [False, True])
def test_wrong_bytes_name_file_and_both_sums(mirror: Path, folder: Path, by_web: bool) -> None:
    wrong = CONTENT[:-1] + b"?"
    (mirror / "made" / NAME).write_bytes(wrong)
    with (
        serving(mirror) as web,
        pytest.raises(
            UserError,
            match=rf"^made: images\.zip could not be fetched \(.*made/images\.zip: expected {md5(CONTENT)} but got "
            rf"{md5(wrong)[4:]}\); the mirror should .* needs its checksum in datasets\.made\.data\.checksums\.$",
        ),
    ):
        bring(file_of(), folder, web.url if by_web else str(mirror))
    assert list(folder.iterdir()) == []


def test_a_file_that_a_mirror_does_not_hold_is_named(folder: Path, mirror: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"^made: b\.zip could not be fetched \(.*No such file .*/mirror/made/b\.zip'\); the mirror should hold "
        r"made/b\.zip, ",
    ):
        bring(file_of(name="b.zip"), folder, str(mirror))


def test_no_server_is_one_sentence(folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            UserError, match=rf"^made: images\.zip could not be fetched \({url}.*: .*refused\); the mirror"
        ):
            bring(file_of(), folder, url)


def test_a_host_that_is_not_known_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        UserError, match=r"^made: .*\(http://h\.invalid/made/images\.zip: Failed to resolve 'h\.invalid' "
    ):
        bring(file_of(), folder, "http://h.invalid")


def test_a_line_that_is_cut_is_tried_again(mirror: Path, folder: Path) -> None:
    def answer(handler: Handler, content: bytes) -> None:
        if len(handler.server.asked) > 1:
            handler.whole(content[: 1000 if len(handler.server.asked) == 2 else None], len(content))

    with serving(mirror, answer) as web:
        assert bring(file_of(), folder, web.url) == CONTENT
        assert len(web.asked) == 1 + fetch.RETRIES


def test_a_line_that_is_always_cut_says_where(mirror: Path, folder: Path) -> None:
    with (
        serving(mirror, lambda handler, content: handler.whole(content[:1000], len(content))) as web,
        pytest.raises(UserError, match=r"the line was cut after \d+ bytes"),
    ):
        bring(file_of(checksum=None), folder, web.url)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("status", "times"), [(404, 1), (401, 1), (429, 1 + fetch.RETRIES), (503, 1 + fetch.RETRIES)])
def test_only_a_passing_no_is_asked_again(status: int, times: int, mirror: Path, folder: Path) -> None:
    with serving(mirror, lambda handler, content: handler.send_error(status)) as web:
        with pytest.raises(UserError, match=rf"images\.zip: status {status} [\w ]+\); the mirror should"):
            bring(file_of(), folder, web.url)
        assert len(web.asked) == times


@pytest.mark.parametrize(("asked", "waited"), [("7", [7]), ("100000", [fetch.MOST_WAITING])])
def test_a_server_that_says_when_to_ask_again_is_asked_then(
    asked: str, waited: list[int], mirror: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(sleep=slept.append, time=time.time))

    def answer(handler: Handler, content: bytes) -> None:
        if len(handler.server.asked) > 1:
            handler.whole(content)
        else:
            handler.send_response(429)
            handler.send_header("Retry-After", asked)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    with serving(mirror, answer) as web:
        assert bring(file_of(), folder, web.url) == CONTENT
    assert slept == waited


def test_the_next_address_is_asked_when_one_fails_or_lies(mirror: Path, folder: Path) -> None:
    (mirror / "made" / "bad").write_bytes(CONTENT[::-1])
    with serving(mirror) as web:
        file = file_of(urls=tuple(f"{web.url}/{name}" for name in ("gone", "made/bad", f"made/{NAME}")))
        assert bring(file, folder, None) == CONTENT
        assert list(dict.fromkeys(web.asked)) == ["/gone", "/made/bad", f"/made/{NAME}"]


def test_every_address_that_failed_is_named(mirror: Path, folder: Path) -> None:
    with (
        serving(mirror) as web,
        pytest.raises(UserError, match=r"/a: status 404 .*/b: status 404 .*by hand, put them into <folder>/made/ "),
    ):
        bring(file_of(urls=(f"{web.url}/a", f"{web.url}/b")), folder, None)


@pytest.mark.parametrize("size", [len(CONTENT), 0])
def test_a_body_without_a_length_is_taken_and_has_an_end(
    size: int, mirror: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have twice the bytes that the source states, or UNSTATED where it states none."""
    monkeypatch.setattr(fetch, "UNSTATED", 2 * len(CONTENT))
    monkeypatch.setattr(fetch, "CHUNK", 1 << 10)
    with serving(mirror, lambda handler, content: handler.whole(content, -1)) as web:
        assert bring(file_of(size=size), folder, web.url) == CONTENT

    def without_end(handler: Handler, content: bytes) -> None:
        handler.whole(b"", -1)
        while True:
            handler.wfile.write(content)

    (folder / NAME).unlink()
    with serving(mirror, without_end) as web:
        with pytest.raises(UserError, match=rf"images\.zip: it sends more than {2 * len(CONTENT)} bytes"):
            bring(file_of(size=size), folder, web.url)
        assert len(web.asked) == 1
    assert list(folder.iterdir()) == []


def test_a_gz_that_a_server_calls_an_encoding_stays_one(mirror: Path, folder: Path) -> None:
    with serving(mirror, lambda handler, content: handler.whole(content, Content_Encoding="gzip")) as web:
        assert bring(file_of(), folder, web.url) == CONTENT


@pytest.mark.parametrize("by_web", [False, True])
def test_a_full_disk_is_seen_before_the_start(mirror: Path, folder: Path, by_web: bool) -> None:
    with serving(mirror) as web:
        with pytest.raises(
            UserError, match=r"^made: .*raw needs 1000000000\.0 GB on the disk, but \d+\.\d GB are free"
        ):
            bring(file_of(size=10**18), folder, web.url if by_web else str(mirror))
        assert web.asked == []


# a password in the mirror's address


@pytest.mark.parametrize("login", ["user:secret", "user%40home:%73ecret", "user:se@cret", "token"])
def test_a_password_is_sent_but_never_told(
    login: str, mirror: Path, folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def answer(handler: Handler, content: bytes) -> None:
        asked.append(base64.b64decode(handler.headers["Authorization"].removeprefix("Basic ")).decode())
        handler.send_error(401)

    with (
        serving(mirror, answer) as web,
        caplog.at_level("DEBUG"),
        pytest.raises(UserError, match=rf"^made: .*\({web.url}/made/images\.zip: status 401 Unauth") as raised,
    ):
        bring(file_of(), folder, web.url.replace("http://", f"http://{login}@"))
    assert [sent.rstrip(":") for sent in asked] == [unquote(login)]
    told = str(raised.value) + caplog.text + "".join(capfd.readouterr())
    assert not any(word in told for word in ("user", "cret", "token"))


@pytest.mark.parametrize("mirror", ["http://user:se/cret@host", "http://user:1/cret@host/a", "ftp://user:secret@host"])
def test_a_mirror_whose_password_cannot_be_told_apart_is_refused_without_it(mirror: str, folder: Path) -> None:
    with pytest.raises(UserError, match="^the mirror") as raised:
        bring(file_of(), folder, mirror)
    assert not any(word in str(raised.value) for word in ("user", "cret", "se/", "host/"))


# the settings' checksums


def test_checksums_of_the_settings_take_the_place_of_the_official_ones() -> None:
    names = [file.name for file in datasets.find("mnist").files]
    dataset = datasets.find("mnist")(checksums={names[0]: "sha256:00", names[1]: ""})
    listed = {file.name: (file.checksum, file.size) for file in dataset.files_to_fetch()}
    assert [listed[names[0]], listed[names[1]]] == [("sha256:00", 0), (None, 0)]
    assert listed[names[2]] == ("md5:9fb629c4189551a2d022fa330f9573f3", 1_648_877)
    with pytest.raises(
        UserError, match=r"datasets\.mnist\.data\.checksums: there is no file 'x'; there is train-images"
    ):
        datasets.find("mnist")(checksums={"x": "md5:00"}).files_to_fetch()


def test_the_check_of_a_file_that_can_run_code_stays_on() -> None:
    dataset = datasets.find("cifar10")(checksums={"cifar-10-python.tar.gz": ""})
    with pytest.raises(UserError, match=r"the check of cifar-10-python\.tar\.gz cannot be switched off"):
        dataset.files_to_fetch()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_names_and_sums_are_those_of_torchvision(name: str) -> None:
    """Two tables, written by different people."""
    dataset = datasets.find(name)
    theirs = dataset().reader_class()  # type: ignore[attr-defined]
    resources = [(theirs.filename, theirs.tgz_md5)] if name == "cifar10" else theirs.resources
    assert {file.name: file.checksum for file in dataset.files} == {file: f"md5:{md5}" for file, md5 in resources}
