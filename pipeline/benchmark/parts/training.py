"""A training step and an epoch, against a plain PyTorch loop."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.autoencoder import Autoencoder
from pipeline.benchmark import clock, machine
from pipeline.benchmark.apart import OutOfMemory, Side
from pipeline.benchmark.compare import OURS, SHARE, Contestant, compare, free, left_out
from pipeline.benchmark.machine import Work
from pipeline.benchmark.opponents import Textbook, TextbookLattice
from pipeline.benchmark.scale import Scale
from pipeline.core import cli, devices, files
from pipeline.datasets.io.batches import Images
from pipeline.train.__main__ import validate
from pipeline.train.loop import Training

Shape = tuple[int, int, int]
Widths = tuple[int, ...]
PLAIN = "plain loop"
BYTES = 45
"""That a step holds at once per number of the first layer's output at full size: some 12 layers at a quarter of it."""
QUANTIZERS = ("vq", "lattice")
MODEL: dict[str, Any] = {"dim": 64, "residual_blocks": 2, "latent_activation": True, "output_activation": True}
TRAIN: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 64,
    "lr": 1e-3,
    "lr_decay": 1.0,
    "backprop_at_zero_lr": True,
    "max_images": None,
}
TRAIN |= {"flip": False, "device": "auto", "precision": "float32", "compile": False}


def measure(scale: Scale, device: torch.device) -> Iterator[dict[str, Any]]:
    """Steps for all sizes of image and batch that this machine can do, then an epoch; what it cannot, with the reason.

    Each side has a process: ours as the stage `train` sets its up, the plain loop's by `begin_plain`.
    """
    sides = {OURS: Side(device, begin), PLAIN: Side(device, begin_plain)}
    try:
        for shape, hidden, batches in scale.images:
            for batch in batches:
                for name in QUANTIZERS:
                    yield step(name, shape, hidden, batch, scale, device, sides)
        for name in QUANTIZERS:
            yield epoch(name, scale, device, sides)
    finally:
        for side in sides.values():
            side.end()


def begin(device: torch.device) -> None:
    """As `pipeline.train` begins."""
    cli.keep_freed_memory()
    devices.set_up(device, "float32")


def begin_plain(device: torch.device) -> None:
    """As Python begins, but for the precision: convolutions in tf32 would be another comparison."""
    devices.set_precision("float32")


def ours(name: str, shape: Shape, hidden: Widths, batch: int, device: torch.device) -> Training:
    settings = {
        "dataset": "none",
        "model": {**MODEL, "hidden": list(hidden)},
        "quantizer": {"name": name, "num_codes": 512},
        "train": {**TRAIN, "batch_size": batch},
    }
    return Training("benchmark", settings, 0, shape, device)


class PlainLoop:
    """The same autoencoder with a textbook quantizer, as a user would train it."""

    def __init__(self, name: str, shape: Shape, hidden: Widths, device: torch.device) -> None:
        torch.manual_seed(0)
        quantizer = Textbook(64, 512) if name == "vq" else TextbookLattice(64)
        self.device = device
        self.model = Autoencoder(quantizer, shape[0], hidden=list(hidden), **MODEL).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def step(self, images: Tensor) -> float:
        images = images.to(self.device)
        self.optimizer.zero_grad()
        reconstructions, quantized = self.model(images)
        loss = F.mse_loss(reconstructions, images) + sum(quantized.losses.values())
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def epoch(self, train: DataLoader[Tensor], val: DataLoader[Tensor]) -> float:
        losses = [self.step(images) for images in train]
        with torch.no_grad():
            losses += [F.mse_loss(self.model(x)[0], x).item() for x in (images.to(self.device) for images in val)]
        return sum(losses)


class OneByOne(Dataset[Tensor]):
    """Images as floats, one at a time, for a DataLoader."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.pixels[index]).permute(2, 0, 1).float() / 255


def endless(batches: Callable[[], Iterable[Tensor]]) -> Iterator[Tensor]:
    """Epoch after epoch."""
    while True:
        yield from batches()


def our_steps(device: torch.device, folder: Path, name: str, shape: Shape, hidden: Widths, batch: int) -> clock.Call:
    """The next batch, forward, backward and update."""
    training, images = ours(name, shape, hidden, batch, device), Images(folder, "train", device)
    training.model.train()
    batches = endless(lambda: images.shuffled(batch, training.order, flip=False))
    return lambda: training.step(next(batches))


def plain_steps(device: torch.device, folder: Path, name: str, shape: Shape, hidden: Widths, batch: int) -> clock.Call:
    """The same as a plain loop over a DataLoader."""
    loop = PlainLoop(name, shape, hidden, device)
    loader = DataLoader(OneByOne(np.load(folder / "train.npy")), batch, shuffle=True)
    batches = endless(lambda: loader)
    return lambda: loop.step(next(batches))


def our_epoch(device: torch.device, folder: Path, name: str, shape: Shape, hidden: Widths, batch: int) -> clock.Call:
    training = ours(name, shape, hidden, batch, device)
    train, val = (Images(folder, split, device) for split in SPLITS)

    def call() -> None:
        training.epoch(train)
        validate(training.model, val, batch)

    return call


def plain_epoch(device: torch.device, folder: Path, name: str, shape: Shape, hidden: Widths, batch: int) -> clock.Call:
    loop = PlainLoop(name, shape, hidden, device)
    arrays = {split: np.load(folder / f"{split}.npy") for split in SPLITS}
    loaders = [DataLoader(OneByOne(pixels), batch, shuffle=split == "train") for split, pixels in arrays.items()]
    return lambda: loop.epoch(*loaders)


def step(
    name: str, shape: Shape, hidden: Widths, batch: int, scale: Scale, device: torch.device, sides: Mapping[str, Side]
) -> dict[str, Any]:
    """One step of a training, with getting its batch."""
    setting = {"quantizer": name, "image": list(shape), "hidden": list(hidden), "batch": batch}
    needs = BYTES * batch * shape[1] * shape[2] * hidden[0]
    if needs > SHARE * free(device):
        return left_out("step", setting, f"needs about {needs / 1e9:,.0f} GB")
    work = step_work(name, shape, hidden, device).times(batch)
    least = machine.floor(work, device)
    if least > scale.longest:
        return left_out("step", setting, f"takes {least:,.1f} s at least")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), {"train": 2 * batch}, shape)
        arguments = (Path(folder), name, shape, hidden, batch)
        made = {
            OURS: Contestant(partial(sides[OURS].make, our_steps, *arguments)),
            PLAIN: Contestant(partial(sides[PLAIN].make, plain_steps, *arguments)),
        }
        try:
            result = compare("step", setting, made, work, scale, device)
        except OutOfMemory:
            return left_out("step", setting, "needs more memory than there is")
        finally:
            for side in sides.values():
                side.rest()
    return {**result, "per_second": batch / result["ours"]["median"], "unit": "images"}


@functools.cache
def step_work(name: str, shape: Shape, hidden: Widths, device: torch.device) -> Work:
    """For one image: operations of all products and convolutions, forward and backward; bytes of image and weights."""
    from torch.utils.flop_counter import FlopCounterMode  # here, since it brings compilers along

    model = ours(name, shape, hidden, 1, device).model
    image = torch.zeros(1, *shape, device=device).contiguous(memory_format=torch.channels_last)
    with FlopCounterMode(display=False) as counter:
        reconstructions, quantized = model(image)
        torch.stack([F.mse_loss(reconstructions, image), *quantized.losses.values()]).sum().backward()
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Work(4.0 * image.numel() * 3, float(counter.get_total_flops()), 4.0 * weights * 8)


def epoch(name: str, scale: Scale, device: torch.device, sides: Mapping[str, Side], batch: int = 64) -> dict[str, Any]:
    """An epoch with its data, from the file to the last validation image."""
    shape, hidden, _ = scale.images[0]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), {split: scale.epoch // part for split, part in SPLITS.items()}, shape)
        arguments = (Path(folder), name, shape, hidden, batch)
        setting = {"quantizer": name, "image": list(shape), "hidden": list(hidden), "images": scale.epoch}
        made = {
            OURS: Contestant(partial(sides[OURS].make, our_epoch, *arguments)),
            PLAIN: Contestant(partial(sides[PLAIN].make, plain_epoch, *arguments)),
        }
        work = step_work(name, shape, hidden, device).times(scale.epoch)
        result = compare("epoch", setting, made, work, scale, device)
    return {**result, "per_second": scale.epoch / result["ours"]["median"], "unit": "images"}


SPLITS = {"train": 1, "val": 6}
"""Split → one image of it for so many of the training split."""


def write(folder: Path, counts: Mapping[str, int], shape: Shape) -> None:
    """Random images (count, H, W, C) of every split as a prepared data set."""
    for split, count in counts.items():
        pixels = np.random.default_rng(0).integers(0, 256, (count, *shape[1:], shape[0]), dtype=np.uint8)
        np.save(folder / f"{split}.npy", pixels)
    files.write_yaml(folder / "about.yaml", {"offset": 0.0})
