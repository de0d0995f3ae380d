"""Measure every seed of a row with the model frozen.

models/<row>/, data/prepared/<dataset>/ → reports/runs/<row>.json   the measures of every seed, settings, environment
                                          reports/runs/<row>.npz    pictures, and how often each code was used
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from pipeline import autoencoder
from pipeline.autoencoder import Autoencoder
from pipeline.core import cli, devices, files, parallel, paths
from pipeline.datasets.io.batches import Images
from pipeline.metrics import counting, diagnostics, gradients, rate, reconstruction, usage
from pipeline.quantizers import Quantizer

RUNS = Path("reports/runs")
PREPARED = Path("data/prepared")
USAGE = 4096
"""Codes in a usage histogram: the most used ones."""
PIXELS = 2**24
"""Of the images measured together: 16 of 1024×1024, for which some quantizers hold matrices of many GB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", help="<dataset>-<variant>, as the plan names it")
    row = parser.parse_args().row
    cli.keep_freed_memory()
    evaluate_row(row, paths.read_settings(row), files.read_yaml(paths.SETTINGS / "evaluate.yaml"))


def evaluate_row(row: str, settings: dict[str, Any], options: dict[str, Any]) -> None:
    """Measure all seeds and write the row's two files."""
    device = devices.choose(settings["train"]["device"])
    about = files.read_json(Path("models") / row / "about.json")
    work = functools.partial(evaluate_seed, row, settings, options)
    measured = parallel.parallel_map(work, settings["seeds"], device)
    seeds = []
    for seed, (numbers, _) in zip(settings["seeds"], measured, strict=True):
        seeds.append({"seed": seed, **numbers_or_none({**numbers, "peak_memory_mb": about["peak_memory_mb"]})})
        cli.log.info("%s seed %d: test MSE %.5f, %d codes", row, seed, numbers["test_mse"], numbers["codes_in_use"])
    test = Images(PREPARED / settings["dataset"], "test", device)
    originals = to_pixels(test.batch(shown(len(test), options["pictures"])), test.offset)
    arrays = [array for _, array in measured]
    with files.replacing(RUNS / f"{row}.npz") as path, path.open("wb") as file:
        stacked = {name: np.stack([array[name] for array in arrays]) for name in arrays[0]}
        stacked["moving_batches"] = stacked["moving_batches"][0]  # the same for every seed
        np.savez_compressed(file, originals=originals, **stacked)  # type: ignore[arg-type]
    names = {"row": row, "dataset": settings["dataset"], "variant": settings["variant"]}
    content = {**names, "settings": settings, **{key: about[key] for key in ("environment", "trace")}, "seeds": seeds}
    files.write_json(RUNS / f"{row}.json", content)


@torch.no_grad()
def evaluate_seed(
    row: str, settings: dict[str, Any], options: dict[str, Any], seed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The measures of one seed's model, and its arrays: reconstructions, usage, codes counted while it moves."""
    device = devices.choose(settings["train"]["device"])
    devices.set_precision(settings["train"]["precision"])
    splits = {split: Images(PREPARED / settings["dataset"], split, device) for split in ("train", "val", "test")}
    history = pd.read_csv(Path("reports/history") / f"{row}.csv")
    epochs = history[history["seed"] == seed]
    model = autoencoder.build(settings, splits["test"].shape, seed)
    start = {name: value.clone() for name, value in model.quantizer.state_dict().items()}
    autoencoder.load(model, Path("models") / row / f"seed-{seed}.safetensors")
    model.to(splits["test"].device).eval()
    batch_size = at_once(options["batch_size"], splits["test"].shape)
    numbers, usage = measure(model, splits, batch_size, options["counting_memory"] * 10**6)
    numbers |= {"seconds_per_epoch": epochs["seconds"].mean(), "seconds": epochs["seconds"].sum()}
    length = diagnostics.ramp_length(epochs["lr"].sum(), len(splits["train"]), settings["train"])
    numbers |= diagnostics.journey(model.quantizer, start, length)
    batches = options["moving_batches"]
    moving = diagnostics.moving_codes(model, splits["train"], settings["train"]["batch_size"], batches)
    numbers["codes_moving"] = max(moving.values())
    numbers |= gradients.gap(model, splits["test"].batch(slice(0, batch_size)))
    numbers["selection"] = diagnostics.selection(model, splits["test"], batch_size)
    reconstructions = model(splits["test"].batch(shown(len(splits["test"]), options["pictures"])))[0]
    return numbers, {
        "reconstructions": to_pixels(reconstructions, splits["test"].offset),
        "usage": usage,
        "moving_batches": np.array(list(moving)),
        "moving_codes": np.array(list(moving.values())),
    }


def at_once(batch_size: int, shape: tuple[int, int, int]) -> int:
    """How many images (C, H, W) are measured together: as many as asked for, up to `PIXELS`; at least one."""
    _, height, width = shape
    return max(1, min(batch_size, PIXELS // (height * width)))


def measure(
    model: Autoencoder, splits: dict[str, Images], batch_size: int, memory: int
) -> tuple[dict[str, Any], np.ndarray]:
    """The measures of a frozen model, and the counts of its most used codes on test, most used first.

    LL-VQ-VAE counts codes over training and validation images together; what describes a rate is measured on test.

    Args:
        memory: bytes that counting may take; see `distinct.Counter`.
    """
    unbounded = model.quantizer.codebook_size() is None
    fitted, tested = Codes(memory, estimated=unbounded), Codes(memory, by_dimension=unbounded)
    counted = {"train": fitted, "val": fitted, "test": tested}
    error = {name: look_at(model, name, splits[name], batch_size, counted[name]) for name in splits}
    numbers = {
        "val_mse": error["val"].mean().item(),
        "test_mse": error["test"].mean().item(),
        "test_psnr": reconstruction.psnr(error["test"]).mean().item(),
        **usage_measures(model.quantizer, fitted, tested),
        "quantizer_parameters": model.quantizer.parameter_count,
    }
    _, height, width = splits["test"].shape
    latents = tested.counter.total // len(splits["test"])
    numbers["bits_per_pixel"] = rate.bits_per_pixel(numbers["bits_per_latent"], latents, height * width)
    kept = tested.counter.counts(USAGE)
    return numbers, np.pad(kept, (0, USAGE - len(kept)))


def numbers_or_none(measured: dict[str, Any]) -> dict[str, Any]:
    """None for what is infinite or undefined, e.g. the PSNR of a perfect reconstruction, which JSON cannot hold."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in measured.items()}


class Codes:
    """The codes seen so far: how often each, and between which values each component of a vector of codes lies.

    Args:
        memory: bytes that counting may take.
        by_dimension: count the values of every component by themselves as well.
        estimated: estimate how many there are as well.
    """

    def __init__(self, memory: int, by_dimension: bool = False, estimated: bool = False) -> None:
        self.counter = counting.Counter(memory=memory)
        self.estimate = counting.HyperLogLog() if estimated else None
        self.seconds = 0.0
        """What exact counting took."""
        self.components: list[counting.Counter] | None = [] if by_dimension else None
        self.low: Tensor | None = None
        self.high: Tensor | None = None

    def add(self, codes: Tensor) -> None:
        if codes.is_cuda:
            torch.cuda.synchronize(codes.device)  # what made the codes is not counting
        start = time.perf_counter()
        self.counter.add(codes)  # waits for the device
        self.seconds += time.perf_counter() - start
        if self.estimate is not None:
            self.estimate.add(codes)
        if self.components is not None:
            self.components = self.components or [counting.Counter() for _ in range(codes.shape[1])]
            for counter, values in zip(self.components, codes.unbind(1), strict=True):
                counter.add(values)
        low, high = codes.amin(0), codes.amax(0)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)


def look_at(model: Autoencoder, split: str, images: Images, batch_size: int, codes: Codes) -> Tensor:
    """Pass a split through the frozen model: the squared error of each image (N,); its codes are added to `codes`."""
    errors = []
    steps = -(-len(images) // batch_size)
    for batch in cli.progress(images.in_order(batch_size), f"measuring {split}", steps, "batch"):
        reconstructions, quantized = model(batch)
        errors.append(reconstruction.squared_error(batch, reconstructions))
        codes.add(quantized.codes.flatten(0, 2))
    return torch.cat(errors)


def usage_measures(quantizer: Quantizer, fitted: Codes, tested: Codes) -> dict[str, Any]:
    """How the codes are used. A lattice has no dead codes, but dimensions in which its codes take several values.

    n latents show no entropy above log2 n (`most_bits_seen`): where nearly every latent has a code of its own, the
    empirical entropy is too low. Of a lattice the sum over its dimensions, each coded by itself, bounds it from above.
    """
    in_use, aim = fitted.counter.distinct, quantizer.num_codes
    active = None
    if quantizer.codebook_size() is None and fitted.low is not None and fitted.high is not None:
        active = int((fitted.low != fitted.high).sum())
    by_dimension = None
    if tested.components is not None:
        by_dimension = sum(counter.entropy_bits() for counter in tested.components)
    return {
        "codes_in_use": in_use,
        "codes_in_use_test": tested.counter.distinct,
        "utilization": usage.utilization(in_use, aim) if aim else None,
        "perplexity": tested.counter.perplexity(),
        "bits_per_latent": tested.counter.entropy_bits(),
        "bits_per_latent_by_dimension": by_dimension,
        "most_bits_seen": math.log2(tested.counter.total),
        "dead_codes": None if quantizer.codebook_size() is None else aim - in_use,
        "active_dimensions": active,
        **counting_measures(fitted),
    }


def counting_measures(codes: Codes) -> dict[str, Any]:
    """How the codes were counted: the estimate, its standard error and the bound of a wrong exact count, if vectors."""
    start = time.perf_counter()
    found = codes.counter.distinct
    seconds = codes.seconds + time.perf_counter() - start
    numbers: dict[str, Any] = {"codes_counted": codes.counter.total, "counting_seconds": seconds}
    if codes.estimate is None or codes.low is None or codes.high is None:
        return numbers
    largest = int(torch.maximum(codes.high.abs(), codes.low.abs()).max())
    return numbers | {
        "codes_estimated": codes.estimate.estimate(),
        "codes_estimate_error": codes.estimate.relative_error,
        "codes_collision_bound": counting.collision_bound(found, largest),
    }


def shown(images: int, pictures: int) -> Int[Tensor, " pictures"]:
    """Which images of a split are shown: spread over it evenly, since neighbours often look alike."""
    return torch.linspace(0, images - 1, min(images, pictures)).round().long()


def to_pixels(images: Tensor, offset: float) -> np.ndarray:
    """Images (N, C, H, W) as uint8 (N, H, W, C); what lies outside of [0, 1] is cut off."""
    pixels = (images.float() + offset).clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


if __name__ == "__main__":
    cli.run(main)
