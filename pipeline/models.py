"""A row's model: built from its settings, kept as safetensors, put on a device."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline import files, quantizers
from pipeline.autoencoder import Autoencoder
from pipeline.quantizers import Quantized
from pipeline.stage import Refused

SETTINGS = Path("reports/settings")
CXX = "clang++" if sys.platform == "darwin" else "g++"
Network = Callable[[Tensor], tuple[Tensor, Quantized]]


def read_settings(row: str) -> dict[str, Any]:
    """The settings of a row as `plan` wrote them.

    Raises:
        Refused: there is no such row in the plan.
    """
    path = SETTINGS / f"{row}.yaml"
    if "-" not in row or not path.is_file():
        raise Refused(f"{path} is not there; name a row of the grid, as <dataset>-<variant>, after `dvc repro plan`.")
    return files.read_yaml(path)


def device(wanted: str) -> torch.device:
    """`auto` takes a GPU where there is one.

    Raises:
        Refused: a GPU was asked for that is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(wanted)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise Refused(
            f"train.device is {wanted}, but {torch.cuda.device_count()} GPUs are here; auto takes what there is."
        )
    return chosen


def set_precision(precision: str) -> None:
    """float32 means float32 on a GPU too, whose convolutions otherwise round to tf32."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def build(settings: dict[str, Any], shape: tuple[int, int, int], seed: int) -> Autoencoder:
    """A new autoencoder for images of shape C, H, W; with one seed, all variants start from one encoder and decoder.

    Raises:
        Refused: the images cannot be halved as often as there are widths.
    """
    channels, height, width = shape
    halvings = len(settings["model"]["hidden"])
    if height % 2**halvings or width % 2**halvings:
        raise Refused(
            f"model.hidden has {halvings} widths, each of which halves the image, but {settings['dataset']} "
            f"has images of {height}×{width}."
        )
    options = {key: value for key, value in settings["quantizer"].items() if key != "name"}
    torch.manual_seed(2 * seed)
    quantizer = quantizers.find(settings["quantizer"]["name"])(settings["model"]["dim"], **options)
    torch.manual_seed(2 * seed + 1)
    model = Autoencoder(quantizer, channels, **settings["model"])
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def compiled(model: Autoencoder, device: torch.device) -> Network:
    """The model's parts by `torch.compile`, with its weights; a quantizer that does not fuse stays as it is.

    Results differ from the model's by rounding. The first step of each batch size compiles, for a minute or more.

    Raises:
        Refused: no compiler is found.
    """
    require_compiler(device)
    encoder, decoder = fused(model.encoder, device), fused(model.decoder, device)
    between = fused(model.quantizer, device) if model.quantizer.fuses else model.quantizer

    def network(images: Tensor) -> tuple[Tensor, Quantized]:
        if device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()  # what the step before left in the graphs' memory may go
        quantized = between(encoder(images))
        return decoder(quantized.z), quantized

    return network


def fused(part: nn.Module, device: torch.device) -> Callable[..., Any]:
    """A module by `torch.compile`: sums and activations in few passes over memory.

    On a GPU the kernels are launched together, as CUDA graphs, which has not been tried yet.
    """
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return torch.compile(part, mode=mode, dynamic=False)


def require_compiler(device: torch.device) -> None:
    """See that there is what `torch.compile` calls.

    Raises:
        Refused: no compiler is found.
    """
    variable, usual = ("CC", ["gcc", "clang"]) if device.type == "cuda" else ("CXX", [CXX])
    names = [os.environ[variable]] if os.environ.get(variable) else usual
    if not any(shutil.which(name) for name in names):
        raise Refused(
            f"train.compile is true, but {' or '.join(names)}, the compiler that torch.compile calls, was not found; "
            f"install it, name another in {variable}, or leave train.compile false."
        )


def save(state: dict[str, Tensor], path: Path) -> None:
    """Keep a model's `state_dict`."""
    save_file({key: value.contiguous().cpu() for key, value in state.items()}, path)


def load(model: Autoencoder, path: Path) -> None:
    """Fill a model as `build` makes it with saved weights.

    Raises:
        Refused: the weights are not there, or belong to another model.
    """
    if not path.is_file():
        raise Refused(f"{path} is not there; `dvc repro train@{path.parent.name}` makes it.")
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise Refused(
            f"{path} holds another model than its settings say: {str(error).splitlines()[-1].strip()}"
        ) from None
