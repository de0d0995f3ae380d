"""What a job on a cluster does: the commands of a row's stages. It needs the shared folder, but no DVC."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from submitit.core.utils import DelayedSubmission, UncompletedJobError

from pipeline.run.command import failure

GRACE = 60  # seconds from the signal that ends a command to the one that ends, or queues again, its job


@dataclass
class RowJob:
    """Callable without arguments; submitit pickles it, and again when it queues the job again.

    Attributes:
        root: the project's folder.
        commands: those that are still to be run, one after the other.
        log: what they print.
        threads: that they may use.
    """

    root: Path
    commands: list[str]
    log: Path
    threads: int

    def __call__(self) -> str:
        """Run the commands; gives why one failed, or nothing."""
        try:
            while self.commands:
                if reason := self._run(self.commands[0]):
                    return reason
                del self.commands[0]
        except UncompletedJobError:  # from submitit's handler of signals
            return "it ran out of time once too often; raise minutes or requeue in cluster.yaml"
        except OSError as error:
            return str(error)
        return ""

    def _run(self, command: str) -> str:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            log.write(f"$ {command}\n")
            log.flush()
            start = log.tell()
            status = subprocess.run(
                [sys.executable, *shlex.split(command)[1:]],  # `python` is this one, whatever PATH says
                cwd=self.root,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            ).returncode
        if status in (-signal.SIGTERM, -signal.SIGUSR2):  # the cluster wants its place back, and tells this job next
            time.sleep(GRACE)
        if status:
            return failure(status, self.log.read_bytes()[start:].decode(errors="replace"))
        return ""

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues again when time is over. A training goes on from its last finished epoch."""
        return DelayedSubmission(self)
