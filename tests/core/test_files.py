"""Nothing is half-written under a final name."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from pipeline.core import files


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


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [(errno.ENOSPC, 1, "error: no space left on the disk while writing big.npy; free some and run again.\n")],
)
def test_a_full_disk_is_one_sentence(number: int, status: int, message: str) -> None:
    code = (
        f"from pipeline.core import cli\ndef main(): raise OSError({number}, 'No space left', 'big.npy')\ncli.run(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, message)


def test_checksums_against_coreutils(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 5000)
    for kind in ("md5", "sha256"):
        expected = subprocess.run([f"{kind}sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        assert files.digest(path, kind) == expected
