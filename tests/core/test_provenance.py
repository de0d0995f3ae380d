"""Where a number came from: which changes make the code another one than its commit's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from pipeline.core import provenance


def test_only_changed_code_is_uncommitted_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for key, value in {"NAME": "n", "EMAIL": "n@example.org"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{key}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{key}", value)
    code = Path("pipeline/benchmark/part.py")
    code.parent.mkdir(parents=True)
    code.write_text("1\n")
    Path("params.yaml").write_text("a: 1\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], check=True)
    assert dirty() is False
    Path("params.yaml").write_text("a: 2\n")  # the row's settings say so
    Path("dvc.lock").write_text("stages\n")  # written by DVC
    assert dirty() is False
    other = Path("pipeline/other.py")
    other.write_text("2\n")
    assert dirty() is True
    other.unlink()
    code.write_text("3\n")
    assert dirty() is True


def test_without_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = provenance.environment(torch.device("cpu"))
    assert (found["commit"], found["dirty"]) == (None, None)


def dirty() -> bool | None:
    found: bool | None = provenance.environment(torch.device("cpu"))["dirty"]
    return found
