"""The processes that train one row together, as torchrun starts them. Nothing else here knows torch.distributed.

    batch of n images → process r of W holds images r·n/W to (r+1)·n/W → its latents, losses, gradients → mean over all

Every process holds the whole model and draws the random numbers of the whole batch, of which it uses its part's. So the
same batches give the same model, whatever W is, but for rounding. A batch of fewer images than processes is not split:
each process works on all of it, and there is nothing to add up. Outside of torchrun every function gives back what it
gets.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor

from pipeline.core import cli
from pipeline.core.errors import UserError

Value = TypeVar("Value")
_split: tuple[int, int, int] | None = None  # of the batch in work: this process's first image, the end, all images


def count() -> int:
    """How many processes train this row."""
    return dist.get_world_size() if dist.is_initialized() else 1


def index() -> int:
    """Which of them this is, from 0; 0 writes all files."""
    return dist.get_rank() if dist.is_initialized() else 0


def local() -> int:
    """Which of those on this machine this is, from 0."""
    return int(os.environ["LOCAL_RANK"]) if dist.is_initialized() else 0


def started() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


GONE = (
    "another process of this training is gone, perhaps killed for want of memory, or torchrun was stopped; run the "
    "same command again to go on."
)


@contextmanager
def together() -> Iterator[None]:
    """Work with the other processes that torchrun started; nothing happens where it started one or none.

    Where one fails, the others fail, too, without a word: one sentence is enough.

    Raises:
        UserError: another process is gone and has not said why.
    """
    if started() == 1:
        yield
        return
    store, rank, world = next(dist.rendezvous("env://"))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    if rank > 0:
        cli.log.disabled = True
    signal.signal(signal.SIGTERM, _ended)  # which torchrun sends, sometimes before a reduction fails
    try:
        yield
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until this has been said
        if store.add("failed", 1) > 1:
            raise SystemExit(1) from None
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            raise UserError(GONE) from None
        raise
    dist.destroy_process_group()


def _ended(*_: object) -> None:
    raise UserError(GONE)


def part(images: int) -> slice:
    """Which images of a batch of `images` are this process's."""
    if images < count():
        return slice(0, images)
    return slice(index() * images // count(), (index() + 1) * images // count())


@contextmanager
def batch(images: int) -> Iterator[None]:
    """Work on this process's part of a batch of `images`; the functions below are about this batch."""
    global _split
    own = part(images)
    _split = None if own == slice(0, images) else (own.start, own.stop, images)
    try:
        yield
    finally:
        _split = None


def weight() -> float:
    """What a mean over this part counts in the mean over all processes' means."""
    return 1.0 if _split is None else count() * (_split[1] - _split[0]) / _split[2]


def total_(own: Tensor) -> Tensor:
    """The sum over the parts, in place."""
    if _split is not None:
        dist.all_reduce(own)
    return own


def once(number: float) -> float:
    """`number` in one process and 0 in the others, so that what all hold alike goes into a total once."""
    return number if _split is None or index() == 0 else 0.0


def mean(own: Tensor) -> Tensor:
    """The mean over the batch from the mean over this part, for a loss that is not linear in it; with its gradient."""
    return own if _split is None else _Sum.apply(own * (weight() / count()))


class _Sum(torch.autograd.Function):
    """Every process's loss depends on every process's numbers, so that gradients are summed up, too."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, own: Tensor) -> Tensor:
        return total_(own.clone())

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        return total_(gradient.clone())


def whole(own: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "m ..."]:
    """Rows for the whole batch: this part's at their place, and 0."""
    if _split is None:
        return own
    start, stop, images = _split
    each = len(own) // (stop - start)  # rows of an image
    rows = own.new_zeros(images * each, *own.shape[1:])
    rows[start * each : stop * each] = own
    return rows


def own(rows: Shaped[Tensor, "m ..."]) -> Shaped[Tensor, "n ..."]:
    """Of rows for the whole batch those of this part."""
    if _split is None:
        return rows
    start, stop, images = _split
    return rows[start * len(rows) // images : stop * len(rows) // images]


def gather(own: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "m ..."]:
    """The rows of all parts, in the batch's order."""
    return total_(whole(own))


def everyones(value: Value) -> list[Value]:
    """What every process holds, in their order."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def first(value: Value) -> Value:
    """What process 0 holds."""
    if count() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]
