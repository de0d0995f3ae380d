"""Files from hosts with a client of their own: what is said without it, without an account, and for wrong bytes."""

from __future__ import annotations

import hashlib
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import datasets
from pipeline.core.errors import UserError
from pipeline.datasets.io import fetch
from pipeline.datasets.io.fetch import File

CONTENT = b"faces" * 100
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
TERMS = "Accept the terms at https://example.org,"


def gdown(download: Callable[..., Any] | None) -> types.ModuleType | None:
    module = types.ModuleType("gdown")
    module.download = download  # type: ignore[attr-defined]
    return module if download else None


def bring(file: File, folder: Path) -> bytes:
    fetch.fetch_all([file], folder, "made", None, TERMS)
    assert [path.name for path in folder.iterdir()] == [file.name]
    return (folder / file.name).read_bytes()


def test_gdown_brings_and_the_bytes_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(id: str, output: str, quiet: bool, resume: bool) -> None:
        asked.append((id, resume))
        Path(output).write_bytes(CONTENT)

    monkeypatch.setitem(sys.modules, "gdown", gdown(download))
    assert bring(File("a.zip", MD5, len(CONTENT), drive="abc"), tmp_path) == CONTENT
    assert asked == [("abc", True)]
    with pytest.raises(UserError, match=r"^made: b\.zip has md5 \w+, expected 00\.\nAccept the terms"):
        bring(File("b.zip", "md5:00", drive="abc"), tmp_path)


@pytest.mark.parametrize("name", ["celeba", "ffhq", "diabetic_retinopathy"])
def test_without_the_client_two_lines_say_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.core.files.check_space", lambda *_: None)  # these are large
    for client in ("gdown", "kaggle", "kaggle.api.kaggle_api_extended"):
        monkeypatch.setitem(sys.modules, client, None)  # an import of it fails
    with pytest.raises(UserError) as refused:
        datasets.find(name)().download(tmp_path, None)
    first, second = str(refused.value).split("\n")
    client = "kaggle" if name == "diabetic_retinopathy" else "gdown"
    assert first.startswith(f"{name}: ")
    assert first.endswith(f"is fetched by the package {client}, which is not installed: pip install {client}.")
    assert "https://" in second
    assert f"put them into <folder>/{name}/" in second
    assert second.endswith("and set data.mirror, or the environment variable VQ_MIRROR, to <folder>.")


@pytest.mark.parametrize("failure", [RuntimeError("Too many users have viewed this file.\nmore"), SystemExit(1)])
def test_a_client_that_gives_up_is_one_more_line(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(**_: Any) -> None:
        raise failure

    monkeypatch.setitem(sys.modules, "gdown", gdown(download))
    with pytest.raises(
        UserError, match=r"^made: a\.zip was not given to gdown \((Too many users.*|it asks for an account)\)\.\nAccept"
    ):
        bring(File("a.zip", MD5, drive="abc"), tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_kaggle_gives_the_file_or_packs_it_once_more(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KaggleApi:
        def authenticate(self) -> None:
            pass

        def competition_download_file(self, competition: str, name: str, path: str, quiet: bool) -> None:
            assert competition == "eyes"
            if packed:
                with zipfile.ZipFile(Path(path) / f"{name}.zip", "w") as archive:
                    archive.writestr(name, CONTENT)
            else:
                (Path(path) / name).write_bytes(CONTENT)

    module = types.ModuleType("kaggle.api.kaggle_api_extended")
    module.KaggleApi = KaggleApi  # type: ignore[attr-defined]
    for part in ("kaggle", "kaggle.api"):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", module)
    assert bring(File("train.zip.001", MD5, kaggle="eyes"), tmp_path) == CONTENT


def test_a_mirror_needs_no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    (tmp_path / "mirror" / "made").mkdir(parents=True)
    (tmp_path / "mirror" / "made" / "a.zip").write_bytes(CONTENT)
    (tmp_path / "raw").mkdir()
    fetch.fetch_all([File("a.zip", MD5, drive="abc")], tmp_path / "raw", "made", str(tmp_path / "mirror"), TERMS)
    assert (tmp_path / "raw" / "a.zip").read_bytes() == CONTENT
