"""What all verbs share: a progress bar on a terminal, sober lines in a log."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import ROOT

from pipeline.core import cli

COUNT = "from pipeline.core import cli; print(sum(cli.progress(range(50), 'counting', 50, 'step')))"


def test_a_terminal_gets_a_progress_bar() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", COUNT], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=theirs, check=True
    )
    shown = os.read(ours, 10_000).decode()
    assert "counting:   0%" in shown
    assert "0/50" in shown
    assert done.stdout == b"1225\n"


def test_a_log_gets_a_line_every_half_minute() -> None:
    clock = "import time, logging; from pipeline.core import cli; logging.basicConfig(level=20, format='%(message)s');"
    clock += "now = iter(range(0, 1000, 7)); time.monotonic = lambda: next(now);"
    code = f"{clock} list(cli.progress(range(12), 'counting', 12, 'step'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        "counting: 5 of 12 (42 %) step, 0.1 step/s",
        "counting: 10 of 12 (83 %) step, 0.1 step/s",
    ]


def fails(error: Exception) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "sentence"),
    [
        (
            fails(OSError(errno.ENOSPC, "No space left on device", "big.npy")),
            "no space left on the disk while writing big.npy; free some and run again.",
        ),
        (
            fails(OSError(errno.EROFS, "Read-only file system", "models")),
            "models cannot be read or written (Read-only file system); allow it and run again.",
        ),
        (
            fails(OSError(errno.EACCES, "Permission denied", "models")),
            "models cannot be read or written (Permission denied); allow it and run again.",
        ),
        (fails(OSError(errno.ENOMEM, "Cannot allocate memory")), "out of memory ([Errno 12] Cannot allocate memory); "),
        (fails(torch.OutOfMemoryError("CUDA out of memory. Tried…")), "out of memory (CUDA out of memory. Tried…); "),
        (lambda: np.empty(2**60, np.uint8) and None, "out of memory (Unable to allocate 1.00 EiB for "),
        (lambda: torch.empty(2**60, dtype=torch.uint8) and None, "out of memory ([enforce fail at alloc_cpu.cpp:"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(main: Callable[[], None], sentence: str) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.run(main)
    said = str(raised.value.code)
    assert said.startswith(f"error: {sentence}")
    assert ("make report JOBS=1" in said and "train.batch_size" in said) == ("out of memory" in said)


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "No such file", "a"), RuntimeError("?"), KeyError("a")])
def test_a_defect_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        cli.run(fails(error))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell of it")
def test_a_command_goes_with_the_dvc_that_started_it() -> None:
    work = "(print(1, flush=True), time.sleep(20), print(2))"
    command = f"import time; from pipeline.core import cli; cli.run(lambda: {work} and None)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {command!r}])"
    dvc = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "DVC_STAGE": "train"}, stdout=subprocess.PIPE
    )
    assert dvc.stdout is not None
    assert dvc.stdout.readline() == b"1\n"
    dvc.send_signal(signal.SIGKILL)
    dvc.wait()
    assert dvc.stdout.read() == b""  # as soon as nobody can write any more
