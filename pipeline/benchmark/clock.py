"""Time and memory of calls. Contestants take turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Call = Callable[[], Any]
WARM_UP = 2


class Elsewhere:
    """A call that another process runs, and times itself."""

    def __call__(self) -> None:
        self.seconds()

    def seconds(self) -> float:
        """Run it once; see `seconds_of`."""
        raise NotImplementedError


STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles, of so many runs."""

    median: float
    low: float
    high: float
    runs: int


def spread(values: list[float]) -> Spread:
    """Median and quartiles (linear between values); one value is all three."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


def in_turn(
    calls: Mapping[str, Call], rounds: int, budget: float, device: torch.device, warm_up: int = WARM_UP
) -> dict[str, list[float]]:
    """Seconds of every call in every round; each round begins with another contestant.

    Args:
        rounds: at most.
        budget: seconds after which no further round begins, once there were three.
        warm_up: calls of each that are not counted; one only where they alone would use the budget up.
    """
    begin = time.perf_counter()
    for call in calls.values():
        for number in range(warm_up):
            if number == 0 or time.perf_counter() - begin < budget / 4:
                seconds_of(call, device)
    begin = time.perf_counter()
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - begin > budget:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(seconds_of(calls[name], device))
    return times


def seconds_of(call: Call, device: torch.device) -> float:
    """Seconds of one call, until the device has done what it asks for; see `kind`."""
    if isinstance(call, Elsewhere):
        return call.seconds()
    now = time.process_time if kind(device) == "processor" else time.perf_counter
    synchronize(device)
    begin = now()
    call()
    synchronize(device)
    return now() - begin


def kind(device: torch.device) -> str:
    """`processor`: the time that one thread on a CPU used, which other work on the machine spares; else `wall`."""
    return "processor" if device.type == "cpu" and torch.get_num_threads() == 1 else "wall"


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> None:
    """Give back what nothing holds any more, so that others find it free."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def ratios(ours: list[float], theirs: list[float]) -> Spread:
    """How many times as long the opponent takes, taken round by round."""
    return spread([other / own for own, other in zip(ours, theirs, strict=True)])


def extra_memory(call: Call, device: torch.device) -> float | None:
    """The most that a call holds beside what was there before, in MB of 10⁶ bytes.

    On a GPU as its allocator counts; on Linux as the pages of the process, so that a MB or two is noise and what the
    allocator kept from earlier calls may go unseen. None where neither can be had.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    before_kb = _pages("VmRSS") if _forget_peak() else None
    if before_kb is None:
        return None
    call()
    after_kb = _pages("VmHWM")
    return None if after_kb is None else max(0, after_kb - before_kb) * 1024 / 1e6


def peak_memory(device: torch.device) -> float | None:
    """The most that the GPU's allocator gave out, or that this process held, in MB of 10⁶ bytes.

    Read from the process's pages: `getrusage` also counts what the parent held when it started this process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    kb = _pages("VmHWM")
    return None if kb is None else kb * 1024 / 1e6


def _forget_peak() -> bool:
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what glibc keeps of freed memory would hide the call's first needs
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS; see proc(5)
    except (OSError, AttributeError):
        return False
    return True


def _pages(key: str) -> int | None:
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), None)
