"""Rows as jobs of a SLURM array, by submitit; where there is no SLURM, as processes on this machine.

    cluster.yaml, dvc.yaml → all that `run` makes, and .checkpoints/cluster/   what submitit keeps of a job

A job trains and measures one row. What it leaves is recorded here, by one process, as soon as the job is over. Ctrl-C
cancels all jobs. Where this process goes in another way, with its connection for instance, jobs run on, and the next
call takes them up as long as their rows are what they were.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import submitit
from pydantic import AfterValidator, NonNegativeInt, PositiveInt
from submitit.core.utils import FailedJobError, FailedSubmissionError

from pipeline.core import files
from pipeline.core.errors import UserError, at_place
from pipeline.core.paths import Paths
from pipeline.core.schema import Section, check, read_sections
from pipeline.run.jobs import Jobs, Place
from pipeline.run.row_job import RowJob
from pipeline.run.stages import Stage, Stages, kind_of, row_of
from pipeline.run.view import View

LOOK = 1.0  # seconds between two looks at the jobs
LATE = 120  # seconds until files that another machine wrote are seen here, and until SLURM queues a lost job again
ALIVE = ("PENDING", "REQUEUED", "UNKNOWN", "READY", "RUNNING", "COMPLETING")
RAISE = {"TIMEOUT": "minutes", "OUT_OF_MEMORY": "memory"}
"""SLURM's state of a job that it ended → the key of cluster.yaml to raise."""


def _one_line(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("be a text of one line")
    return text


def _options(named: dict[str, str | int]) -> dict[str, str | int]:
    if not all(re.fullmatch("[a-z-]+", name) for name in named):
        raise ValueError("name options as sbatch's manual, without --")
    return named


Line = Annotated[str, AfterValidator(_one_line)]
"""What may become a line of a script: submitit quotes it."""


class Settings(Section):
    """cluster.yaml."""

    partition: Line | None
    minutes: PositiveInt
    requeue: NonNegativeInt
    memory: PositiveInt
    gpus: NonNegativeInt
    cpus: PositiveInt
    at_once: PositiveInt
    sbatch: Annotated[dict[str, Line | int], AfterValidator(_options)]


def read_settings(path: Path) -> Settings:
    """
    Raises:
        UserError: the first thing that is wrong with the file.
    """
    content = read_sections(path, Settings.model_fields)
    with at_place(path):
        return check(Settings, content, path.name)


class SlurmExecutor(submitit.SlurmExecutor):
    """Also there where SLURM is not, to show its script."""

    @classmethod
    def affinity(cls) -> int:
        return 1


def slurm_executor(settings: Settings, folder: Path) -> SlurmExecutor:
    executor = SlurmExecutor(folder, max_num_timeout=settings.requeue)
    executor.update_parameters(
        job_name="vqcheck",
        partition=settings.partition,
        time=settings.minutes,
        mem=f"{settings.memory}GB",
        gpus_per_node=settings.gpus or None,
        cpus_per_task=settings.cpus,
        array_parallelism=settings.at_once,
        wckey=None,
        stderr_to_stdout=True,
        additional_parameters=settings.sbatch,
    )
    return executor


def local_executor(settings: Settings, folder: Path) -> submitit.LocalExecutor:
    executor = submitit.LocalExecutor(folder, max_num_timeout=settings.requeue)
    executor.update_parameters(timeout_min=settings.minutes, gpus_per_node=settings.gpus, stderr_to_stdout=True)
    return executor


def script(rows: int, settings: Settings, paths: Paths) -> str:
    """What sbatch is given for so many rows."""
    executor = slurm_executor(settings, cluster_folder(paths))
    if rows > 1:
        executor.parameters["map_count"] = rows
    return executor._make_submission_file_text(executor._submitit_command_str, "")


def cluster_folder(paths: Paths) -> Path:
    return paths.checkpoints.absolute() / "cluster"


def dry_run(stages: Stages, settings: Settings, paths: Paths) -> None:
    """Print the commands of all rows that are out of date, or need what is, and what sbatch would be given."""
    stale: set[Stage] = set()
    with stages.locked():
        for stage in stages.order:
            if stage.changed() or not stale.isdisjoint(stages.graph.successors(stage)):
                stale.add(stage)
    commands: dict[str, list[str]] = {}
    for stage in stages.rows:
        if stage in stale:
            commands.setdefault(row_of(stage), []).append(stage.cmd)
    print(f"# {len(commands)} rows to run, where the cache has none of them")
    for row in commands.values():
        print("#", " && ".join(row))
    if commands:
        print(script(len(commands), settings, paths))


@dataclass
class RowOnCluster:
    """A row that waits, runs or has ended, with what `View` asks of a job.

    Attributes:
        stages: those that its job runs, one after the other.
        identity: of what its numbers rest on.
        job: submitit's; None: not submitted yet.
        started: when it was first seen running.
        lost: since when there is neither a result nor a job that may still give one.
    """

    stages: list[Stage]
    identity: str
    job: submitit.Job[str] | None = None
    started: float | None = None
    lost: float | None = None

    @property
    def stage(self) -> Stage:
        return self.stages[0]

    @property
    def work(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self.started if self.started else 0.0


class Cluster(Jobs):
    """Rows that are out of date, each as a job."""

    def __init__(self, stages: Stages, settings: Settings, paths: Paths) -> None:
        super().__init__(stages, [Place({})] * settings.at_once, paths)
        self.settings, self.folder = settings, cluster_folder(paths)
        self.slurm = shutil.which("sbatch") is not None
        self.earlier = self._read_jobs()
        if not self.earlier:
            files.remove(self.folder)
        self.executor = (slurm_executor if self.slurm else local_executor)(settings, self.folder)
        self.running: list[RowOnCluster] = []  # type: ignore[assignment]

    def _advance(self, view: View) -> None:
        """Record the jobs that are over. At first, find the rows that need one; submit them."""
        over = [row for row in self.running if row.job and self._is_over(row, row.job)]
        if self.running and not over:
            time.sleep(LOOK)
            return
        with self.stages.locked():
            for row in over:
                self._finish_row(row)
            while not self.stages.stopped and (self.stages.sort_out() or self.stages.ready):
                if self.stages.ready:
                    self._take(self.stages.ready.pop(0))
                view.show()
        for row_name in list(self.earlier):  # needs no job any more
            self._cancel(self._job(self.earlier.pop(row_name)["job"]))
        if not self.stages.stopped:
            self._submit()

    def _kill(self) -> None:
        for row in self.running:
            if row.job:
                self._cancel(row.job)
        self.running.clear()
        self._write_jobs()

    def _take(self, stage: Stage) -> None:
        """Take a stage from the cache, or its row from a job of an earlier call, or else let the row be submitted."""
        name = row_of(stage)
        later = [other for other in self.stages.waiting if row_of(other) == name]
        with self.stages.failing(stage):
            row = RowOnCluster([stage, *later], self._identity(name))
            if earlier := self.earlier.pop(name, None):
                job = self._job(earlier["job"])
                if earlier == described(row, job):
                    row.job = job
                else:
                    self._cancel(job)
            if row.job or not self.stages.restore(stage):
                self.running.append(row)
                for other in later:
                    self.stages.waiting.remove(other)

    def _submit(self) -> None:
        """Submit all rows as one array; to this machine, as many as may run at once.

        Raises:
            UserError: sbatch refuses them.
        """
        waiting = [row for row in self.running if not row.job]
        submitted = len(self.running) - len(waiting)
        rows = waiting if self.slurm else waiting[: max(0, self.settings.at_once - submitted)]
        if not rows:
            return
        for row in rows:
            files.remove(self.log(row.stage))
        root, cpus = self.paths.root.absolute(), self.settings.cpus
        work = [RowJob(root, [stage.cmd for stage in row.stages], self.log(row.stage), cpus) for row in rows]
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C comes to this process alone, and afterwards
        try:
            for row, job in zip(rows, self.executor.submit_array(work), strict=True):
                row.job = job
            self._write_jobs()
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(f"sbatch says: {str(error).strip().splitlines()[-1]}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _is_over(self, row: RowOnCluster, job: submitit.Job[str]) -> bool:
        """Whether nothing more comes from a job; what it has left may take a while to be seen on a shared disk."""
        state, now = self._state(job), time.monotonic()
        if state == "RUNNING":
            row.started = row.started or now
        if job.paths.result_pickle.exists() and (self._reason(job) or all(map(has_outputs, row.stages))):
            return True
        if state in ALIVE:
            row.lost = None
            return False
        row.lost = row.lost or now
        return now - row.lost > (LATE if self.slurm else 0)

    def _finish_row(self, row: RowOnCluster) -> None:
        assert row.job is not None
        self.running.remove(row)
        reason = self._reason(row.job)
        done = self._last_started(row) if reason else len(row.stages)
        if self._identity(row_of(row.stage)) != row.identity:
            done, reason = 0, "its settings or data changed while it ran"
        for stage in row.stages[:done]:
            with self.stages.failing(stage):
                self.stages.record(stage)
        if reason:
            self.stages.failed[row.stages[done]] = reason
            self.stages.skipped.update(row.stages[done + 1 :])
        else:
            self.work.setdefault(kind_of(row.stage), []).append(row.work)
        if not row.job.paths.result_pickle.exists():
            self._cancel(row.job)
        for path in (row.job.paths.submitted_pickle, row.job.paths.result_pickle):
            files.remove(path)  # the number of a process may come again
        self._write_jobs()

    def _last_started(self, row: RowOnCluster) -> int:
        """Which of its stages a job was at when it ended: those before have left what they should."""
        log = self.log(row.stage)
        text = log.read_text(errors="replace") if log.is_file() else ""
        return max((number for number, stage in enumerate(row.stages) if f"$ {stage.cmd}\n" in text), default=0)

    def _identity(self, row: str) -> str:
        """Of the settings and data that a row's numbers rest on; its settings hold the digests of the code."""
        about = self.paths.prepared(row.partition("-")[0]) / "about.yaml"
        read = (self.paths.row_settings(row), self.paths.evaluate_settings, about)
        return hashlib.sha256(b"".join(path.read_bytes() for path in read)).hexdigest()

    def _job(self, number: str) -> submitit.Job[str]:
        kind = submitit.SlurmJob if self.slurm else submitit.LocalJob
        return kind(self.folder, number)

    def _state(self, job: submitit.Job[str]) -> str:
        """SLURM's word for it; RUNNING, or nothing, for a process of this machine."""
        if not self.slurm:
            return "RUNNING" if processes_of(job) else ""
        job.done()  # looks into the folder anew, and asks SLURM now and then
        return job.state.split()[0].upper()  # without the "by 1000" after CANCELLED

    def _reason(self, job: submitit.Job[str]) -> str:
        """Why a job that is over has failed; empty where it has not."""
        if job.paths.result_pickle.exists():
            return f"see {job.paths.stdout}" if job.exception() else job.result()
        if not self.slurm:
            return "its process was ended from outside"
        state = self._state(job)
        return f"SLURM ended it: {state}" + (f"; raise {RAISE[state]} in cluster.yaml" if state in RAISE else "")

    def _cancel(self, job: submitit.Job[str]) -> None:
        if self.slurm:
            job.cancel(check=False)
            return
        processes = processes_of(job)
        for process in processes:  # the one that starts others first
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)

    def _write_jobs(self) -> None:
        """Note what was submitted, in case that this process dies."""
        rows = {row_of(row.stage): described(row, row.job) for row in self.running if row.job}
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_json(self.folder / "jobs.json", {"slurm": self.slurm, "rows": rows})

    def _read_jobs(self) -> dict[str, dict[str, Any]]:
        """What an earlier call submitted and has not seen the end of: row → as `described`.

        Raises:
            UserError: to a cluster that is not here.
        """
        path = self.folder / "jobs.json"
        if not path.is_file():
            return {}
        noted = files.read_json(path)
        if noted["rows"] and noted["slurm"] and not self.slurm:
            raise UserError(
                f"{path} names jobs of SLURM, but there is no sbatch here; go on where there is, or remove the file."
            )
        return dict(noted["rows"]) if noted["slurm"] == self.slurm else {}


def described(row: RowOnCluster, job: submitit.Job[str]) -> dict[str, Any]:
    return {"job": job.job_id, "identity": row.identity, "stages": [stage.name for stage in row.stages]}


def has_outputs(stage: Stage) -> bool:
    return all(Path(out.fs_path).exists() for out in stage.outs)


def processes_of(job: submitit.Job[str]) -> list[psutil.Process]:
    """Of a job on this machine; none where it has ended, even if another process has got its number."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(job.job_id))
        if "submitit.local._local" in process.cmdline():
            return [process, *process.children(recursive=True)]
    return []
