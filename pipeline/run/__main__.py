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
from pathlib import Path

from dvc.exceptions import DvcException

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.run.jobs import Jobs, Place
from pipeline.run.stages import Stages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, help="cores to use, or GPUs where there are some; by default all")
    parser.add_argument("--cluster", type=Path, metavar="FILE", help="run rows on SLURM, as cluster.yaml says")
    parser.add_argument("--dry-run", action="store_true", help="with --cluster: show what sbatch would be given")
    arguments, paths = parser.parse_args(), Paths()
    if arguments.dry_run and not arguments.cluster:
        parser.error("--dry-run needs --cluster")
    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # no bars of its own; its errors are raised
    files.check_writable(*paths.results, paths.logs)
    try:
        if arguments.dry_run:
            from pipeline.run import cluster  # here, since others need not wait for submitit

            cluster.dry_run(Stages(paths), cluster.read_settings(arguments.cluster), paths)
            return
        with files.alone(paths.checkpoints / "run.lock", "rows are being run in this folder"):
            find_jobs(arguments, paths).run()
    except DvcException as error:
        raise UserError(f"DVC says: {' '.join(str(error).split())}") from None
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # it has said why
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "repro", "--quiet"])


def find_jobs(arguments: argparse.Namespace, paths: Paths) -> Jobs:
    """The jobs that were asked for. A cluster gets rows alone: what they need, and may have to download, is made here.

    Raises:
        UserError: cluster.yaml is not right.
    """
    if not arguments.cluster:
        return Jobs(Stages(paths), places(paths, arguments.jobs), paths)
    from pipeline.run import cluster  # as above

    settings = cluster.read_settings(arguments.cluster)
    before = ["plan", "download", "preprocess"]
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", *before], cwd=paths.root, check=True)
    return cluster.Cluster(Stages(paths), settings, paths)


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
