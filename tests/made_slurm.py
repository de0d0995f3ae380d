"""A SLURM of this machine: sbatch, srun, sacct and scancel, as far as submitit uses them.

In the folder that $SLURM_HERE names:
    scripts/      what sbatch was given
    states.json   number of a job → state
    lose          a state that the last job of an array gets instead of being run
    cancelled     numbers of jobs
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(os.environ.get("SLURM_HERE", "."))


def install(folder: Path) -> dict[str, str]:
    """Put the commands into a folder; gives the variables of a process that finds them there."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "states.json").write_text("{}")
    for name in ("sbatch", "srun", "sacct", "scancel"):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        (folder / name).chmod(0o755)
    return {"SLURM_HERE": str(folder), "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"}


def sbatch(script: str) -> None:
    text = Path(script).read_text()
    number = 1 + len(list((HERE / "scripts").iterdir()))
    (HERE / f"scripts/{number}.sh").write_text(text)
    states: dict[str, str] = json.loads((HERE / "states.json").read_text())
    array = re.search(r"--array=0-(\d+)", text)
    for task in range(int(array[1]) + 1) if array else [None]:
        job = str(number) if task is None else f"{number}_{task}"
        variables = {"SLURM_JOB_ID": str(number), "SLURM_JOB_NUM_NODES": "1"}
        if task is not None:
            variables |= {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(task)}
        lost = HERE / "lose"
        if lost.is_file() and array and task == int(array[1]):
            states[job] = lost.read_text()
            continue
        states[job] = "RUNNING"
        with Path(os.devnull).open("w") as nothing:
            environment = os.environ | variables
            subprocess.Popen(["bash", script], env=environment, stdout=nothing, stderr=nothing, start_new_session=True)
    (HERE / "states.json").write_text(json.dumps(states))
    print(f"Submitted batch job {number}")


def srun(*words: str) -> None:
    command = words[words.index("--output") + 2 :]  # submitit's last option
    os.execv(command[0], command)


def sacct(*_: str) -> None:
    print("JobID|State|NodeList")
    for job, state in json.loads((HERE / "states.json").read_text()).items():
        print(f"{job}|{state}|here")


def scancel(job: str) -> None:
    with (HERE / "cancelled").open("a") as file:
        file.write(f"{job}\n")


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scancel": scancel}[sys.argv[1]](*sys.argv[2:])
