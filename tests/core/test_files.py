"""Nothing is half-written under a final name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.errors import UserError


def test_a_failure_leaves_the_old_file_whole_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["numbers.json"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("one", "two"):
        with files.replacing(path) as folder:
            folder.mkdir()
            (folder / name).write_text(name)
    assert os.listdir(path) == ["two"]
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as folder:
        folder.mkdir()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["model"]
    assert os.listdir(path) == ["two"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(OSError, match=r" '/proc/self'$"):
        files.check_writable(Path("/proc/self"))


def test_work_of_one_process_at_a_time_names_that_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0)
    lock = tmp_path / "folder" / "row.lock"
    with (
        files.alone(lock, "a row is being trained"),
        pytest.raises(UserError, match=rf"^a row is being trained by process {os.getpid()}; wait for it or stop it\.$"),
    ):
        owner = files.alone(lock, "a row is being trained")
        owner.__enter__()
    with files.alone(lock, "a row is being trained"):
        pass


def test_checksums_against_coreutils(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 5000)
    for kind in ("md5", "sha256"):
        expected = subprocess.run([f"{kind}sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        assert files.digest(path, kind) == expected
