"""Made-up results of a tiny run, in the files a real one leaves: for tests of the report only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core import files

VARIANTS = {  # variant → quantizer, constant learning rate, error, codes in use
    "vq": ("vq", False, 0.013, 20),
    "vq_ema": ("vq_ema", False, 0.04, 180),
    "lattice": ("lattice", False, 0.009, 500),
    "lattice_dense": ("lattice", False, 0.006, 90000),
    "lattice_wide": ("lattice", False, 0.008, 2000),
    "lattice_frozen": ("lattice", False, 0.0095, 450),
    "lattice_ramp": ("lattice", False, 0.0091, 510),
    "vq_corrected": ("vq", True, 0.011, 30),
    "vq_ema_corrected": ("vq_ema", True, 0.007, 400),
    "lattice_corrected": ("lattice", True, 0.012, 300),
}
SHAPES = {"photos": (32, 32, 3), "fashion_mnist": (28, 28, 1)}
EPOCHS = 5


def make(
    root: Path,
    datasets: tuple[str, ...] = ("photos", "fashion_mnist"),
    variants: tuple[str, ...] = tuple(VARIANTS),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> None:
    """Write plan, settings, histories, runs and descriptions of data sets under `root`."""
    settings = root / "reports/settings"
    rows = [f"{dataset}-{variant}" for dataset in datasets for variant in variants]
    plan = {"rows": rows, "datasets": list(datasets), "variants": list(variants), "seeds": list(seeds)}
    files.write_yaml(settings / "plan.yaml", {**plan, "changed": {"train.max_images": 2000}})
    for dataset in datasets:
        write_about(root, dataset)
        for variant in variants:
            write_row(root, dataset, variant, seeds)


def write_about(root: Path, dataset: str) -> None:
    about = {
        "dataset": dataset,
        "title": {"photos": "Photographs", "fashion_mnist": "Fashion-MNIST"}.get(dataset, dataset),
        "url": "https://example.org/" + dataset,
        "licence": "MIT",
        "cite": "A. Author, Some Images, 2017",
        "shape": list(SHAPES.get(dataset, (8, 8, 1))),
        "offset": 0.5 if dataset.endswith("mnist") else 0.0,
        "counts": {"train": 8000, "val": 1000, "test": 1000},
    }
    files.write_yaml(root / f"data/prepared/{dataset}/about.yaml", about)
    np.save(root / f"data/prepared/{dataset}/test.npy", smooth(24, SHAPES.get(dataset, (8, 8, 1))))


def write_row(root: Path, dataset: str, variant: str, seeds: tuple[int, ...]) -> None:
    other = variant.partition("_")[0] if variant.startswith(("kd_", "adaptive")) else "vq_ema"
    quantizer, constant, error, codes = VARIANTS.get(variant, (other, True, 0.01, 100))
    name = f"{dataset}-{variant}"
    shape = variant.removeprefix("kd_").split("x") if variant.startswith("kd_") else ("512", "64")
    kind = {"learning": variant.removeprefix("lattice_")} if variant in ("lattice_frozen", "lattice_ramp") else {}
    settings: dict[str, Any] = {
        "dataset": dataset,
        "variant": variant,
        "seeds": list(seeds),
        "model": {"dim": 64, "hidden": [64]},
        "quantizer": {"name": quantizer, "num_codes": int(shape[0]), "code_dim": int(shape[1])} | kind,
        "train": {"epochs": EPOCHS, "batch_size": 64, "lr": 0.001, "lr_decay": 1.0 if constant else 0.0},
        "code": {"pipeline/train.py": "00ff"},
    }
    files.write_yaml(root / f"reports/settings/{name}.yaml", settings)
    run = {
        "row": name,
        "dataset": dataset,
        "variant": variant,
        "settings": settings,
        "environment": ENVIRONMENT,
        "trace": [point for seed in seeds for point in trace(variant, quantizer, seed)],
        "seeds": [measures(seed, quantizer, error, codes) | extras(variant, seed) for seed in seeds],
    }
    files.write_json(root / f"reports/runs/{name}.json", run)
    write_history(root / f"reports/history/{name}.csv", variant, seeds, error, constant)
    write_pictures(root / f"reports/runs/{name}.npz", dataset, quantizer, len(seeds), error, codes)


ENVIRONMENT = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "date": "2026-01-02T03:04:05+00:00",
    "python": "3.11.9",
    "torch": "2.12.0",
    "device": "Some(R) CPU",
    "threads": 2,
    "platform": "Linux",
}


def measures(seed: int, quantizer: str, error: float, codes: int) -> dict[str, Any]:
    wobble = 1 + 0.05 * math.sin(3 * seed + codes)
    lattice = quantizer == "lattice"
    return {
        "seed": seed,
        "val_mse": error * wobble,
        "test_mse": 1.02 * error * wobble,
        "test_psnr": -10 * math.log10(1.02 * error * wobble),
        "codes_in_use": codes + seed,
        "codes_in_use_test": codes - seed,
        "utilization": (codes + seed) / 512,
        "perplexity": codes / 2 * wobble,
        "bits_per_latent": math.log2(codes / 2 * wobble),
        "most_bits_seen": 16.0,
        "bits_per_latent_by_dimension": 2 * math.log2(codes / 2 * wobble) if lattice else None,
        "bits_per_pixel": math.log2(codes / 2 * wobble) / 4,
        "dead_codes": None if lattice else 512 - codes - seed,
        "active_dimensions": 5 + seed if lattice else None,
        "codes_moving": codes * 10 if quantizer == "vq_ema" else codes - 2,
        "codes_in_initial_box": 400 if quantizer == "vq" else None,
        "spacing_off_ramp": 0.002 + 0.001 * seed if lattice else None,
        "codes_counted": 90_000,
        "counting_seconds": 0.5 * wobble,
        **(counted(codes + seed) if lattice else {}),
        "quantizer_parameters": 64 if lattice else 512 * 64,
        "seconds_per_epoch": 12.5 * wobble,
        "seconds": 62.5 * wobble,
        "peak_memory_mb": 400 + 10 * seed,
    }


def counted(codes: int) -> dict[str, float]:
    """What only vectors record of their counting."""
    estimate = {"codes_estimated": 1.004 * codes, "codes_estimate_error": 1.04 / 2**7}
    return {**estimate, "codes_collision_bound": 2e-30 * codes**2}


def extras(variant: str, seed: int) -> dict[str, Any]:
    """What only some quantizers record: which codebook is selected."""
    if variant != "adaptive":
        return {}
    groups = ["all", *map(str, range(10))]
    books = ("512x128", "65536x1")
    return {"selection": {name: dict(zip(books, (k / 10, 1 - k / 10), strict=True)) for k, name in enumerate(groups)}}


STEPS = 125  # in an epoch: 8,000 images in batches of 64


def trace(variant: str, quantizer: str, seed: int) -> list[dict[str, float]]:
    """The spacing at 25 steps of every epoch: a ramp, less a little where it is learned."""
    if quantizer != "lattice":
        return []
    constant = variant in VARIANTS and VARIANTS[variant][1]
    found: list[dict[str, float]] = []
    for step in range(0, EPOCHS * STEPS + 1, STEPS // 25):
        travelled = 0.001 * (step if constant else min(step, STEPS))
        spacing = 5 + 0.01 * seed + {"lattice_frozen": 0.0, "lattice_ramp": 1.0}.get(variant, 0.98) * travelled
        point = {"spacing": spacing, "spacing_least": spacing / 10, "spacing_most": 2 * spacing}
        found.append({"seed": seed, "step": step, **point})
    return found


def write_history(path: Path, variant: str, seeds: tuple[int, ...], error: float, constant: bool) -> None:
    lines = []
    for seed in seeds:
        for epoch in range(1, EPOCHS + 1):
            fall = 1 + (2 / epoch if constant else 0.6 if epoch == 1 else 0) + 0.03 * seed
            spacing = {"spacing_mean": 5 + 0.01 * seed + (0 if variant == "lattice_frozen" else 0.2 * fall)}
            lines.append(
                {
                    **(choices(epoch) if variant == "adaptive" else {}),
                    "quantization_loss": 0.02 * fall,
                    "gradient_gap": 0.3 * fall,
                    **(spacing if variant.startswith("lattice") else {}),
                    "seed": seed,
                    "epoch": epoch,
                    "lr": 0.001 if constant or epoch == 1 else 0.0,
                    "train_mse": 1.1 * error * fall,
                    "train_loss": 1.3 * error * fall,
                    "val_mse": error * fall,
                    "seconds": 12.5,
                }
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(lines).to_csv(path, index=False)


def choices(epoch: int) -> dict[str, float]:
    """From the larger codebook to the smaller."""
    return {"chosen_512x128": epoch / 10, "chosen_65536x1": 1 - epoch / 10}


def write_pictures(path: Path, dataset: str, quantizer: str, seeds: int, error: float, codes: int) -> None:
    """Smooth images; reconstructions with noise of the row's error; use of the codes after Zipf's law."""
    rng = np.random.default_rng(0)
    originals = smooth(8, SHAPES.get(dataset, (8, 8, 1)))
    noise = rng.normal(0, 255 * error**0.5, (seeds, *originals.shape))
    reconstructions = np.clip(originals + noise, 0, 255).astype(np.uint8)
    usage = np.zeros((seeds, 4096), dtype=np.int64)
    kept = min(codes, 4096)
    usage[:, :kept] = np.maximum(1, 200_000 / np.arange(1, kept + 1) ** (0.5 + 20 * error))
    path.parent.mkdir(parents=True, exist_ok=True)
    batches = 2 ** np.arange(7)
    counts = codes * (batches if quantizer == "vq_ema" else 1 - 0.5**batches)
    np.savez_compressed(
        path,
        originals=originals,
        reconstructions=reconstructions,
        usage=usage,
        moving_batches=batches,
        moving_codes=np.tile(counts.astype(np.int64), (seeds, 1)),
    )


def smooth(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Images of waves, uint8 (count, H, W, C)."""
    height, width, channels = shape
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (i % 4 + 2) + c) + np.cos(y / (i + 2)) for i in range(count) for c in range(channels)]
    stacked = np.stack(waves).reshape(count, channels, height, width).transpose(0, 2, 3, 1)
    return (stacked * 60 + 128).astype(np.uint8)
