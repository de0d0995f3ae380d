"""Which cores and GPUs rows run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.paths import Paths
from pipeline.run.__main__ import places


@pytest.mark.parametrize(
    ("device", "visible", "jobs", "expected"),
    [
        ("auto", "0,1", None, ["0", "1"]),
        ("cuda", "3,5", 3, ["3", "5", "3"]),
        ("auto", "0,1", 1, ["0"]),
        ("cpu", "0,1", 3, [None, None, None]),
        ("auto", "", 2, [None, None]),
        ("auto", "-1", 2, [None, None]),
        ("cuda:1", "0,1", None, [None]),  # all on that one
    ],
)
def test_a_job_has_a_gpu_or_a_core(
    device: str,
    visible: str,
    jobs: int | None,
    expected: list[str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files.write_yaml(tmp_path / "params.yaml", {"train": {"device": device}})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [place.environment.get("CUDA_VISIBLE_DEVICES") for place in places(Paths(tmp_path), jobs)] == expected
