"""Rows on a cluster: what sbatch is given, what a job does, and that a call goes on with what another one began."""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import made_slurm
import psutil
import pytest
import submitit
from conftest import ROOT
from project import DVC, WAITS, change, make_project, quantizer_that, ran, shell, start

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.run import cluster
from pipeline.run.row_job import RowJob, failure

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
    assert failure(-signal.SIGKILL, "half a li") == "it was killed, perhaps for want of memory"


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
    ("requeue", "result", "commands"),
    [(1, "", [0, 1, 1]), (0, "it ran out of time once too often; raise minutes or requeue in cluster.yaml", [0, 1])],
)
def test_out_of_time_a_job_is_queued_again_and_goes_on(
    requeue: int, result: str, commands: list[int], tmp_path: Path
) -> None:
    job = job_of(tmp_path, "print(7)", BEGINS_AND_WAITS, requeue=requeue)
    while not (tmp_path / "begun").exists():
        time.sleep(0.1)
    (task,) = psutil.Process(int(job.job_id)).children()
    task.send_signal(signal.SIGUSR2)  # as SLURM does, some time before it ends a job
    assert job.result() == result
    ran = re.findall(r"^\$ python (\d).py", (tmp_path / "row.log").read_text(), re.MULTILINE)
    assert [int(number) for number in ran] == commands


# all of it


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("cluster"))
    change(folder, variants={"mine": {"quantizer": {"name": "mine"}}}, grid={"variants": ["mine", "vq"]})
    quantizer_that(folder, WAITS)
    settings(folder, gpus=0, cpus=1, at_once=2)
    return folder


def log(folder: Path, row: str) -> list[str]:
    """The commands that a row's job ran."""
    return re.findall(
        r"^\$ python -m pipeline.(\w+) ", (folder / f"reports/logs/photos-{row}.log").read_text(), re.MULTILINE
    )


@pytest.mark.slow
def test_a_dry_run_shows_what_would_be_submitted_and_changes_nothing(project: Path) -> None:
    before = shell(project, "git", "status", "--short")
    output = shell(project, *RUN, "--dry-run")
    assert "# python -m pipeline.train photos-mine && python -m pipeline.evaluate photos-mine\n" in output
    assert options(output)["array"] == "0-1%2"
    assert shell(project, "git", "status", "--short") == before


@pytest.mark.slow
def test_a_call_that_was_killed_is_gone_on_with_and_nothing_is_left_for_dvc(project: Path) -> None:
    (project / "wait").touch()
    run = start(project, *RUN)
    while not (waiting := list(project.glob("waits-*"))) or not (project / "reports/runs/photos-vq.json").exists():
        assert run.poll() is None
        time.sleep(0.1)
    run.kill()
    run.wait()
    (project / "wait").unlink()
    assert "2 of 2 rows done\n" in shell(project, *RUN)
    assert [path.name for path in project.glob("waits-*")] == [
        path.name for path in waiting
    ]  # no other process trained
    assert [log(project, row) for row in ("mine", "vq")] == [["train", "evaluate"]] * 2
    assert files.read_json(project / ".checkpoints/cluster/jobs.json")["rows"] == {}
    assert ran(shell(project, *DVC, "repro")) == set()


@pytest.mark.slow
def test_a_call_that_is_stopped_ends_its_jobs(project: Path) -> None:
    for path in project.glob("waits-*"):
        path.unlink()
    change(project, datasets={"photos": {"data": {"train": 32, "val": 16, "test": 16}, "train": {"epochs": 1}}})
    (project / "wait").touch()
    run = start(project, *RUN)
    while not (waiting := list(project.glob("waits-*"))):
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate()
    assert output.endswith("stopped; run the same command again to go on.\n")
    assert not psutil.pid_exists(int(waiting[0].name.removeprefix("waits-")))
    assert files.read_json(project / ".checkpoints/cluster/jobs.json")["rows"] == {}


@pytest.mark.slow
def test_a_row_that_fails_or_is_lost_is_named_and_the_next_call_goes_on(project: Path, tmp_path: Path) -> None:
    variables = made_slurm.install(tmp_path)
    change(project, datasets={"photos": {"data": {"train": 32, "val": 16, "test": 16}, "train": {"epochs": 3}}})
    change(project, grid={"variants": ["mine", "vq"]})
    quantizer_that(project, 'raise RuntimeError("not today")')
    (tmp_path / "lose").write_text("TIMEOUT")
    at_once = "from pipeline.run import __main__, cluster; cluster.LATE = 0; __main__.cli.run(__main__.main)"
    now = [sys.executable, "-c", at_once, *RUN[3:]]
    output = shell(project, *now, status=1, **variables)
    assert "photos-mine failed: RuntimeError: not today\n    python -m pipeline.train photos-mine" in output
    assert "photos-vq failed: SLURM ended it: TIMEOUT; raise minutes in cluster.yaml\n" in output
    assert (tmp_path / "cancelled").read_text() == "1_1\n"
    (tmp_path / "lose").unlink()
    quantizer_that(project, "pass")
    change(project, grid={"variants": ["vq"]})
    assert "1 of 1 rows done\n" in shell(project, *now, **variables)
    assert len(list((tmp_path / "scripts").iterdir())) == 2
    assert log(project, "vq") == ["train", "evaluate"]
    assert ran(shell(project, *DVC, "repro")) == set()
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid account' >&2; exit 1\n")
    change(project, datasets={"photos": {"data": {"train": 32, "val": 16, "test": 16}, "train": {"epochs": 4}}})
    assert shell(project, *RUN, status=1, **variables).endswith("error: sbatch says: sbatch: error: invalid account\n")
