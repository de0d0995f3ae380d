"""Run the rows that are out of date side by side on all cores or GPUs, then the report: what `make report` does.

DVC says what is out of date, and records what the stages' commands leave as if it had run them, so that `dvc repro`
afterwards finds nothing to do. What comes after the rows is left to `dvc repro`: it takes no time, or must have the
machine to itself.

dvc.yaml, dvc.lock → everything up to reports/runs/<row>.json
                   → reports/logs/<row>.log   what the row's stages print

A row that fails stops no other. Ctrl-C stops all of them, and the same command goes on.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
from itertools import cycle, islice

from dvc.exceptions import DvcException

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.run.jobs import Jobs, Place
from pipeline.run.stages import Stages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, help="cores to use, or GPUs where there are some; by default all")
    jobs, paths = parser.parse_args().jobs, Paths()
    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # no bars of its own; its errors are raised
    files.check_writable(*paths.results, paths.logs)
    try:
        with files.alone(paths.checkpoints / "run.lock", "rows are being run in this folder"):
            Jobs(Stages(paths), places(paths, jobs), paths).run()
    except DvcException as error:
        raise UserError(f"DVC says: {' '.join(str(error).split())}") from None
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "repro", "--quiet"])


def places(paths: Paths, jobs: int | None) -> list[Place]:
    """Where processes compute: on the GPUs that train.device allows, or else on the cores that this process may use.

    Args:
        jobs: how many places there are; by default one per GPU or core.
    """
    device = str((files.read_yaml(paths.params).get("train") or {}).get("device"))
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    default = 1 if device.startswith("cuda:") else len(gpus) or cores
    kinds = [Place({"CUDA_VISIBLE_DEVICES": gpu}) for gpu in gpus] or [Place({})]
    return list(islice(cycle(kinds), max(1, jobs or default)))


def visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them; without importing torch, which takes seconds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        listed = subprocess.run(query, capture_output=True, text=True, check=False)
        visible = ",".join(listed.stdout.split()) if listed.returncode == 0 else ""
    return [gpu for gpu in (visible or "").split(",") if gpu not in ("", "-1")]


if __name__ == "__main__":
    cli.run(main)
