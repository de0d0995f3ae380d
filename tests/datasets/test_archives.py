"""Archives and folders that somebody else packed: read by name, without trust, refused in one sentence."""

from __future__ import annotations

import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import made_sources
import numpy as np
import pytest

from pipeline.core.errors import UserError
from pipeline.datasets.io import archives
from pipeline.datasets.io.archives import BadFile, Folder, Store, Zip, unpack_tar

RNG = np.random.default_rng(1)
CONTENTS = {"b/2.png": b"two", "a.PNG": b"one", "notes.txt": b"\xef\xbb\xbftext"}


def folder_of(root: Path) -> Store:
    for name, content in CONTENTS.items():
        (root / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "in" / name).write_bytes(content)
    (root / "in" / ".hidden.png").write_bytes(b"")
    return Folder(root / "in", "made")


def zip_of(root: Path) -> Store:
    made_sources.zipped(root / "a.zip", CONTENTS | {"b/": b"", "__MACOSX/b.png": b"", "../climbs.png": b""})
    return Zip(root / "a.zip", "made")


def tar_of(root: Path) -> Store:
    made_sources.tarred(root / "a.tar.gz", CONTENTS)
    return unpack_tar(root / "a.tar.gz", root / "out", "made")


@pytest.mark.parametrize("store_of", [folder_of, zip_of, tar_of])
def test_folder_zip_and_tar_give_the_same_files(store_of: Callable[[Path], Store], tmp_path: Path) -> None:
    store = store_of(tmp_path)
    assert {name: store.read(name) for name in store.names} == CONTENTS
    assert store.below("", (".png",)) == ["a.PNG", "b/2.png"]
    assert store.below("b/", (".png",)) == ["b/2.png"]


def test_text_is_utf8_and_has_to_be_there(tmp_path: Path) -> None:
    store = zip_of(tmp_path)
    assert store.text("notes.txt") == "text"  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"^made: other\.txt in .*a\.zip cannot be read as text: .*no item named"):
        store.text("other.txt")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["../climbs.png", "a/../../b.png"])
def test_names_that_lead_out_of_a_tar_are_refused(name: str, tmp_path: Path) -> None:
    made_sources.tarred(tmp_path / "a.tar.gz", {"good.png": b"", name: b"x"})
    with pytest.raises(UserError, match=r"^made: .*a\.tar\.gz cannot be unpacked .* outside the destination"):
        unpack_tar(tmp_path / "a.tar.gz", tmp_path / "out", "made")
    assert not list(tmp_path.rglob("*climbs.png")) + list(tmp_path.rglob("*b.png"))


@pytest.mark.parametrize("name", ["a\\b.png", "c:/x.png", "\\\\x.png"])
def test_a_backslash_or_colon_is_a_letter_like_others(name: str, tmp_path: Path) -> None:
    made_sources.zipped(tmp_path / "a.zip", {name: b"x"})
    made_sources.tarred(tmp_path / "a.tar", {name: b"x"})
    for store in (Zip(tmp_path / "a.zip", "made"), unpack_tar(tmp_path / "a.tar", tmp_path / "out", "made")):
        assert (store.names, store.read(name)) == ([name], b"x")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (tarfile.SYMTYPE, "holds 'inside', a link; expected files and folders"),
        (tarfile.LNKTYPE, "holds 'inside', a link; expected files and folders"),
        (tarfile.CHRTYPE, r"cannot be unpacked as a whole tar archive \('inside' is a special file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, says: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("inside")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(UserError, match=rf"^made: .*a\.tar {says}"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", "made")


@pytest.mark.parametrize("names", [("x.png", "x.png/y.png"), ("x.png/y.png", "x.png")])
def test_a_tar_with_a_file_beside_a_folder_of_its_name_is_one_sentence(names: tuple[str, str], tmp_path: Path) -> None:
    made_sources.tarred(tmp_path / "a.tar", dict.fromkeys(names, b"x"))
    with pytest.raises(UserError, match=r"^made: .*a\.tar cannot be unpacked as a whole tar archive \(.*x\.png"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", "made")


def test_a_tar_that_unpacks_to_more_than_the_disk_holds_writes_nothing(tmp_path: Path) -> None:
    """A few bytes of archive may declare terabytes: here of a sparse file, whose holes are not stored."""
    with tarfile.open(tmp_path / "a.tar", "w:gz", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("bomb.png")
        member.size, member.type = 512, tarfile.GNUTYPE_SPARSE
        head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
        head[386:410] = b"00000000000\0" + b"00000001000\0"  # 512 bytes at the start, then a hole
        head[483:495] = b"\x80" + (10**18).to_bytes(11, "big")  # the size with the hole
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        archive.fileobj.write(bytes(head) + bytes(512))  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"^made: .* needs 1000000000\.\d GB on the disk, but"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", "made")
    assert not (tmp_path / "out").exists()


def test_archives_cut_short_or_of_other_bytes_are_refused(tmp_path: Path) -> None:
    made_sources.zipped(tmp_path / "a.zip", {"a.png": bytes(5000)})
    made_sources.tarred(tmp_path / "a.tgz", {"a.png": RNG.bytes(5000)})
    for name in ("a.zip", "a.tgz"):
        (tmp_path / f"cut-{name}").write_bytes((tmp_path / name).read_bytes()[:-2500])
        (tmp_path / f"no-{name}").write_bytes(b"<html></html>")
    for name in ("cut-a.zip", "no-a.zip", "missing.zip"):
        with pytest.raises(UserError, match=rf"^made: .*{name} is not a whole zip archive \("):
            Zip(tmp_path / name, "made")
    for name in ("cut-a.tgz", "no-a.tgz", "missing.tgz"):
        with pytest.raises(UserError, match=rf"^made: .*{name} cannot be unpacked as a whole tar archive \("):
            unpack_tar(tmp_path / name, tmp_path / f"out-{name}", "made")


def test_a_zip_whose_name_claims_utf8_wrongly_is_refused(tmp_path: Path) -> None:
    made_sources.zipped(tmp_path / "a.zip", {"é.png": b"x"})
    content = (tmp_path / "a.zip").read_bytes().replace("é".encode(), b"\xff\xfe")
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"^made: .*a\.zip is not a whole zip archive \(.*can't decode"):
        Zip(tmp_path / "a.zip", "made")


def test_damaged_and_far_too_large_members_are_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_sources.zipped(tmp_path / "a.zip", {"a.png": b"A" * 500, "b.png": b"B" * 90})
    content = (tmp_path / "a.zip").read_bytes().replace(b"A" * 500, b"A" * 499 + b"!")
    (tmp_path / "a.zip").write_bytes(content)
    store = Zip(tmp_path / "a.zip", "made")
    with pytest.raises(BadFile, match="cannot be unpacked .*CRC"):
        store.read("a.png")
    assert store.read("b.png") == b"B" * 90
    monkeypatch.setattr(archives, "LARGEST", 80)
    with pytest.raises(BadFile, match="declares 90 bytes, more than 80"):
        store.read("b.png")


def test_an_archive_is_opened_anew_in_another_process(tmp_path: Path) -> None:
    """A forked process shares the place in a file that is open; it must not move it for the other one."""
    store = zip_of(tmp_path)
    assert pickle.loads(pickle.dumps(store)).read("a.PNG") == b"one"  # as it is sent where processes are not forked
    ours = archives._opened(store, os.getpid())  # type: ignore[arg-type]
    child = os.fork()
    if child == 0:
        theirs = store.read("a.PNG") == b"one" and archives._opened(store, os.getpid()) is not ours  # type: ignore[arg-type]
        os._exit(0 if theirs else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert archives._opened(store, os.getpid()) is ours  # type: ignore[arg-type]
