"""Fetching: from folders and from servers that cut the line, ignore ranges, refuse, lie and send wrong bytes."""

from __future__ import annotations

import hashlib
import itertools
import socket
from pathlib import Path

import pytest
import tenacity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server import Handler, serving

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.datasets.io import fetch
from pipeline.datasets.io.fetch import File

CONTENT = bytes(range(256)) * 40
NAME = "images.zip"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "WAIT", tenacity.wait_none())
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


def wanted(**changes: object) -> File:
    known: dict[str, object] = {"name": NAME, "checksum": md5(CONTENT), "size": len(CONTENT)}
    return File(**(known | changes))  # type: ignore[arg-type]


def bring(file: File, folder: Path, mirror: str | None) -> bytes:
    """Fetch, look that nothing but the file is left, and give its bytes."""
    fetch.fetch_all([file], folder, "made", mirror)
    assert [path.name for path in folder.iterdir()] == [file.name]
    return (folder / file.name).read_bytes()


def test_from_a_folder_and_from_a_server(mirror: Path, folder: Path, tmp_path: Path) -> None:
    assert bring(wanted(), folder, str(mirror)) == CONTENT
    (tmp_path / "other").mkdir()
    with serving(mirror) as web:
        assert bring(wanted(), tmp_path / "other", web.url + "/") == CONTENT
        assert web.asked == [(f"/made/{NAME}", None)]


def test_what_is_there_is_not_fetched_again(mirror: Path, folder: Path) -> None:
    with serving(mirror) as web:
        bring(wanted(), folder, web.url)
        bring(wanted(), folder, web.url)
        assert len(web.asked) == 1


@pytest.mark.parametrize("by_web", [False, True])
def test_wrong_bytes_name_file_and_both_sums(mirror: Path, folder: Path, by_web: bool) -> None:
    wrong = CONTENT[:-1] + b"?"
    (mirror / "made" / NAME).write_bytes(wrong)
    with serving(mirror) as web:
        found, expected = md5(wrong)[4:], md5(CONTENT)[4:]
        with pytest.raises(UserError, match=rf"^made: .*images\.zip .*has md5 {found}, expected {expected}"):
            bring(wanted(), folder, web.url if by_web else str(mirror))
    assert list(folder.iterdir()) == []


def test_a_mirror_that_is_not_there_is_named(folder: Path, mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^the mirror .*/nowhere is not there; expected a folder that holds made/images"
    ):
        bring(wanted(), folder, str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"^the mirror .* does not hold made/b\.zip\.$"):
        bring(wanted(name="b.zip"), folder, str(mirror))


def test_no_server_is_one_sentence(folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            UserError, match=rf"^made: images\.zip could not be fetched \({url}.*: connection refused\)"
        ):
            bring(wanted(), folder, url)


def test_a_line_cut_before_the_first_byte_is_tried_again(mirror: Path, folder: Path) -> None:
    def answer(handler: Handler, content: bytes, start: int) -> None:
        if len(handler.server.asked) > 2:
            handler.rest(content, start)

    with serving(mirror, answer) as web:
        assert bring(wanted(), folder, web.url) == CONTENT
        assert len(web.asked) == 3


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_cut_line_is_gone_on_with(mirror: Path, folder: Path, size: int | None) -> None:
    cuts = itertools.chain([1000, 1000, 4000, 10_000], itertools.repeat(None))
    with serving(mirror, lambda handler, content, start: handler.rest(content, start, next(cuts))) as web:
        assert bring(wanted(size=size), folder, web.url) == CONTENT
        ranges = [asked for _, asked in web.asked]
    assert ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=4000-", "bytes=10000-"]


@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=5))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_the_line_is_cut_the_bytes_are_right(
    cuts: list[int], mirror: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    after = itertools.chain(cuts, itertools.repeat(None))
    with serving(mirror, lambda handler, content, start: handler.rest(content, start, next(after))) as web:
        assert bring(wanted(), tmp_path_factory.mktemp("raw"), web.url) == CONTENT


def test_a_server_that_ignores_ranges_starts_anew(mirror: Path, folder: Path) -> None:
    cuts = iter([500, 9000])

    def answer(handler: Handler, content: bytes, start: int) -> None:
        handler.whole(content[: next(cuts, None)], len(content))

    with serving(mirror, answer) as web:
        assert bring(wanted(), folder, web.url) == CONTENT


def test_a_server_that_answers_another_range_starts_anew(mirror: Path, folder: Path) -> None:
    def answer(handler: Handler, content: bytes, start: int) -> None:
        if start == 0:
            handler.rest(content, 0, until=700 if len(handler.server.asked) == 1 else None)
        else:
            handler.rest(content, start + 5)

    with serving(mirror, answer) as web:
        assert bring(wanted(), folder, web.url) == CONTENT


def test_a_download_goes_on_in_another_process(mirror: Path, folder: Path) -> None:
    (folder / f"{NAME}.partial").write_bytes(CONTENT[:777])
    with serving(mirror) as web:
        assert bring(wanted(), folder, web.url) == CONTENT
        assert web.asked == [(f"/made/{NAME}", "bytes=777-")]


@pytest.mark.parametrize("left", [CONTENT + b"more", CONTENT])
def test_a_left_over_of_full_length_or_more_does_no_harm(left: bytes, mirror: Path, folder: Path) -> None:
    (folder / f"{NAME}.partial").write_bytes(left)
    with serving(mirror) as web:
        assert bring(wanted(), folder, web.url) == CONTENT


def test_a_left_over_of_other_bytes_is_found_out_and_fetched_anew(mirror: Path, folder: Path) -> None:
    (folder / f"{NAME}.partial").write_bytes(b"x" * 777)
    with serving(mirror) as web:
        assert bring(wanted(), folder, web.url) == CONTENT
        assert [asked for _, asked in web.asked] == ["bytes=777-", None]


def test_without_a_checksum_nothing_of_another_run_is_trusted(mirror: Path, folder: Path) -> None:
    (folder / f"{NAME}.partial").write_bytes(b"x" * 777)
    with serving(mirror) as web:
        assert bring(wanted(checksum=None, size=None), folder, web.url) == CONTENT


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_plain_no_is_not_asked_again(status: int, mirror: Path, folder: Path) -> None:
    with serving(mirror, lambda handler, content, start: handler.send_error(status)) as web:
        with pytest.raises(UserError, match=f"status {status} .*; check the mirror"):
            bring(wanted(), folder, web.url)
        assert len(web.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_no_is_asked_again(status: int, mirror: Path, folder: Path) -> None:
    def answer(handler: Handler, content: bytes, start: int) -> None:
        if len(handler.server.asked) < fetch.TRIES:
            handler.send_error(status)
        else:
            handler.rest(content, start)

    with serving(mirror, answer) as web:
        assert bring(wanted(), folder, web.url) == CONTENT


def test_a_lasting_error_ends_after_so_many_tries(mirror: Path, folder: Path) -> None:
    with serving(mirror, lambda handler, content, start: handler.send_error(500)) as web:
        with pytest.raises(UserError, match="status 500"):
            bring(wanted(), folder, web.url)
        assert len(web.asked) == fetch.TRIES


def test_wrong_bytes_from_one_address_are_fetched_from_the_next(mirror: Path, folder: Path) -> None:
    (mirror / "made" / "bad").write_bytes(CONTENT[::-1])
    with serving(mirror) as web:
        file = wanted(urls=(f"{web.url}/made/bad", f"{web.url}/made/{NAME}"))
        assert bring(file, folder, None) == CONTENT


@pytest.mark.parametrize("claimed", [len(CONTENT) + 10, len(CONTENT) - 10])
def test_a_server_that_lies_about_the_length_is_found_out(claimed: int, mirror: Path, folder: Path) -> None:
    """Without a stated size: one longer seems a cut line, for ever; of one shorter the file lacks its end."""
    with serving(mirror, lambda handler, content, start: handler.whole(content, claimed)) as web:
        with pytest.raises(UserError, match=f"has {claimed} bytes, expected {len(CONTENT)}"):
            bring(wanted(), folder, web.url)
        with pytest.raises(UserError, match=r"the line was cut|has md5"):
            bring(wanted(size=None), folder, web.url)
    assert not (folder / NAME).exists()


def test_more_bytes_than_stated_are_not_taken(mirror: Path, folder: Path) -> None:
    (mirror / "made" / NAME).write_bytes(CONTENT * 300)
    with serving(mirror) as web, pytest.raises(UserError, match=rf"has \d+ bytes, expected {len(CONTENT)}"):
        bring(wanted(), folder, web.url)
    assert list(folder.iterdir()) == []


def test_a_page_in_the_place_of_the_file_is_found_out(mirror: Path, folder: Path) -> None:
    page = b"<html>Please sign in.</html>"
    with serving(mirror, lambda handler, content, start: handler.whole(page)) as web:
        with pytest.raises(UserError, match=f"has {len(page)} bytes, expected {len(CONTENT)}"):
            bring(wanted(), folder, web.url)
        with pytest.raises(UserError, match=r"has md5 \w+, expected \w+"):
            bring(wanted(size=None), folder, web.url)


def test_the_next_address_is_asked_when_one_fails(mirror: Path, folder: Path) -> None:
    with serving(mirror) as web:
        file = wanted(urls=(f"{web.url}/gone/{NAME}", f"{web.url}/made/{NAME}"))
        assert bring(file, folder, None) == CONTENT
        assert [path for path, _ in web.asked] == [f"/gone/{NAME}", f"/made/{NAME}"]


def test_every_address_that_failed_is_named(mirror: Path, folder: Path) -> None:
    with serving(mirror) as web:
        file = wanted(urls=(f"{web.url}/a", f"{web.url}/b"))
        with pytest.raises(
            UserError, match=r"/a: status 404 .*/b: status 404 .*by hand, put them into <folder>/made/ "
        ):
            bring(file, folder, None)


@pytest.mark.parametrize("by_web", [False, True])
def test_a_full_disk_is_seen_before_the_start(mirror: Path, folder: Path, by_web: bool) -> None:
    with serving(mirror) as web:
        huge = wanted(size=10**18)
        with pytest.raises(
            UserError, match=r"^made: .*raw needs 1000000000\.0 GB on the disk, but \d+\.\d GB are free"
        ):
            bring(huge, folder, web.url if by_web else str(mirror))
        assert web.asked == []


def test_a_full_disk_is_seen_from_the_servers_length(mirror: Path, folder: Path) -> None:
    with serving(mirror, lambda handler, content, start: handler.whole(content, 10**18)) as web:
        with pytest.raises(UserError, match="on the disk"):
            bring(wanted(size=None), folder, web.url)
        assert list(folder.iterdir()) == []


def test_a_checksum_of_no_known_kind_is_named(mirror: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"the checksum of images\.zip must be <kind>:<digits>, found 'abc'"):
        bring(wanted(checksum="abc"), folder, str(mirror))


def test_the_log_tells_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = iter([0.0, 10.0, 31.0, 40.0])
    monkeypatch.setattr("pipeline.datasets.io.fetch.time.monotonic", lambda: next(clock))
    with caplog.at_level("INFO", logger="pipeline"):
        lines = fetch._Lines(NAME, 200_000_000, 38_000_000)
        for _ in range(3):
            lines.update(31_000_000)
    assert caplog.messages == [f"{NAME}: 100 of 200 MB, 2.0 MB/s, 50 s left"]
