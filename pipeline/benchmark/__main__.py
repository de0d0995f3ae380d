"""The verb `benchmark`: everything measured in one run → reports/benchmark.json."""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.benchmark import (
    Plan,
    clock,
    counting,
    machine,
    memory,
    overhead,
    plan,
    quantizers,
    search,
    starting,
    training,
)
from pipeline.core import cli, devices, files, provenance

RESULT = Path("reports/benchmark.json")
COMPARISONS = {"quantizers": quantizers, "search": search, "training": training, "counting": counting}
PARTS = (*COMPARISONS, "memory", "starting", "overhead")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure time and memory beside what others would write.")
    parser.add_argument("--quick", action="store_true", help="very small: to see that it runs, not to be believed")
    parser.add_argument("--threads", type=int, default=None, help="threads on the CPU; by default all cores")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be given several times")
    parser.add_argument("--out", type=Path, default=RESULT, help=f"where the result goes; by default {RESULT}")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = devices.choose(given.device)
    devices.set_precision("float32")
    begin = time.monotonic()
    # written after every line, so that a run that is killed leaves what it measured
    for found in results(plan(device, given.quick), device, given.quick, given.part or PARTS):
        files.write_json(given.out, found)
    cli.log.info("%s: %.0f s", given.out, time.monotonic() - begin)


def results(plan: Plan, device: torch.device, quick: bool, parts: Sequence[str] = PARTS) -> Iterator[dict[str, Any]]:
    """All that was measured so far, again and again, the last time with `finished`.

    `comparisons` holds what `compare.compare` gives and `left_out` what this machine is too small or slow for.
    """
    found: dict[str, Any] = {
        "environment": provenance.environment(device),
        "quick": quick,
        "finished": False,
        "clock": clock.kind(device),
        "load": list(os.getloadavg()),
        "machine": machine.describe(device),
        "comparisons": [],
        "left_out": [],
        "memory": [],
        "starting": {},
        "overhead": None,
    }
    chosen = [part for name, part in COMPARISONS.items() if name in parts]
    for line in itertools.chain.from_iterable(part.measure(plan, device) for part in chosen):
        found["left_out" if "left_out" in line else "comparisons"].append(line)
        yield found
    if "memory" in parts:
        found["memory"] = memory.measure(plan, device)
        yield found
    if "starting" in parts:
        found["starting"] = starting.measure(plan)
        yield found
    if "overhead" in parts:
        found["overhead"] = overhead.measure()
    yield {**found, "finished": True}


if __name__ == "__main__":
    cli.run(main)
