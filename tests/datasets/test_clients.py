"""Files from hosts with a client of their own: what is asked of the real client, and what is said when it gives none.

The clients' own functions are replaced by doubles with the real signatures: a call that they would not take fails.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import gdown
import pytest

from pipeline import datasets
from pipeline.core.errors import UserError
from pipeline.datasets.io import fetch
from pipeline.datasets.io.fetch import File

CONTENT = b"faces" * 100
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
TERMS = "Accept the terms at https://example.org,"
KAGGLE = "kaggle.api.kaggle_api_extended"


def bring(file: File, folder: Path) -> bytes:
    fetch.fetch_all([file], folder, "made", None, TERMS)
    assert [path.name for path in folder.iterdir()] == [file.name]
    return (folder / file.name).read_bytes()


def test_gdown_brings_and_the_bytes_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(**options: Any) -> None:
        assert (options["id"], options["resume"]) == ("abc", True)
        Path(options["output"]).write_bytes(CONTENT)

    monkeypatch.setattr(gdown, "download", create_autospec(gdown.download, side_effect=download))
    assert bring(File("a.zip", MD5, len(CONTENT), drive="abc"), tmp_path) == CONTENT
    with pytest.raises(UserError, match=r"^made: b\.zip .*\(gdown: expected md5:00 but got \w+\); Accept the terms"):
        bring(File("b.zip", "md5:00", drive="abc"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_what_gdown_began_is_left_for_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gdown itself looks for it: beside its output."""
    outputs = []

    def download(**options: Any) -> None:
        output = Path(options["output"])
        outputs.append(output)
        if len(outputs) == 1:
            output.with_name(f"{output.name}abc.part").write_bytes(CONTENT[:99])
            raise OSError("the line was cut")
        assert output.with_name(f"{output.name}abc.part").read_bytes() == CONTENT[:99]
        output.write_bytes(CONTENT)

    monkeypatch.setattr(gdown, "download", create_autospec(gdown.download, side_effect=download))
    with pytest.raises(UserError, match="gdown: OSError: the line was cut"):
        bring(File("a.zip", MD5, drive="abc"), tmp_path)
    assert bring(File("a.zip", MD5, drive="abc"), tmp_path) == CONTENT
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("name", ["celeba", "ffhq", "diabetic_retinopathy"])
def test_without_the_client_a_sentence_says_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.core.files.check_space", lambda *_: None)  # these are large
    for client in ("gdown", "kaggle", KAGGLE):
        monkeypatch.setitem(sys.modules, client, None)  # an import of it fails
    client = "kaggle" if name == "diabetic_retinopathy" else "gdown"
    with pytest.raises(
        UserError,
        match=rf"^{name}: \S+ could not be fetched \({client}: ModuleNotFoundError: .*{client}.*\); "
        rf".*https://.* put them into <folder>/{name}/ .* set data\.mirror, or .*, to <folder>\.$",
    ):
        datasets.find(name)().download(tmp_path, None)


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (RuntimeError("Too many users\n\thave viewed this file"), "RuntimeError: Too many users have viewed this file"),
        (SystemExit(1), "SystemExit: 1"),
    ],
)
def test_a_client_that_gives_up_is_quoted(
    failure: BaseException, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gdown, "download", create_autospec(gdown.download, side_effect=failure))
    with pytest.raises(UserError, match=rf"^made: a\.zip .*\(gdown: {says}\); Accept the terms"):
        bring(File("a.zip", MD5, drive="abc"), tmp_path)


def test_kaggle_is_asked_for_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no account"))
    from kaggle.api.kaggle_api_extended import KaggleApi

    (tmp_path / "raw").mkdir()

    def download(self: KaggleApi, competition: str, file_name: str, path: str, **options: Any) -> None:
        assert (competition, options["unzip"]) == ("eyes", True)  # out of the zip that Kaggle packs large files into
        (Path(path) / file_name).write_bytes(CONTENT)

    monkeypatch.setattr(KaggleApi, "authenticate", create_autospec(KaggleApi.authenticate))
    double = create_autospec(KaggleApi.competition_download_file, side_effect=download)
    monkeypatch.setattr(KaggleApi, "competition_download_file", double)
    assert bring(File("train.zip.001", MD5, kaggle="eyes"), tmp_path / "raw") == CONTENT


def test_a_mirror_needs_no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    (tmp_path / "mirror" / "made").mkdir(parents=True)
    (tmp_path / "mirror" / "made" / "a.zip").write_bytes(CONTENT)
    (tmp_path / "raw").mkdir()
    fetch.fetch_all([File("a.zip", MD5, drive="abc")], tmp_path / "raw", "made", str(tmp_path / "mirror"), TERMS)
    assert (tmp_path / "raw" / "a.zip").read_bytes() == CONTENT
