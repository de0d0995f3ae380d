"""What DVC knows of the stages: which are out of date, and how to record that one has run.

`dvc repro` runs one stage after the other, and each writes dvc.lock anew. Here the same steps are taken one by one, so
that commands can run side by side in between, and dvc.lock is written once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.rwlock import rwlock
from dvc.stage.cache import RunCacheNotFoundError

from pipeline.core import cli, files
from pipeline.core.paths import Paths

ROW_STAGES = ("train", "evaluate")
Stage = Any
"""DVC's, which has no types: `name`, `cmd`, and what is called below."""


def row_of(stage: Stage) -> str:
    """train_sweep@photos-vq → photos-vq; the data set, or the stage itself, where it belongs to no row."""
    return str(stage.name.rpartition("@")[2])


def kind_of(stage: Stage) -> str:
    """train_sweep@photos-vq → train"""
    return str(stage.name.partition("@")[0].removesuffix("_sweep"))


class Stages:
    """All stages up to the rows' last ones, each of them in one of these collections, or with a job.

    Attributes:
        rows: the stages of rows, in DVC's order.
        waiting: they need others, of which not all are done.
        ready: out of date, and what they need is there.
        done: up to date.
        failed: stage → why.
        skipped: they need one that failed.
        recorded: those among `done` that dvc.lock does not know yet.
        stopped: set from outside, for good: nothing is waited for any more.
    """

    def __init__(self, paths: Paths) -> None:
        self.stopped = False
        self.repo = Repo(str(paths.root))
        self.cache = Path(self.repo.cache.local.path)
        files.check_writable(self.cache)
        with self.locked():
            self._remove_damaged()
            self.graph = get_active_graph(self.repo.index.graph)
            self.order: list[Stage] = plan_repro(self.graph, self.repo.stage.collect("dvc.yaml"))
        self.rows = [stage for stage in self.order if kind_of(stage) in ROW_STAGES]
        needed = set(plan_repro(self.graph, self.rows))
        self.waiting = [stage for stage in self.order if stage in needed]
        self.ready: list[Stage] = []
        self.done: set[Stage] = set()
        self.failed: dict[Stage, str] = {}
        self.skipped: set[Stage] = set()
        self.recorded: set[Stage] = set()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold DVC's lock, which everything below needs; wait while another command of DVC has it.

        Raises:
            KeyboardInterrupt: stopped while waiting.
        """
        while True:
            try:
                self.repo.lock.lock()
                break
            except LockError:
                if self.stopped:
                    raise KeyboardInterrupt from None
                cli.log.info("waiting for another DVC command in this folder")
        try:
            yield
        finally:
            self.repo.lock.unlock()

    def _remove_damaged(self) -> None:
        """Remove what a killed command of DVC or a full disk cut short, or git left with the marks of a merge."""
        lock, busy = Path(self.repo.root_dir, "dvc.lock"), Path(self.repo.tmp_dir, "rwlock")
        try:
            if lock.exists():
                Lockfile(self.repo, str(lock)).load()
        except DvcException:
            lock.unlink()
            cli.log.warning("dvc.lock is damaged and removed; what it recorded comes from the cache, or runs again.")
        try:
            json.loads(busy.read_bytes() if busy.exists() else "{}")
        except ValueError:
            busy.unlink()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep DVC's commands from everything in this folder.

        Raises:
            DvcException: one of them works on a part of it; the message says which.
        """
        root, hard = [self.repo.root_dir], self.repo.config["core"].get("hardlink_lock", False)
        with (
            files.naming(Path(self.repo.tmp_dir, "rwlock")),
            rwlock(self.repo.tmp_dir, self.repo.fs, " ".join(sys.argv), read=[], write=root, hardlink=hard),
        ):
            yield

    def sort_out(self) -> bool:
        """Move a stage that waits for no other any more out of `waiting`; False where there is none."""
        over = self.done | self.skipped | self.failed.keys()
        for stage in self.waiting:
            needs = set(self.graph.successors(stage))
            if needs <= over:
                self.waiting.remove(stage)
                with self.failing(stage):
                    if needs - self.done:
                        self.skipped.add(stage)
                    elif stage.changed():
                        self.ready.append(stage)
                    else:
                        self.done.add(stage)
                return True
        return False

    def restore(self, stage: Stage) -> bool:
        """Take the stage's outputs from the cache, if it ran like this before; else it has none any more, as in DVC."""
        stage.remove_outs()
        try:
            self.repo.stage_cache.restore(stage)
        except RunCacheNotFoundError:
            return False
        self.record(stage)
        return True

    def record(self, stage: Stage) -> None:
        """Put what the stage has left into DVC's cache: even if nothing is written any more, it need not run again."""
        with files.naming(self.cache):
            stage.save()
            stage.commit()
        self.recorded.add(stage)
        self.done.add(stage)

    def write(self) -> None:
        """Write dvc.lock, in DVC's order."""
        stages = [stage for stage in self.order if stage in self.recorded]
        if not stages:
            return
        with files.naming(Path("dvc.lock")):
            stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
        self.recorded.clear()

    @contextmanager
    def failing(self, stage: Stage) -> Iterator[None]:
        """What DVC says against a stage fails that stage alone."""
        try:
            yield
        except (DvcException, OSError) as error:
            self.failed[stage] = cli.explain(error) or " ".join(str(error).split())
