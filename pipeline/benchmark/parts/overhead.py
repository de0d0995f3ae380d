"""What DVC itself takes for the grid of params.yaml: the real stages and dependencies, with idle commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from pipeline.benchmark.scale import Scale
from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths

REAL = "plan"
"""This stage runs as it is, since it writes what the others depend on; its time is taken off."""


def measure(_scale: Scale, _device: torch.device, project: Path = Path()) -> Iterator[dict[str, Any]]:
    """One line: seconds of `dvc repro` for all stages, and of a second one that finds nothing to do.

    Args:
        project: the folder with dvc.yaml, params.yaml and pipeline.

    Raises:
        UserError: DVC is not installed.
    """
    dvc = Path(sys.executable).with_name("dvc")
    if not dvc.is_file():
        raise UserError("DVC is not installed beside Python, so that what it takes cannot be measured.")
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        _copy(project, copy)
        run: dict[str, Any] = {"cwd": copy, "capture_output": True, "check": True, "env": _environment()}
        subprocess.run([dvc, "init", "--no-scm", "--quiet"], **run)
        planning = _seconds([sys.executable, "-m", "pipeline.plan"], run)
        first = _seconds([dvc, "repro"], run)
        again = _seconds([dvc, "repro"], run)
        line = {"stages": _count(copy), "first": first - planning, "again": again}
    cli.log.info("DVC: %.1f s for %d stages, %.1f s for none", line["first"], line["stages"], again)
    yield line


def _copy(project: Path, copy: Path) -> None:
    """The project with idle commands."""
    shutil.copytree(project / "pipeline", copy / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project / "params.yaml", copy)
    Paths(copy).benchmark("").parent.mkdir(parents=True)  # which the report depends on, measured or not
    pipeline = files.read_yaml(project / "dvc.yaml")
    for name, described in pipeline["stages"].items():
        if name != REAL:
            described["cmd"] = idle(described)
    files.write_yaml(copy / "dvc.yaml", pipeline)


def idle(described: dict[str, Any]) -> str:
    """A command that writes a stage's outputs and nothing else."""
    kinds = (described.get(kind, []) for kind in ("outs", "plots", "metrics"))
    paths = [path if isinstance(path, str) else next(iter(path)) for kind in kinds for path in kind]
    folders = dict.fromkeys(str(PurePosixPath(path).parent) for path in paths)
    return f"mkdir -p {' '.join(folders)} && echo {described['cmd']} | tee {' '.join(paths)}"


def _count(copy: Path) -> int:
    return len(files.read_yaml(copy / "dvc.lock")["stages"])


def _seconds(command: list[Any], run: dict[str, Any]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, **run)
    return time.perf_counter() - begin


def _environment() -> dict[str, str]:
    """Stages call `python`: this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
