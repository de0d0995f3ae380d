"""How long a stage takes before it begins its work: imports and checking what it was asked for."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from functools import partial
from typing import Any

import torch

from pipeline.benchmark import Plan, clock
from pipeline.core import cli

COMMANDS = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "plan --check": ["-m", "pipeline.plan", "--check"],
    "download": ["-m", "pipeline.download", "no-such"],
    "preprocess": ["-m", "pipeline.preprocess", "no-such"],
    "train": ["-m", "pipeline.train", "no-such"],
    "evaluate": ["-m", "pipeline.evaluate", "no-such"],
    "report --help": ["-c", "import pipeline.report.__main__"],
}


def measure(plan: Plan) -> dict[str, dict[str, Any]]:
    """Command → seconds as they pass, and as the processor counts them, which other work on the machine spares."""
    used: dict[str, list[float]] = {name: [] for name in COMMANDS}

    passed: dict[str, list[float]] = {name: [] for name in COMMANDS}

    def call(name: str) -> None:
        used_before, before = processor(), time.perf_counter()
        subprocess.run([sys.executable, *COMMANDS[name]], capture_output=True, check=False)
        passed[name].append(time.perf_counter() - before)
        used[name].append(processor() - used_before)

    calls = {name: partial(call, name) for name in COMMANDS}
    clock.in_turn(calls, min(plan.rounds, 5), 60.0, torch.device("cpu"), warm_up=1)
    found = {
        name: {"seconds": vars(clock.spread(passed[name][1:])), "processor_seconds": vars(clock.spread(used[name][1:]))}
        for name in COMMANDS
    }
    for name, line in found.items():
        told = (line["seconds"]["median"], line["processor_seconds"]["median"])
        cli.log.info("start of %s: %.2f s, %.2f s of processor", name, *told)
    return found


def processor() -> float:
    """Seconds of processor that ended child processes took."""
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime
