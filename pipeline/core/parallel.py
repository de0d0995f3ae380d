"""The seeds of a row next to each other: processes that share the cores of a CPU."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import torch

from pipeline.core import cli, ranks
from pipeline.core.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    work: Callable[[Item], Result], items: Sequence[Item], device: torch.device, threads: int
) -> list[Result]:
    """`work` for every item, its results in the items' order.

    On a CPU every item gets a process of so many threads, and as many processes work at a time as `at_a_time` says. So
    results depend neither on the cores nor on what runs beside them. On a GPU, and with room for a single process,
    everything happens here, one after the other.

    Args:
        work: can be pickled; it neither reads nor changes what other items change.
        threads: of each item.

    Raises:
        UserError: a process was killed from outside.
        whatever `work` raises; the others are stopped.
    """
    processes = at_a_time(len(items), device, threads)
    if processes == 1:
        with _threads(threads):
            return [work(item) for item in items]
    # Forked processes need not load torch again, which takes longer than a small evaluation; elsewhere it is not safe.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(processes, context, _begin, (threads,)) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BrokenProcessPool:  # which stops the others by itself
            raise UserError(
                f"one of {processes} processes was killed, perhaps for want of memory: {cli.LESS_MEMORY}; run the same "
                "command again to go on."
            ) from None
        except Exception:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return [future.result() for future in futures]


def at_a_time(items: int, device: torch.device, threads: int) -> int:
    """How many processes of so many threads work at a time: OMP_NUM_THREADS in all, or as many as there are cores.

    One where several processes work on every item together.
    """
    alone = device.type == "cpu" and ranks.count() == 1
    return max(1, min(items, torch.get_num_threads() // threads)) if alone else 1


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _begin(threads: int) -> None:
    """A process of its own: its part of the threads; and it goes when the one that started it is gone."""
    cli.log_to_stderr()
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
