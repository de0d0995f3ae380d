"""Train and measure the rows of a sweep on a data set: `python -m pipeline.sweeps photos-gamma`.

data/prepared/<dataset>/, reports/settings/sweeps/<dataset>-<sweep>/ → sweeps/results/<dataset>-<sweep>/, laid
                                                            out as the project is: models/, reports/

A row that is finished is kept under .checkpoints, so that after a kill, with one more value, or with earlier values
again, only those rows run that are new.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from pipeline import evaluate, train
from pipeline.core import cli, files, parallel, paths
from pipeline.core.errors import UserError

RESULTS = Path("sweeps/results")
FINISHED = train.UNFINISHED / "sweeps"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweep", help="<dataset>-<sweep>, as photos-gamma")
    name = parser.parse_args().sweep
    settings = paths.SETTINGS / "sweeps" / name
    if "-" not in name or not settings.is_dir():
        raise UserError(f"{settings} is not there; name a sweep of the grid, as <dataset>-<sweep>, after the plan.")
    cli.keep_freed_memory()
    train.UNFINISHED.mkdir(exist_ok=True)
    try:
        with FileLock(train.UNFINISHED / f"sweep-{name}.lock", timeout=2):
            run(name, sorted(settings.glob("*.yaml")))
    except Timeout:
        raise UserError(f"{name} is being run by another process; wait for it or stop it.") from None


def run(name: str, rows: list[Path]) -> None:
    """Finish every row that is not, then put all together; nothing appears under its final name before.

    Args:
        rows: their settings files.

    Raises:
        UserError: a loss is no longer finite, or a process was killed.
    """
    options = files.read_yaml(paths.SETTINGS / "evaluate.yaml")
    finished = []
    for number, path in enumerate(rows, 1):
        settings = files.read_yaml(path)
        done = FINISHED / name / f"{path.stem}-{fingerprint(settings, options)}"
        cli.log.info("%s, row %d of %d: %s", name, number, len(rows), path.stem)
        if not done.is_dir():
            finish(path, settings, options, done)
        finished.append(done)
    with files.replacing(RESULTS / name) as folder:
        for done in finished:
            shutil.copytree(done, folder, dirs_exist_ok=True)


def fingerprint(settings: dict[str, Any], options: dict[str, Any]) -> str:
    """Names what a row's numbers depend on: settings and code of its training and measuring, and the data."""
    about = (train.PREPARED / settings["dataset"] / "about.yaml").read_text(encoding="utf-8")
    text = json.dumps([settings, options], sort_keys=True) + about
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def finish(path: Path, settings: dict[str, Any], options: dict[str, Any], done: Path) -> None:
    """Train and measure one row, and move what `train` and `evaluate` leave for it to `done`."""
    row = path.stem
    measured = (evaluate.RUNS / f"{row}{end}" for end in (".json", ".npz"))
    left = [train.MODELS / row, train.HISTORY / f"{row}.csv", *measured]
    try:
        apart(train.train_row, row, settings)
        apart(evaluate.evaluate_row, row, settings, options)
        with files.replacing(done) as folder:
            for one in left:
                (folder / one).parent.mkdir(parents=True, exist_ok=True)
                os.replace(one, folder / one)
            (folder / paths.SETTINGS).mkdir()
            shutil.copyfile(path, folder / paths.SETTINGS / path.name)
    finally:
        for one in left:  # among the grid's rows nothing of a sweep's may stay
            files.remove(one)


def apart(work: Callable[..., None], *arguments: Any) -> None:
    """Do `work` in a process of its own, which forks from one that has not computed anything.

    The seeds of a row are forked in their turn, and a process whose threads have once computed must not be forked:
    its child would wait for threads that it does not have.

    Raises:
        UserError: the process was killed.
        whatever `work` raises.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    # as for seeds: with a part of the threads, here all of them, and gone when the process that started it is
    with ProcessPoolExecutor(1, context, parallel._begin, (torch.get_num_threads(),)) as pool:
        try:
            pool.submit(work, *arguments).result()
        except BrokenProcessPool:
            raise UserError(
                "the process of a row was killed, perhaps for want of memory; run the same command again to go on."
            ) from None
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.terminate()  # else leaving the pool waits for the row's end
            raise


if __name__ == "__main__":
    cli.run(main)
