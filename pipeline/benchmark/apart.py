"""Contestants in processes of their own: each runs as its own program would, and they still take turns."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from pipeline.benchmark import clock


class OutOfMemory(RuntimeError):
    """A contestant needs more memory than its device has."""


def _nothing(device: torch.device) -> clock.Call:
    return lambda: None


class Side:
    """A process that makes a contestant and runs it when told; a new one takes the place of the one before.

    Args:
        device: where its contestants work.
        begin: what its program does first, or None.
    """

    def __init__(self, device: torch.device, begin: Callable[[torch.device], None] | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        arguments = (other, str(device), torch.get_num_threads(), begin)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        other.close()

    def make(self, build: Callable[..., clock.Call], *arguments: Any) -> clock.Call:
        """The call that `build(device, *arguments)` gives there.

        Raises:
            OutOfMemory: the device has too little.
            RuntimeError: what else went wrong there, as text.
        """
        self._ask((build, arguments))
        return _There(self._ask)

    def rest(self) -> None:
        """Give back what the contestant holds."""
        self.make(_nothing)

    def _ask(self, what: Any) -> float:
        self._pipe.send(what)
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError("a process of the benchmark was killed, perhaps for want of memory") from None
        if isinstance(answer, str):
            raise (OutOfMemory if answer.startswith(torch.OutOfMemoryError.__name__) else RuntimeError)(answer)
        return float(answer)

    def end(self) -> None:
        self._pipe.close()
        self._process.join(5)
        self._process.kill()
        self._process.join()


class _There(clock.Elsewhere):
    def __init__(self, ask: Callable[[Any], float]) -> None:
        self.ask = ask

    def seconds(self) -> float:
        return self.ask(None)


def _serve(pipe: Connection, device_name: str, threads: int, begin: Callable[[torch.device], None] | None) -> None:
    """Until the other end is closed: (build, arguments) makes a contestant, None runs it."""
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    if begin is not None:
        begin(device)
    call: clock.Call | None = None
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        try:
            if asked is None:
                assert call is not None
                pipe.send(clock.seconds_of(call, device))
            else:
                call = None
                clock.free_memory(device)  # of the one before, first
                build, arguments = asked
                call = build(device, *arguments)
                pipe.send(0.0)
        except Exception as error:  # the other side says it
            pipe.send(f"{type(error).__name__}: {error}")
