"""Rows on a cluster: what sbatch is given, what a job does, and that a call goes on with what another one began."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import made_slurm
import psutil
import pytest
import submitit
from conftest import ROOT
from dvc.stage.cache import RunCacheNotFoundError
from project import DVC, WAITS, change, git_status, make_project, quantizer_that, ran, shell, start

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.run import cluster
from pipeline.run.command import failure
from pipeline.run.row_job import RowJob
from pipeline.run.stages import Stages

RUN = [sys.executable, "-m", "pipeline.run", "--cluster", "cluster.yaml"]


# cluster.yaml


def settings(folder: Path, **changed: Any) -> cluster.Settings:
    """The settings of cluster.yaml with some changed."""
    content = {**cluster.read_settings(ROOT / "cluster.yaml").model_dump(), **changed}
    files.write_yaml(folder / "cluster.yaml", content)
    return cluster.read_settings(folder / "cluster.yaml")


def options(script: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([^=\n]+)=(.*)$", script, re.MULTILINE))


def test_every_setting_becomes_an_option_of_sbatch(tmp_path: Path) -> None:
    changed = settings(
        tmp_path,
        partition="long",
        minutes=90,
        memory=32,
        gpus=2,
        cpus=6,
        at_once=3,
        sbatch={"account": "a b", "nice": 5},
    )
    script = cluster.script(25, changed, Paths(tmp_path))
    expected = {
        "partition": "long",
        "time": "90",
        "mem": "32GB",
        "gpus-per-node": "2",
        "cpus-per-task": "6",
        "array": "0-24%3",
        "account": "'a b'",
        "nice": "5",
    }
    assert expected.items() <= options(script).items()
    assert f"{sys.executable} -u -m submitit.core._submit {tmp_path}/.checkpoints/cluster" in script


def test_what_is_not_asked_for_is_left_to_slurm(tmp_path: Path) -> None:
    given = options(cluster.script(1, settings(tmp_path, gpus=0), Paths(tmp_path)))
    assert given.keys().isdisjoint({"partition", "gpus-per-node", "array", "wckey"})


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"minuts": 5}, "minuts is unknown (is 'minutes' meant?); cluster.yaml takes partition, minutes,"),
        ({"minutes": 0}, "minutes is 0, but should be greater than 0."),
        ({"memory": "16GB"}, "memory is '16GB', but should be a valid integer."),
        ({"partition": "gpu\nrm -rf ~"}, r"partition is 'gpu\nrm -rf ~', but should be a text of one line."),
        (
            {"sbatch": {"account": "x\ny"}},
            r"sbatch.account is 'x\ny', but should be a text of one line or a valid integer.",
        ),
        ({"sbatch": {"x\ny": 1}}, r"sbatch is {'x\ny': 1}, but should name options as sbatch's manual, without --."),
        ({"sbatch": None}, "sbatch is None, but should be a section of keys."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(changed: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        settings(tmp_path, **changed)
    assert str(error.value).startswith(f"{tmp_path}/cluster.yaml: {sentence}")
    assert "\n" not in str(error.value)


# a job


def job_of(folder: Path, *scripts: str, requeue: int = 3) -> submitit.Job[str]:
    """A job on this machine that runs scripts of Python, one after the other."""
    executor = submitit.LocalExecutor(folder / "jobs", max_num_timeout=requeue)
    executor.update_parameters(timeout_min=1, stderr_to_stdout=True)
    commands = []
    for number, script in enumerate(scripts):
        (folder / f"{number}.py").write_text(script)
        commands.append(f"python {number}.py")
    return executor.submit(RowJob(folder, commands, folder / "row.log", threads=3))


@pytest.mark.slow
def test_a_job_runs_its_commands_with_its_threads_until_one_fails(tmp_path: Path) -> None:
    job = job_of(tmp_path, "import os; print(os.environ['OMP_NUM_THREADS'])", "exit('error: no')", "print('never')")
    assert job.result() == "no"
    assert (tmp_path / "row.log").read_text() == "$ python 0.py\n3\n$ python 1.py\nerror: no\n"


def test_a_failure_is_the_last_line_or_what_ended_it() -> None:
    assert failure(1, "much\nerror: that is wrong\n") == "that is wrong"
    assert failure(3, "") == "exit status 3"
    assert failure(-signal.SIGKILL, "half a li") == f"it was killed, perhaps for want of memory: {cli.LESS_MEMORY}"


BEGINS_AND_WAITS = """
import pathlib, time
begun = pathlib.Path("begun")
again = begun.exists()
begun.touch()
while not again:
    time.sleep(0.1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requeue", "result", "expected"),
    [(1, "", [0, 1, 1]), (0, "it ran out of time once too often; raise minutes or requeue in cluster.yaml", [0, 1])],
)
def test_out_of_time_a_job_is_queued_again_and_goes_on(
    requeue: int, result: str, expected: list[int], tmp_path: Path
) -> None:
    job = job_of(tmp_path, "print(7)", BEGINS_AND_WAITS, requeue=requeue)
    while not (tmp_path / "begun").exists():
        time.sleep(0.1)
    (task,) = psutil.Process(int(job.job_id)).children()
    task.send_signal(signal.SIGUSR2)  # as SLURM does, some time before it ends a job
    assert job.result() == result
    ran = re.findall(r"^\$ python (\d).py", (tmp_path / "row.log").read_text(), re.MULTILINE)
    assert [int(number) for number in ran] == expected


# several jobs, with stages that DVC does not know


class Stage:
    """As much of DVC's as is asked for: out of date while its output is missing, never in the cache."""

    def __init__(self, name: str, script: str, folder: Path) -> None:
        kind, row = name.split("@")
        self.name, self.addressing, self.cmd, output = (
            name,
            name,
            f"python {kind}-{row}.py",
            folder / f"{kind}-{row}.out",
        )
        (folder / f"{kind}-{row}.py").write_text(f"{script}\nimport pathlib; pathlib.Path({str(output)!r}).touch()\n")
        self.outs, self.dvcfile = [SimpleNamespace(fs_path=str(output))], self

    def changed(self) -> bool:
        return not Path(self.outs[0].fs_path).exists()

    def remove_outs(self) -> None:
        Path(self.outs[0].fs_path).unlink(missing_ok=True)

    def save(self) -> None: ...
    def commit(self) -> None: ...
    def dump_stages(self, stages: list[Stage], update_pipeline: bool) -> None: ...


def no_cache(stage: Stage) -> None:
    raise RunCacheNotFoundError(stage)


def stages_of(folder: Path, **scripts: str) -> Stages:
    """Rows photos-<name> whose trainings run these scripts."""
    needs: dict[Stage, list[Stage]] = {}
    for name, script in scripts.items():
        train, evaluate = Stage(f"train@photos-{name}", script, folder), Stage(f"evaluate@photos-{name}", "", folder)
        needs |= {train: [], evaluate: [train]}
        files.write_text(Paths(folder).row_settings(f"photos-{name}"), "")
    files.write_text(Paths(folder).evaluate_settings, "")
    files.write_text(Paths(folder).prepared("photos") / "about.yaml", "")
    stages = object.__new__(Stages)
    stages.repo = SimpleNamespace(lock=MagicMock(), stage_cache=SimpleNamespace(restore=no_cache))
    stages.alone, stages.cache = nullcontext, folder
    stages.graph = SimpleNamespace(successors=needs.__getitem__)
    stages.order, stages.rows, stages.waiting = list(needs), list(needs), list(needs)
    stages.ready, stages.failed, stages.stopped = [], {}, False
    stages.done, stages.skipped, stages.recorded = set(), set(), set()
    return stages


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Handlers of signals, and what submitit remembers of jobs; nothing waits for a slow disk."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(submitit.SlurmJob, "watcher", type(submitit.SlurmJob.watcher)())
    monkeypatch.setattr(cluster, "LATE", 0)
    monkeypatch.setattr(cluster, "LOOK", 0.05)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def slurm(restored: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in made_slurm.install(tmp_path / "slurm").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "slurm"


def run(folder: Path, stages: Stages) -> None:
    cluster.Cluster(stages, settings(folder, gpus=0, cpus=1, at_once=2), Paths(folder)).run()


def submissions(slurm: Path) -> list[str]:
    """The array of each call of sbatch."""
    return [options(path.read_text()).get("array", "one job") for path in sorted((slurm / "scripts").iterdir())]


@pytest.mark.slow
def test_rows_that_fail_or_are_lost_are_named_and_the_next_call_runs_them_alone(
    slurm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pipeline")
    (slurm / "lose").write_text("TIMEOUT")
    with pytest.raises(UserError, match="stages that failed: 2, and 2 that need them did not run"):
        run(tmp_path, stages_of(tmp_path, good="", bad="exit('error: not today')", lost=""))
    named = f"photos-bad failed: not today\n    python train-photos-bad.py  # {tmp_path}/reports/logs/photos-bad.log"
    assert named in caplog.messages
    assert "photos-lost failed: SLURM ended it: TIMEOUT; raise minutes in cluster.yaml" in caplog.messages
    assert (slurm / "cancelled").read_text() == "1_2\n"
    (slurm / "lose").unlink()
    again = stages_of(tmp_path, good="", bad="", lost="")
    run(tmp_path, again)
    assert again.done == set(again.order)
    assert submissions(slurm) == ["0-2%2", "0-1%2"]


@pytest.mark.slow
def test_a_job_that_slurm_queues_again_is_waited_for(slurm: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(cluster, "LATE", 600)
    (slurm / "lose").write_text("PREEMPTED")
    stages = stages_of(tmp_path, good="", lost="")

    def queue_again() -> None:
        while not (tmp_path / "evaluate-photos-good.out").exists():
            time.sleep(0.1)
        variables = {**os.environ, "SLURM_JOB_ID": "1", "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "1"}
        subprocess.run(["bash", slurm / "scripts/1.sh"], env=variables, check=True)

    thread = threading.Thread(target=queue_again)
    thread.start()
    run(tmp_path, stages)
    thread.join()
    assert stages.done == set(stages.order)


@pytest.mark.slow
def test_what_sbatch_refuses_is_said(slurm: Path, tmp_path: Path) -> None:
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid account' >&2; exit 1\n")
    with pytest.raises(UserError, match=r"^sbatch says: sbatch: error: invalid account$"):
        run(tmp_path, stages_of(tmp_path, good=""))


WAIT = """
import os, pathlib, time
while pathlib.Path("wait").exists():
    pathlib.Path(f"{os.getpid()}.waits").touch()
    time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_row_whose_settings_change_meanwhile_is_not_recorded(restored: None, tmp_path: Path) -> None:
    change_them = f"import pathlib; pathlib.Path({str(Paths(tmp_path).row_settings('photos-a'))!r}).write_text('new')"
    stages = stages_of(tmp_path, a=change_them)
    with pytest.raises(UserError, match="stages that failed: 1, and 1 that"):
        run(tmp_path, stages)
    assert [*stages.failed.values()] == ["its settings or data changed while it ran"]
    assert stages.done == set()


@pytest.mark.slow
def test_ctrl_c_ends_the_jobs_of_this_machine(restored: None, tmp_path: Path) -> None:
    (tmp_path / "wait").touch()
    waiting: list[Path] = []

    def press() -> None:
        while not waiting:
            waiting.extend(tmp_path.glob("*.waits"))
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stages_of(tmp_path, a=WAIT))
    assert not psutil.pid_exists(int(waiting[0].stem))
    assert files.read_json(tmp_path / ".checkpoints/cluster/jobs.json")["rows"] == {}


# all of it


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("cluster"))
    change(folder, variants={"mine": {"quantizer": {"name": "mine"}}}, grid={"variants": ["mine", "vq"]})
    quantizer_that(folder, WAITS)
    settings(folder, gpus=0, cpus=1, at_once=2)
    return folder


def commands(folder: Path, row: str) -> list[str]:
    """What a row's job ran."""
    text = (folder / f"reports/logs/photos-{row}.log").read_text()
    return re.findall(r"^\$ python -m pipeline.(\w+) ", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_a_dry_run_shows_what_would_be_submitted_and_changes_nothing(project: Path) -> None:
    before = git_status(project)
    output = shell(project, *RUN, "--dry-run")
    assert "# python -m pipeline.train photos-mine && python -m pipeline.evaluate photos-mine\n" in output
    assert options(output)["array"] == "0-1%2"
    assert git_status(project) == before


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_a_call_that_was_killed_is_gone_on_with_and_nothing_is_left_for_dvc(project: Path) -> None:
    (project / "wait").touch()
    call = start(project, *RUN)
    while not (waiting := list(project.glob("waits-*"))) or not (project / "reports/runs/photos-vq.json").exists():
        assert call.poll() is None
        time.sleep(0.1)
    call.kill()
    call.wait()
    (project / "wait").unlink()
    assert "2 of 2 rows done\n" in shell(project, *RUN)
    assert list(project.glob("waits-*")) == waiting  # no other process trained
    assert [commands(project, row) for row in ("mine", "vq")] == [["train", "evaluate"]] * 2
    assert files.read_json(project / ".checkpoints/cluster/jobs.json")["rows"] == {}
    assert ran(shell(project, *DVC, "repro")) == set()
