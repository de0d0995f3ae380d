"""How long a stage takes before it begins its work: imports and checking what it was asked for."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from pipeline.benchmark import clock
from pipeline.benchmark.scale import Scale
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


def measure(scale: Scale, _device: torch.device) -> Iterator[dict[str, Any]]:
    """A line per command: seconds that passed, and of the processor, which other work on the machine spares."""
    used: dict[str, list[float]] = {name: [] for name in COMMANDS}
    passed: dict[str, list[float]] = {name: [] for name in COMMANDS}

    def call(name: str) -> None:
        used_before, before = processor(), time.perf_counter()
        subprocess.run([sys.executable, *COMMANDS[name]], capture_output=True, check=False)
        passed[name].append(time.perf_counter() - before)
        used[name].append(processor() - used_before)

    calls = {name: partial(call, name) for name in COMMANDS}
    clock.in_turn(calls, min(scale.rounds, 5), 60.0, torch.device("cpu"), warm_up=1)
    for name in COMMANDS:
        seconds, of_processor = (vars(clock.spread(times[name][1:])) for times in (passed, used))
        cli.log.info("start of %s: %.2f s, %.2f s of processor", name, seconds["median"], of_processor["median"])
        yield {"command": name, "seconds": seconds, "processor_seconds": of_processor}


def processor() -> float:
    """Seconds of processor that ended child processes took."""
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime
