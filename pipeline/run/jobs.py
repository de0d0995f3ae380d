"""Running the stages' commands side by side."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.run import command
from pipeline.run.stages import Stage, Stages, kind_of, row_of
from pipeline.run.view import View

PATIENCE = 2  # seconds that processes get to end by themselves


@dataclass(frozen=True)
class Place:
    """A core or a GPU, as the environment of a process that computes there; that of a core is empty."""

    environment: dict[str, str]


@dataclass
class Job:
    """A stage whose command runs.

    Attributes:
        log_start: bytes in the log that others have written.
    """

    stage: Stage
    process: BaseProcess
    places: list[Place]
    log: Path
    log_start: int
    started: float = field(default_factory=time.monotonic)

    @property
    def work(self) -> float:
        """Seconds so far, times the places that it takes."""
        return (time.monotonic() - self.started) * len(self.places)

    def failure(self) -> str:
        """Why it failed, in a sentence."""
        output = self.log.read_bytes()[self.log_start :].decode(errors="replace")
        return command.failure(self.process.exitcode or 0, output)

    def send(self, number: int) -> None:
        """Send a signal to all its processes."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Jobs:
    """The jobs that run at a time, one or several places each.

    Attributes:
        work: kind of stage → what each one that ran took.
    """

    def __init__(self, stages: Stages, places: list[Place], paths: Paths) -> None:
        self.stages, self.places, self.paths = stages, places, paths
        self.free = list(places)
        self.running: list[Job] = []
        self.work: dict[str, list[float]] = {}

    def run(self) -> None:
        """Run everything that is out of date.

        Raises:
            UserError: a stage failed; all that do not need it have run.
            KeyboardInterrupt: SIGINT or SIGTERM came; no process is left.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)  # no exception, which would come in the middle of what DVC writes
        stages = self.stages
        with stages.alone(), View(self) as view:
            try:
                while not stages.stopped and (stages.waiting or stages.ready or self.running):
                    self._advance(view)
                    view.show()
                    time.sleep(0.1)
            finally:
                self._kill()
                with stages.locked():
                    stages.write()
        if stages.stopped:
            raise KeyboardInterrupt
        for stage, reason in stages.failed.items():
            cli.log.info("%s failed: %s\n    %s  # %s", row_of(stage), reason, stage.cmd, self.log(stage))
        if stages.failed:
            also = f", and {len(stages.skipped)} that need them did not run" if stages.skipped else ""
            raise UserError(f"stages that failed: {len(stages.failed)}{also}; run the same command again to go on.")

    def log(self, stage: Stage) -> Path:
        return self.paths.logs / f"{row_of(stage)}.log"

    def _advance(self, view: View) -> None:
        """Record the jobs that have ended, and start new ones."""
        ended = [job for job in self.running if job.process.exitcode is not None]
        if self.running and not ended:
            return
        with self.stages.locked():
            for job in ended:
                self._finish(job)
            while not self.stages.stopped and (self.stages.sort_out() or self._start_next()):
                view.show()

    def _start_next(self) -> bool:
        """Start a stage, or take it from the cache; False where none is ready or all places are taken."""
        ready = self.stages.ready
        if not ready or not self.free:
            return False
        # The longest first; but one of each kind as soon as possible, since the time left is told from it.
        stage = min(ready, key=lambda stage: (kind_of(stage) in self.work, kind_of(stage) == "evaluate"))
        width = self._width(stage)
        if width > len(self.free):
            return False
        ready.remove(stage)
        with self.stages.failing(stage), files.naming(self.log(stage)):
            if not self.stages.restore(stage):
                self._start(stage, width)
        return True

    def _width(self, stage: Stage) -> int:
        """How many places a stage takes: its seeds run side by side where there are fewer stages than cores."""
        if self.places[0].environment or stage not in self.stages.rows:
            return 1
        settings = files.read_yaml(self.paths.row_settings(row_of(stage)))
        threads = int(settings["train"]["threads"])
        share = max(threads, len(self.free) // len(self.stages.ready))
        return min(share, threads * len(settings["seeds"]), len(self.places))

    def _start(self, stage: Stage, width: int) -> None:
        self.paths.logs.mkdir(parents=True, exist_ok=True)
        places = [self.free.pop() for _ in range(width)]
        log = self.log(stage)
        with log.open("a" if kind_of(stage) == "evaluate" else "w") as file:
            file.write(f"$ {stage.cmd}\n")
        log_start = log.stat().st_size
        environment = places[0].environment or {"OMP_NUM_THREADS": str(width)}
        process = command.start(stage.cmd, self.paths.root, environment, log)
        self.running.append(Job(stage, process, places, log, log_start))

    def _finish(self, job: Job) -> None:
        self.running.remove(job)
        self.free += job.places
        if job.process.exitcode:
            self.stages.failed[job.stage] = job.failure()
            return
        self.work.setdefault(kind_of(job.stage), []).append(job.work)
        with self.stages.failing(job.stage):
            self.stages.record(job.stage)

    def _stop(self, *_: object) -> None:
        self.stages.stopped = True

    def _kill(self) -> None:
        for job in self.running:
            job.send(signal.SIGINT)
        for job in self.running:
            job.process.join(PATIENCE)
            job.send(signal.SIGKILL)  # also to those of single seeds
            job.process.join()
