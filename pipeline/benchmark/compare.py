"""One line of the result: ours, the opponents as ratios to ours, and the floor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch

from pipeline.benchmark import clock, machine
from pipeline.benchmark.scale import Scale
from pipeline.core import cli

OURS = "ours"
SHARE = 0.4
"""Of the free memory: an opponent that would need more is left out, and the result says so."""


@dataclass(frozen=True)
class Contestant:
    """A call to measure.

    Attributes:
        make: gives the call; what it makes is freed before the next comparison.
        needs: bytes that it is known to hold at once.
    """

    make: Callable[[], clock.Call]
    needs: float = 0.0


def compare(
    group: str,
    setting: dict[str, Any],
    contestants: Mapping[str, Contestant],
    work: machine.Work | None,
    scale: Scale,
    device: torch.device,
    memory: bool = False,
) -> dict[str, Any]:
    """Measure all contestants in turn, `ours` among them.

    Returns:
        `group`, `setting`, `ours` and `opponents` with seconds (median, low, high, runs) and `memory_mb`, each
        opponent's `ratio` to ours; `floor` with bytes, operations, seconds and the `share` of it that ours reaches;
        `skipped`: opponent → why.
    """
    room = SHARE * free(device)
    skipped = {name: _too_big(contestant.needs) for name, contestant in contestants.items() if contestant.needs > room}
    calls = {name: contestant.make() for name, contestant in contestants.items() if name not in skipped}
    times = clock.in_turn(calls, scale.rounds, scale.seconds, device)
    lines: dict[str, dict[str, Any]] = {}
    for name, seconds in times.items():
        lines[name] = asdict(clock.spread(seconds))
        lines[name]["memory_mb"] = clock.extra_memory(calls[name], device) if memory else None
        if name != OURS:
            lines[name]["ratio"] = asdict(clock.ratios(times[OURS], seconds))
    result: dict[str, Any] = {
        "group": group,
        "setting": setting,
        "ours": lines.pop(OURS),
        "opponents": lines,
        "skipped": skipped,
    }
    result["floor"] = _floor(work, result["ours"]["median"], device) if work else None
    ratios = ", ".join(f"{name} {line['ratio']['median']:.2f}×" for name, line in lines.items())
    cli.log.info("%s %s: %.2f ms; %s", group, setting, 1e3 * result["ours"]["median"], ratios or "no opponent")
    return result


def left_out(group: str, setting: dict[str, Any], why: str) -> dict[str, Any]:
    """In place of a comparison that this machine is too small or slow for."""
    cli.log.info("%s %s: left out, it %s", group, setting, why)
    return {"group": group, "setting": setting, "left_out": why}


def _floor(work: machine.Work, seconds: float, device: torch.device) -> dict[str, float]:
    least = machine.floor(work, device)
    return {"bytes": work.bytes, "operations": work.operations, "seconds": least, "share": least / seconds}


def free(device: torch.device) -> float:
    """Bytes of memory that are free."""
    clock.free_memory(device)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def _too_big(needs: float) -> str:
    return f"needs {needs / 1e9:,.1f} GB"
