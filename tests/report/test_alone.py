"""Two reports of one folder are never written at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.report import __main__ as report


def test_a_second_report_waits_or_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0)
    paths = Paths(tmp_path)
    with (
        files.alone(paths.checkpoints / "report.lock", "the report is being written"),
        pytest.raises(UserError, match=rf"^the report is being written by process {os.getpid()}; wait for it"),
    ):
        report.main(paths)
