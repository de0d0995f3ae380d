"""How far the rows are: a bar on a terminal, else a line every half minute."""

from __future__ import annotations

import os
import sys
import time
from statistics import mean
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipeline.core import cli
from pipeline.run.stages import ROW_STAGES, kind_of, row_of

if TYPE_CHECKING:
    from pipeline.run.jobs import Jobs


class View:
    """Shows rows done, running and failed, and the time left."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs, self.stages, self.last_line, self.failures_shown = jobs, jobs.stages, time.monotonic(), 0
        live = sys.stderr.isatty() and not os.environ.get("CI")
        form = "{percentage:3.0f}% {bar:20} {desc}"
        self.bar = tqdm(total=len(self.stages.rows), disable=not live, leave=False, dynamic_ncols=True, bar_format=form)

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        cli.log.info("%s", self.text())

    def show(self) -> None:
        for stage, reason in list(self.stages.failed.items())[self.failures_shown :]:
            self.failures_shown += 1
            with tqdm.external_write_mode(sys.stderr):
                cli.log.info("%s failed: %s", row_of(stage), reason)
        if not self.bar.disable:
            self.bar.n = len(self.stages.done.intersection(self.stages.rows))
            self.bar.set_description_str(self.text())
        elif time.monotonic() - self.last_line >= 30:
            self.last_line = time.monotonic()
            cli.log.info("%s", self.text())

    def text(self) -> str:
        rows = {row_of(stage) for stage in self.stages.rows}
        unfinished = {row_of(stage) for stage in self.stages.rows if stage not in self.stages.done}
        parts = [f"{len(rows) - len(unfinished)} of {len(rows)} rows done"]
        if self.stages.failed:
            parts.append(f"{len(self.stages.failed)} failed")
        if self.jobs.running:
            left = self.seconds_left()
            parts.append(f"about {left / 60:.0f} min left" if left >= 60 else "under 1 min left" if left else "")
            started = [job for job in self.jobs.running if job.started]  # a cluster lets others wait
            if len(started) < len(self.jobs.running):
                parts.append(f"{len(self.jobs.running) - len(started)} queued")
            running = ", ".join(f"{kind_of(job.stage)} {row_of(job.stage)}" for job in started)
            parts.append(f"running: {running}" if running else "")
        return ", ".join(part for part in parts if part)

    def seconds_left(self) -> float:
        """From what each kind of stage took so far, or else the longest one; 0: not known yet.

        The first to end are the short ones, so what runs for longer than the mean already is counted into it.
        """
        took = {kind: list(work) for kind, work in self.jobs.work.items() if kind in ROW_STAGES}
        for job in self.jobs.running:
            known = took.get(kind_of(job.stage), [])
            if known and job.work > mean(known):
                known.append(job.work)
        means = {kind: mean(work) for kind, work in took.items()}
        longest = max(means.values(), default=0.0)
        left = [means.get(kind_of(stage), longest) for stage in [*self.stages.waiting, *self.stages.ready]]
        left += [max(0.0, means.get(kind_of(job.stage), longest) - job.work) for job in self.jobs.running]
        return sum(left) / len(self.jobs.places)
