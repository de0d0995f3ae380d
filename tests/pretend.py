"""A CPU that looks like a GPU to the code under test, and every place where that code would wait for it.

As a script, given the folder of a project from `tiny`: JSON of where each quantizer waits in training.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import together
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline import quantizers
from pipeline.core.paths import Paths
from pipeline.datasets.io.batches import Images
from pipeline.train.__main__ import validate
from pipeline.train.loop import Training

PIPELINE = str(Path(__file__).resolve().parent.parent / "pipeline")
GPU, CPU = torch.device("cuda"), torch.device("cpu")
LOOKS = {torch.Tensor.device.__get__: GPU, torch.Tensor.is_cuda.__get__: True}
TO_HOST = {Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.numpy, Tensor.__bool__, Tensor.__int__, Tensor.__float__}
FROM_HOST = {torch.tensor, torch.as_tensor, torch.from_numpy}
COUNTED = {"aten::nonzero", "aten::_unique2", "aten::unique_dim", "aten::masked_select", "aten::equal"}
"""Results whose size, or value on the host, depends on numbers on the GPU."""


@contextmanager
def a_gpu() -> Iterator[set[str]]:
    """All tensors say that they are on a GPU.

    Yields:
        The functions of the pipeline, as `module: function`, in which the host would have waited so far.
    """
    waits: set[str] = set()
    with Calls(waits), Kernels(waits):
        yield waits


def place() -> set[str]:
    """The pipeline's innermost function that is at work; none where the pipeline is not."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.startswith(PIPELINE):
        frame = frame.f_back
    if frame is None:
        return set()
    name = re.sub(r"\.<\w+>", "", frame.f_code.co_qualname)  # of a comprehension: the function around it
    return {f"{frame.f_globals['__name__'].removeprefix('pipeline.')}: {name}"}


def on_cpu(argument: Any) -> Any:
    return CPU if isinstance(argument, str | torch.device) and str(argument) == "cuda" else argument


class Calls(TorchFunctionMode):
    """Tensors say that they are on the GPU; what names a GPU happens on the CPU."""

    def __init__(self, waits: set[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in LOOKS:
            return LOOKS[func]
        kwargs = kwargs or {}
        named = [str(value) for value in (*args, *kwargs.values()) if isinstance(value, str | torch.device)]
        if func in TO_HOST or (func is Tensor.to and "cpu" in named) or (func in FROM_HOST and "cuda" in named):
            self.waits |= place()
        return func(*map(on_cpu, args), **{key: on_cpu(value) for key, value in kwargs.items()})


class Kernels(TorchDispatchMode):
    """Sees what happens below Python's calls, e.g. boolean masks and the backward pass."""

    def __init__(self, waits: set[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        masked = func.name().startswith(("aten::index.", "aten::index_put")) and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        sized = func.name() == "aten::repeat_interleave.Tensor" and not (kwargs or {}).get("output_size")
        if masked or sized or func.name().partition(".")[0] in COUNTED:
            self.waits |= place()
        return func(*args, **(kwargs or {}))


class Answers(TorchFunctionMode):
    """Answers what fake tensors cannot: that a codebook has begun, that no code is unused, that all are chosen."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__bool__:
            return "init_embed_" in {*map(_caller, range(1, 5))}
        if func is Tensor.item:
            return 1
        if func is Tensor.nonzero:
            return torch.arange(len(args[0]), device=args[0].device)[:, None]
        return func(*args, **(kwargs or {}))


def to_gpu(module: torch.nn.Module) -> None:
    """Under FakeTensorMode, which `Module.to` does not know how to do: what would move to the GPU is there."""
    for child in module.modules():
        for key, value in child._parameters.items():
            if value is not None:
                moved = torch.empty(value.shape, dtype=value.dtype, device=GPU)
                child._parameters[key] = torch.nn.Parameter(moved, value.requires_grad)
        for key, value in child._buffers.items():
            if value is not None:
                child._buffers[key] = torch.empty(value.shape, dtype=value.dtype, device=GPU)


def _caller(depth: int) -> str:
    return sys._getframe(depth + 1).f_code.co_name


def waits_in_training(prepared: Path) -> dict[str, dict[str, set[str]]]:
    """Quantizer → where it waits in a `step` after the first, and where in an `epoch` and its validation besides."""
    found: dict[str, dict[str, set[str]]] = {name: {"step": set(), "epoch": set()} for name in quantizers.names()}
    for case, options in together.CASES.items():
        places = found[options["name"]]
        with a_gpu() as waited:
            images = Images(prepared, "train", GPU, resident=10**9)
            training = Training(case, together.settings(case), 0, images.shape, GPU)
            training.step(images.batch(slice(0, 9)))
            waited.clear()
            for start in range(9, 36, 9):
                training.step(images.batch(slice(start, start + 9)))
            places["step"] |= waited
            waited.clear()
            training.epoch(images)
            validate(training.model, images, 9)
            places["epoch"] |= waited
    return {name: {"step": of["step"], "epoch": of["epoch"] - of["step"]} for name, of in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(waits_in_training(Paths(Path(sys.argv[1])).prepared("photos")), sys.stdout, default=sorted)
