"""The verb `benchmark`: everything measured in one run → reports/benchmark.json."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from pipeline import files, models, provenance, stage
from pipeline.benchmark import Plan, clock, counting, machine, memory, plan, quantizers, starting, training

RESULT = Path("reports/benchmark.json")
PARTS = ("quantizers", "training", "counting", "memory", "starting")


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
    device = models.device(given.device)
    models.set_precision("float32")
    files.write_json(given.out, result(plan(device, given.quick), device, given.quick, given.part or PARTS))


def result(plan: Plan, device: torch.device, quick: bool, parts: Any = PARTS) -> dict[str, Any]:
    """All that was measured; see `compare.compare` for a comparison."""
    found: dict[str, Any] = {
        "environment": provenance.environment(device),
        "quick": quick,
        "clock": clock.kind(device),
        "load": list(os.getloadavg()),
        "machine": machine.describe(device),
    }
    comparisons: list[dict[str, Any]] = []
    for name, part in (("quantizers", quantizers), ("training", training), ("counting", counting)):
        if name in parts:
            comparisons += part.measure(plan, device)
    found["comparisons"] = comparisons
    found["memory"] = memory.measure(plan) if "memory" in parts else []
    found["starting"] = starting.measure(plan) if "starting" in parts else {}
    return found


if __name__ == "__main__":
    stage.run(main)
