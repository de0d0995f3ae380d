"""A training step and an epoch, against a plain PyTorch loop; memory of a step at the largest codebook."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from pipeline import files
from pipeline.autoencoder import Autoencoder
from pipeline.batches import Images
from pipeline.benchmark import Plan
from pipeline.benchmark.compare import OURS, Contestant, compare
from pipeline.benchmark.machine import Work
from pipeline.benchmark.opponents import Textbook, TextbookLattice
from pipeline.train import Training

Shape = tuple[int, int, int]
QUANTIZERS = ("vq", "lattice")
MODEL: dict[str, Any] = {"dim": 64, "residual_blocks": 2, "latent_activation": True, "output_activation": True}
TRAIN: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 64,
    "lr": 1e-3,
    "lr_decay": 1.0,
    "idle_gradients": True,
    "max_images": None,
}
TRAIN |= {"flip": False, "device": "auto", "precision": "float32"}


def measure(plan: Plan, device: torch.device) -> Iterator[dict[str, Any]]:
    """Steps for all sizes of image that a batch allows, then an epoch."""
    for shape, hidden, batches in plan.images:
        for batch in batches:
            if batch * shape[1] * shape[2] * hidden[0] <= plan.size:
                for name in QUANTIZERS:
                    yield step(name, shape, hidden, batch, plan, device)
    for name in QUANTIZERS:
        yield epoch(name, plan, device)


def ours(name: str, shape: Shape, hidden: tuple[int, ...], batch: int, device: torch.device) -> Training:
    settings = {
        "dataset": "none",
        "model": {**MODEL, "hidden": list(hidden)},
        "quantizer": {"name": name, "num_codes": 512},
        "train": {**TRAIN, "batch_size": batch},
    }
    return Training("benchmark", settings, 0, shape, device)


class PlainLoop:
    """The same autoencoder with a textbook quantizer, as a user would train it."""

    def __init__(self, name: str, shape: Shape, hidden: tuple[int, ...], device: torch.device) -> None:
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


def step(
    name: str, shape: Shape, hidden: tuple[int, ...], batch: int, plan: Plan, device: torch.device
) -> dict[str, Any]:
    """Forward, backward and update of one batch that is on the device already."""
    torch.manual_seed(1)
    images = torch.rand(batch, *shape, device=device)
    channels_last = images.contiguous(memory_format=torch.channels_last)

    def make_ours() -> Callable[[], object]:
        training = ours(name, shape, hidden, batch, device)
        training.model.train()
        return lambda: training.step(channels_last, 1, 1)

    def make_plain() -> Callable[[], object]:
        loop = PlainLoop(name, shape, hidden, device)
        return lambda: loop.step(images)

    setting = {"quantizer": name, "image": list(shape), "hidden": list(hidden), "batch": batch}
    made = {OURS: Contestant(make_ours), "plain loop": Contestant(make_plain)}
    result = compare("step", setting, made, step_work(name, shape, hidden, images), plan, device)
    return {**result, "images_per_second": batch / result["ours"]["median"]}


def step_work(name: str, shape: Shape, hidden: tuple[int, ...], images: Tensor) -> Work:
    """Operations of all products and convolutions, forward and backward; bytes of the images and the weights."""
    model = ours(name, shape, hidden, len(images), images.device).model
    one = images[:1].contiguous(memory_format=torch.channels_last)
    with FlopCounterMode(display=False) as counter:
        reconstructions, quantized = model(one)
        torch.stack([F.mse_loss(reconstructions, one), *quantized.losses.values()]).sum().backward()
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Work(4.0 * images.numel() * 3 + 4.0 * weights * 8, float(counter.get_total_flops()) * len(images))


def epoch(name: str, plan: Plan, device: torch.device) -> dict[str, Any]:
    """An epoch with its data from the file to the last validation image, batch 64."""
    shape, hidden, _ = plan.images[0]
    with tempfile.TemporaryDirectory() as folder:
        arrays = {split: write(Path(folder), split, plan.epoch // part, shape) for split, part in SPLITS.items()}
        files.write_yaml(Path(folder) / "about.yaml", {"offset": 0.0})

        def make_ours() -> Callable[[], object]:
            training = ours(name, shape, hidden, 64, device)
            train, val = (Images(Path(folder), split, device) for split in SPLITS)
            return lambda: training.epoch(train, val)

        def make_plain() -> Callable[[], object]:
            loop = PlainLoop(name, shape, hidden, device)
            train, val = (DataLoader(OneByOne(a), 64, shuffle=s == "train") for s, a in arrays.items())
            return lambda: loop.epoch(train, val)

        setting = {"quantizer": name, "image": list(shape), "hidden": list(hidden), "images": plan.epoch}
        made = {OURS: Contestant(make_ours), "plain loop": Contestant(make_plain)}
        work = step_work(name, shape, hidden, torch.zeros(plan.epoch, *shape, device=device))
        return compare("epoch", setting, made, work, plan, device)


SPLITS = {"train": 1, "val": 6}
"""Split → one image of it for so many of the training split."""


def write(folder: Path, split: str, count: int, shape: Shape) -> np.ndarray:
    """Random images (count, H, W, C) in `folder`/`split`.npy; also given back."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape[1:], shape[0]), dtype=np.uint8)
    np.save(folder / f"{split}.npy", pixels)
    return pixels
