"""What all verbs share: a progress bar on a terminal, sober lines in a log."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from conftest import ROOT

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
