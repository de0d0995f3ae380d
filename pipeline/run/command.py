"""A stage's command in a process of its own, which begins with all that `warm` has imported."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shlex
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from pipeline.core import cli


def start(command: str, folder: Path, environment: dict[str, str], log: Path) -> BaseProcess:
    """Start a command as dvc.yaml states it, in a session of its own.

    Args:
        folder: where it runs.
        environment: what it has besides this process's own.
        log: what it prints is written at its end.
    """
    context = multiprocessing.get_context("forkserver")
    if sys.platform == "linux":  # elsewhere a process must not be forked once torch is loaded
        context.set_forkserver_preload(["pipeline.run.warm"])
    process = context.Process(target=_run, args=(shlex.split(command), folder, environment, log))
    process.start()
    return process


def _run(words: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
    cli.die_with_parent()
    os.setsid()  # so that a signal reaches the processes of seeds too
    with open(os.devnull) as nothing, log.open("ab") as end:
        for stream, file in enumerate((nothing, end, end)):
            os.dup2(file.fileno(), stream)
    os.chdir(folder)
    os.environ |= environment
    match words:
        case ["python", "-m", module, *arguments]:
            if torch := sys.modules.get("torch"):
                torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # which it read when it was imported
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case _:
            os.execvp(words[0], words)


def failure(status: int, output: str) -> str:
    """Why a command failed, in a sentence: the last line that it printed."""
    if status == -signal.SIGKILL:
        return f"it was killed, perhaps for want of memory: {cli.LESS_MEMORY}"
    lines = output.strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else f"exit status {status}"
