"""Measure every seed of a row with the model frozen.

models/<row>/, data/prepared/<dataset>/ → reports/runs/<row>.json   the measures of every seed, settings, environment
                                          reports/runs/<row>.npz    pictures, and how often each code was used
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline import distinct, files, gaps, measures, models, probes, stage
from pipeline.autoencoder import Autoencoder
from pipeline.batches import Images
from pipeline.quantizers import Quantizer

RUNS = Path("reports/runs")
USAGE = 4096
"""Codes in a usage histogram: the most used ones."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", help="<dataset>-<variant>, as the plan names it")
    row = parser.parse_args().row
    stage.keep_freed_memory()
    evaluate_row(row, models.read_settings(row), files.read_yaml(models.SETTINGS / "evaluate.yaml"))


@torch.no_grad()
def evaluate_row(row: str, settings: dict[str, Any], options: dict[str, Any]) -> None:
    """Measure all seeds and write the row's two files."""
    device = models.device(settings["train"]["device"])
    models.set_precision(settings["train"]["precision"])
    prepared = Path("data/prepared") / settings["dataset"]
    splits = {split: Images(prepared, split, device) for split in ("train", "val", "test")}
    history = pd.read_csv(Path("reports/history") / f"{row}.csv")
    about = files.read_json(Path("models") / row / "about.json")
    seeds, arrays = [], []
    for seed in settings["seeds"]:
        epochs = history[history["seed"] == seed]
        numbers, pictures = evaluate_seed(row, seed, settings, options, splits, epochs)
        times = epochs["seconds"]
        timing = {"seconds_per_epoch": times.mean(), "seconds": times.sum(), "peak_memory_mb": about["peak_memory_mb"]}
        seeds.append({"seed": seed, **numbers_or_none({**numbers, **timing})})
        arrays.append(pictures)
        stage.log.info("%s seed %d: test MSE %.5f, %d codes", row, seed, numbers["test_mse"], numbers["codes_in_use"])
    originals = to_pixels(splits["test"].batch(slice(0, options["pictures"])), splits["test"].offset)
    with files.replacing(RUNS / f"{row}.npz") as path, path.open("wb") as file:
        stacked = {name: np.stack([array[name] for array in arrays]) for name in arrays[0]}
        stacked["moving_batches"] = stacked["moving_batches"][0]  # the same for every seed
        np.savez_compressed(file, originals=originals, **stacked)  # type: ignore[arg-type]
    names = {"row": row, "dataset": settings["dataset"], "variant": settings["variant"]}
    content = {**names, "settings": settings, "environment": about["environment"], "seeds": seeds}
    files.write_json(RUNS / f"{row}.json", content)


def evaluate_seed(
    row: str,
    seed: int,
    settings: dict[str, Any],
    options: dict[str, Any],
    splits: dict[str, Images],
    epochs: pd.DataFrame,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The measures of one seed's model, and its arrays: reconstructions, usage, codes counted while it moves."""
    model = models.build(settings, splits["test"].shape, seed)
    start = {name: value.clone() for name, value in model.quantizer.state_dict().items()}
    models.load(model, Path("models") / row / f"seed-{seed}.safetensors")
    model.to(splits["test"].device).eval()
    numbers, usage = measure(model, splits, options["batch_size"])
    length = probes.ramp_length(epochs["lr"].sum(), len(splits["train"]), settings["train"])
    numbers |= probes.journey(model.quantizer, start, length)
    batches = options["moving_batches"]
    moving = probes.moving_codes(model, splits["train"], settings["train"]["batch_size"], batches)
    numbers["codes_moving"] = max(moving.values())
    numbers |= gaps.gap(model, splits["test"].batch(slice(0, options["batch_size"])))
    numbers["selection"] = probes.selection(model, splits["test"], options["batch_size"])
    reconstructions = model(splits["test"].batch(slice(0, options["pictures"])))[0]
    return numbers, {
        "reconstructions": to_pixels(reconstructions, splits["test"].offset),
        "usage": usage,
        "moving_batches": np.array(list(moving)),
        "moving_codes": np.array(list(moving.values())),
    }


def measure(model: Autoencoder, splits: dict[str, Images], batch_size: int) -> tuple[dict[str, Any], np.ndarray]:
    """The measures of a frozen model, and the counts of its most used codes on test, most used first.

    LL-VQ-VAE counts codes over training and validation images together; what describes a rate is measured on test.
    """
    fitted, tested = Codes(), Codes(by_dimension=not model.quantizer.finite)
    counted = {"train": fitted, "val": fitted, "test": tested}
    error = {name: look_at(model, name, splits[name], batch_size, counted[name]) for name in splits}
    numbers = {
        "val_mse": error["val"].mean().item(),
        "test_mse": error["test"].mean().item(),
        "test_psnr": measures.psnr(error["test"]).mean().item(),
        **usage_measures(model.quantizer, fitted, tested),
        "quantizer_parameters": model.quantizer.parameter_count,
    }
    _, height, width = splits["test"].shape
    latents = tested.counter.total // len(splits["test"])
    numbers["bits_per_pixel"] = measures.bits_per_pixel(numbers["bits_per_latent"], latents, height * width)
    kept = tested.counter.counts(USAGE)
    return numbers, np.pad(kept, (0, USAGE - len(kept)))


def numbers_or_none(measured: dict[str, Any]) -> dict[str, Any]:
    """None for what is infinite or undefined, e.g. the PSNR of a perfect reconstruction, which JSON cannot hold."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in measured.items()}


class Codes:
    """The codes seen so far: how often each, and between which values each component of a vector of codes lies.

    Args:
        by_dimension: count the values of every component by themselves as well.
    """

    def __init__(self, by_dimension: bool = False) -> None:
        self.counter = distinct.Counter()
        self.components: list[distinct.Counter] | None = [] if by_dimension else None
        self.low: Tensor | None = None
        self.high: Tensor | None = None

    def add(self, codes: Tensor) -> None:
        self.counter.add(codes)
        if self.components is not None:
            self.components = self.components or [distinct.Counter() for _ in range(codes.shape[1])]
            for counter, values in zip(self.components, codes.unbind(1), strict=True):
                counter.add(values)
        low, high = codes.amin(0), codes.amax(0)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)


def look_at(model: Autoencoder, split: str, images: Images, batch_size: int, codes: Codes) -> Tensor:
    """Pass a split through the frozen model: the squared error of each image (N,); its codes are added to `codes`."""
    errors = []
    steps = -(-len(images) // batch_size)
    for batch in stage.progress(images.in_order(batch_size), f"measuring {split}", steps, "batch"):
        reconstructions, quantized = model(batch)
        errors.append(measures.squared_error(batch, reconstructions))
        codes.add(quantized.codes.flatten(0, 2))
    return torch.cat(errors)


def usage_measures(quantizer: Quantizer, fitted: Codes, tested: Codes) -> dict[str, Any]:
    """How the codes are used. A lattice has no dead codes, but dimensions in which its codes take several values.

    n latents show no entropy above log2 n (`most_bits_seen`): where nearly every latent has a code of its own, the
    empirical entropy is too low. Of a lattice the sum over its dimensions, each coded by itself, bounds it from above.
    """
    in_use, aim = fitted.counter.distinct, quantizer.num_codes
    active = None
    if not quantizer.finite and fitted.low is not None and fitted.high is not None:
        active = int((fitted.low != fitted.high).sum())
    by_dimension = None
    if tested.components is not None:
        by_dimension = sum(counter.entropy_bits() for counter in tested.components)
    return {
        "codes_in_use": in_use,
        "codes_in_use_test": tested.counter.distinct,
        "utilization": measures.utilization(in_use, aim) if aim else None,
        "perplexity": tested.counter.perplexity(),
        "bits_per_latent": tested.counter.entropy_bits(),
        "bits_per_latent_by_dimension": by_dimension,
        "most_bits_seen": math.log2(tested.counter.total),
        "dead_codes": aim - in_use if quantizer.finite and aim else None,
        "active_dimensions": active,
    }


def to_pixels(images: Tensor, offset: float) -> np.ndarray:
    """Images (N, C, H, W) as uint8 (N, H, W, C); what lies outside of [0, 1] is cut off."""
    pixels = (images.float() + offset).clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


if __name__ == "__main__":
    stage.run(main)
