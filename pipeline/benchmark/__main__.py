"""The stage `benchmark`: one part, measured in one run → reports/benchmark/<part>.json."""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Iterator
from typing import Any

import torch

from pipeline.benchmark import clock, machine, part_names
from pipeline.benchmark.scale import Scale, scale
from pipeline.core import cli, devices, files, provenance
from pipeline.core.paths import Paths


def main(paths: Paths = Paths()) -> None:
    parser = argparse.ArgumentParser(description="Measure time and memory beside what others would write.")
    parser.add_argument("part", choices=part_names())
    parser.add_argument("--quick", action="store_true", help="very small: to see that it runs, not to be believed")
    parser.add_argument("--threads", type=int, default=None, help="threads on the CPU; by default all cores")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = devices.choose(arguments.device)
    devices.set_precision("float32")
    begin, path = time.monotonic(), paths.benchmark(arguments.part)
    # written after every line, so that a run that is killed leaves what it measured
    for result in results(arguments.part, scale(device, arguments.quick), device, arguments.quick):
        files.write_json(path, result)
    cli.log.info("%s: %.0f s", path, time.monotonic() - begin)


def results(part: str, scale: Scale, device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """All that was measured so far, again and again, the last time with `finished`.

    `lines` holds what the part's `measure` yields: comparisons as `compare.compare` gives them, what this machine is
    too small or slow for, with the reason under `left_out`, or a part's own numbers.
    """
    result: dict[str, Any] = {
        "part": part,
        "environment": provenance.environment(device),
        "quick": quick,
        "finished": False,
        "clock": clock.kind(device),
        "load": list(os.getloadavg()),
        "machine": machine.describe(device),
        "lines": [],
    }
    for line in importlib.import_module(f"pipeline.benchmark.parts.{part}").measure(scale, device):
        result["lines"].append(line)
        yield result
    yield {**result, "finished": True}


if __name__ == "__main__":
    cli.run(main)
