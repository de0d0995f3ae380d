"""Measure every seed of a row with the model frozen.

models/<row>/, reports/history/<row>.csv, data/prepared/<dataset>/
    → reports/runs/<row>.json   the measures of every seed, settings, environment
    → reports/runs/<row>.npz    pictures, and how often each code was used
"""

from __future__ import annotations

import argparse
import csv
import functools
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pipeline import autoencoder
from pipeline.autoencoder import Autoencoder
from pipeline.core import cli, devices, files, parallel, ranks
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths, read_settings
from pipeline.datasets.io import batches
from pipeline.datasets.io.batches import Images
from pipeline.metrics import MEASURES, Measured, diagnostics, gradients, reconstruction
from pipeline.metrics.counting import Codes

SPLITS = ("train", "val", "test")
USAGE = 4096
"""Codes in a usage histogram: the most used ones."""
PIXELS = 2**24
"""Of the images measured together: 16 of 1024×1024, for which some quantizers hold matrices of many GB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", help="<dataset>-<variant>, as the plan names it")
    row = parser.parse_args().row
    if ranks.started() > 1:  # they would write the same files
        raise UserError(f"evaluation is one process, not {ranks.started()}: run `python -m pipeline.evaluate {row}`.")
    cli.keep_freed_memory()
    evaluate_row(row, read_settings(row), files.read_yaml(Paths().evaluate_settings))


def evaluate_row(row: str, settings: dict[str, Any], options: dict[str, Any], paths: Paths = Paths()) -> None:
    """Measure all seeds and write the row's two files.

    Args:
        settings: the row's, as the plan wrote them.
        options: the section `evaluate` of params.yaml.
    """
    files.check_writable(*paths.results)
    device = devices.choose(settings["train"]["device"])
    batches.check(paths.prepared(settings["dataset"]))
    about = files.read_json(paths.model(row) / "about.json")
    work = functools.partial(evaluate_seed, row, settings, options, paths)
    results = parallel.parallel_map(work, settings["seeds"], device, settings["train"]["threads"])
    seeds = []
    for seed, (numbers, _) in zip(settings["seeds"], results, strict=True):
        seeds.append({"seed": seed, **finite_or_none(numbers)})
        cli.log.info("%s seed %d: test MSE %.5f, %d codes", row, seed, numbers["test_mse"], numbers["codes_in_use"])
    splits = _splits(settings, options, paths, device)
    _write_arrays(row, [arrays for _, arrays in results], splits["test"], options["pictures"], paths)
    content = {"row": row, "dataset": settings["dataset"], "variant": settings["variant"], "settings": settings}
    content |= {"environment": about["environment"], "trace": about["trace"]}
    content["images"] = {"train": about["images"], "measured": {name: len(images) for name, images in splits.items()}}
    files.write_json(paths.measured(row), {**content, "seeds": seeds})


def _splits(settings: dict[str, Any], options: dict[str, Any], paths: Paths, device: torch.device) -> dict[str, Images]:
    prepared = paths.prepared(settings["dataset"])
    return {split: Images(prepared, split, device, options["max_images"]) for split in SPLITS}


def _write_arrays(row: str, seeds: list[dict[str, np.ndarray]], test: Images, pictures: int, paths: Paths) -> None:
    """The arrays of all seeds, and the images that they reconstruct."""
    arrays = {name: np.stack([seed[name] for seed in seeds]) for name in seeds[0]}
    arrays["moving_batches"] = arrays["moving_batches"][0]  # the same for every seed
    arrays["originals"] = batches.to_pixels(test.batch(shown(len(test), pictures)), test.offset)
    with files.replacing(paths.arrays(row)) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


@torch.no_grad()
def evaluate_seed(
    row: str, settings: dict[str, Any], options: dict[str, Any], paths: Paths, seed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The measures of one seed's model, and its arrays: reconstructions, usage, codes counted while it moves."""
    device = devices.choose(settings["train"]["device"])
    devices.set_precision(settings["train"]["precision"])
    splits = _splits(settings, options, paths, device)
    test, images_at_once = splits["test"], at_once(options["batch_size"], splits["test"].shape)
    about = files.read_json(paths.model(row) / "about.json")
    history = _history(paths.history(row), seed)
    model = autoencoder.build(settings, test.shape, seed)
    start = {name: value.clone() for name, value in model.quantizer.state_dict().items()}
    autoencoder.load(model, paths.weights(row, seed))
    steps = -(-about["images"] // settings["train"]["batch_size"])  # per epoch
    learned = model.quantizer.learned(start, steps * sum(line["learning_rate"] for line in history))
    model.to(device).eval()
    memory, errors, shares = options["counting_memory"] * 10**6, {}, {}
    fitted, tested = Codes(memory), Codes(memory, by_dimension=True)
    for split, codes in (("train", fitted), ("val", fitted), ("test", tested)):
        errors[split], shares[split] = pass_once(model, splits[split], images_at_once, codes, f"measuring {split}")
    loss, gap = gradients.quantization_costs(
        model.encode, model.quantizer, model.decode, test.batch(slice(0, images_at_once))
    )
    shuffled = splits["train"].shuffled(settings["train"]["batch_size"], torch.Generator().manual_seed(0), flip=False)
    measured = Measured(
        quantizer=model.quantizer,
        shape=test.shape,
        errors=errors,
        fitted=fitted,
        tested=tested,
        quantization_loss=loss,
        gradient_gap=gap,
        learned=learned,
        moving=diagnostics.moving_codes(
            model.encode, model.quantizer, itertools.islice(shuffled, options["moving_batches"])
        ),
        history=history,
        peak_memory_mb=about["peak_memory_mb"],
    )
    numbers: dict[str, Any] = {measure.key: measure.compute(measured) for measure in MEASURES}
    books = model.quantizer.codebook_names
    numbers["selection"] = diagnostics.selection(shares["test"], books, test.labels) if books else None
    return numbers, _arrays(model, measured, test, options["pictures"])


def _history(path: Path, seed: int) -> list[dict[str, float]]:
    """The lines of a seed, without empty cells."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if int(line["seed"]) == seed]
    return [{column: float(value) for column, value in line.items() if value} for line in lines]


def _arrays(model: Autoencoder, measured: Measured, test: Images, pictures: int) -> dict[str, np.ndarray]:
    reconstructions = model(test.batch(shown(len(test), pictures)))[0]
    usage = measured.tested.counts(USAGE)
    return {
        "reconstructions": batches.to_pixels(reconstructions, test.offset),
        "usage": np.pad(usage, (0, USAGE - len(usage))),
        "moving_batches": np.array(list(measured.moving)),
        "moving_codes": np.array(list(measured.moving.values())),
    }


def at_once(batch_size: int, shape: tuple[int, int, int]) -> int:
    """How many images (C, H, W) are measured together: as many as asked for, up to `PIXELS`; at least one."""
    _, height, width = shape
    return max(1, min(batch_size, PIXELS // (height * width)))


def pass_once(
    model: Autoencoder, images: Images, batch_size: int, codes: Codes, what: str
) -> tuple[Float[Tensor, " images"], Float[Tensor, "images codebooks"]]:
    """Pass a split once through a frozen model, and add its codes to `codes`.

    Args:
        what: what is done, for the log.

    Returns:
        The mean squared error of each image, and which share of its codes is of each codebook; no columns for a
        quantizer that does not choose among several.
    """
    errors, shares = [], []
    for batch in cli.progress(images.in_order(batch_size), what, -(-len(images) // batch_size), "batch"):
        reconstructions, quantized = model(batch)
        errors.append(reconstruction.squared_error(batch, reconstructions))
        shares.append(_shares(model, quantized.codes))
        codes.add(quantized.codes.flatten(0, 2))
    return torch.cat(errors), torch.cat(shares)


def _shares(model: Autoencoder, codes: Int[Tensor, "b h columns ..."]) -> Float[Tensor, "b codebooks"]:
    count = len(model.quantizer.codebook_names)
    if count == 0:
        return torch.empty(len(codes), 0)
    owner = model.quantizer.codebook_of(codes).flatten(1)
    return F.one_hot(owner, count).double().mean(1).cpu()


def shown(images: int, pictures: int) -> Int[Tensor, " pictures"]:
    """Which images of a split are shown: spread over it evenly, since neighbours often look alike."""
    return torch.linspace(0, images - 1, min(images, pictures)).round().long()


def finite_or_none(numbers: dict[str, Any]) -> dict[str, Any]:
    """None for what is infinite or undefined, e.g. the PSNR of a perfect reconstruction, which JSON cannot hold."""
    return {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in numbers.items()}


if __name__ == "__main__":
    cli.run(main)
