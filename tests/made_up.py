"""Made-up results of a tiny run, in the files a real one leaves: for tests of the report only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core import files
from pipeline.core.paths import Paths
from pipeline.report import results

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


LABELS = {  # variant → title, meaning, colour; of any other variant the name
    "vq": ("VQ-VAE", "a codebook of K vectors, learned by gradient", "#D55E00"),
    "vq_ema": ("VQ-VAE (EMA)", "a codebook of K moving averages", "#009E73"),
    "lattice": ("LL-VQ-VAE", "a grid with one learned spacing per dimension", "#0072B2"),
    "lattice_dense": ("LL-VQ-VAE (dense)", "the same, pushed to be dense", "#0072B2"),
    "lattice_corrected": ("LL-VQ-VAE, corrected", "constant learning rate", "#0072B2"),
    "adaptive": ("adaptive", "several codebooks; attention picks one for each image", "#CC79A7"),
    "mine": ("A quantizer of my own", "what no file of the report has heard of", "#123456"),
}
MEASURES = [  # key, title, unit, scale, decimals, better, split, its key among published numbers
    ("seconds", "training time", "s", 1.0, 1, "lower", None, "duration"),
    ("seconds_per_epoch", "time per epoch", "s", 1.0, None, "lower", None, None),
    ("seconds_first_epoch", "time of the first epoch", "s", 1.0, 1, "lower", None, None),
    ("peak_memory_mb", "memory", "MB", 1.0, 0, "lower", None, None),
    ("quantizer_parameters", "parameters", "", 1.0, 0, "lower", None, "parameters"),
    ("codes_moving", "codes in training mode", "", 1.0, 0, None, "train", None),
    ("codes_in_initial_box", "codes still where they began", "", 1.0, 0, None, None, None),
    ("spacing_off_ramp", "spacing's distance from a ramp", "", 1.0, None, None, None, None),
    ("selected_log2_codes", "log₂ of the size of the selected codebook", "", 1.0, 2, None, "train", None),
    ("quantization_loss", "quantization loss", "", 1.0, None, "lower", "test", None),
    ("gradient_gap", "gradient gap", "", 1.0, 3, "lower", "test", None),
    ("bits_per_latent", "bits per latent", "bits", 1.0, 2, None, "test", None),
    ("bits_per_latent_by_dimension", "bits per latent, by dimension", "bits", 1.0, 2, None, "test", None),
    ("most_bits_seen", "bits per latent that can be seen", "bits", 1.0, 2, None, "test", None),
    ("bits_per_pixel", "bits per pixel", "bits", 1.0, 2, None, "test", None),
    ("val_mse", "MSE on validation", "", 1.0, None, "lower", "val", "mse"),
    ("test_mse", "MSE on test", "", 1.0, None, "lower", "test", "mse"),
    ("test_psnr", "PSNR", "dB", 1.0, 2, "higher", "test", None),
    ("codes_in_use", "codes in use", "", 1.0, 0, None, "train+val", "codes"),
    ("codes_in_use_test", "codes in use, test", "", 1.0, 0, None, "test", None),
    ("utilization", "utilization", "%", 100.0, 1, "higher", "train+val", None),
    ("perplexity", "perplexity", "", 1.0, 1, "higher", "test", None),
    ("dead_codes", "dead codes", "", 1.0, 0, "lower", "train+val", None),
    ("active_dimensions", "active dimensions", "", 1.0, 1, None, "train+val", None),
    ("codes_counted", "codes counted", "", 1.0, 0, None, "train+val", None),
    ("codes_collision_bound", "probability of a wrong count, at most", "", 1.0, None, "lower", "train+val", None),
    ("counting_seconds", "time to count codes", "s", 1.0, 2, "lower", "train+val", None),
    ("sharpness", "sharpness of my own", "lines/mm", 10.0, 1, "higher", "val", None),
]
FIELDS = ("key", "title", "unit", "scale", "decimals", "better", "split", "published")


def make(
    root: Path,
    datasets: tuple[str, ...] = ("photos", "fashion_mnist"),
    variants: tuple[str, ...] = tuple(VARIANTS),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> Paths:
    """Write plan, settings, histories, runs and descriptions of data sets under `root`; gives its paths."""
    paths = Paths(root)
    plan = {
        "rows": [f"{dataset}-{variant}" for dataset in datasets for variant in variants],
        "datasets": list(datasets),
        "variants": list(variants),
        "seeds": list(seeds),
        "sweeps": {},
        "benchmark": [],
        "report": {"margin": 0.1},
        "labels": {variant: label(variant) for variant in variants},
        "measures": [dict(zip(FIELDS, measure, strict=True)) for measure in MEASURES],
    }
    files.write_yaml(paths.plan, plan)
    for dataset in datasets:
        write_about(paths, dataset)
        for variant in variants:
            write_row(paths, dataset, variant, seeds)
    return paths


def label(variant: str) -> dict[str, str]:
    title, meaning, colour = LABELS.get(variant, (variant, f"what {variant} means", "#666666"))
    return {"title": title, "meaning": meaning, "colour": colour}


def add_sweep(paths: Paths, name: str, setting: str, values: list[Any], **stated: Any) -> None:
    """Add a sweep on photos to made-up results: value i has an error of (i + 1) / 100 and about 10^(i + 1) codes.

    Args:
        stated: `variants`, `epochs` and what else a sweep states.
    """
    variants, epochs = stated.pop("variants", ("lattice",)), stated.pop("epochs", 3)
    called = {"title": setting, "symbol": setting.partition(".")[2], "measures": None}
    about: dict[str, Any] = {**called, **stated, "setting": setting, "values": values}
    about |= {"variants": list(variants), "model": {}, "quantizer": {}, "train": {"epochs": epochs}, "rows": []}
    for variant in variants:
        for place, value in enumerate(values):
            end = str(value).replace("-", "minus_").replace(".", "_")
            swept = {"name": name, "variant": variant, "setting": setting, "value": value}
            row = write_row(paths, "photos", variant, (0, 1, 2), (f"{variant}_{name}_{end}", swept, epochs))
            run = files.read_json(paths.measured(row))
            for seed in run["seeds"]:
                seed |= {"test_mse": (place + 1) / 100, "codes_in_use": 10 ** (place + 1) + seed["seed"]}
            files.write_json(paths.measured(row), run)
            about["rows"].append(row)
    plan = files.read_yaml(paths.plan)
    plan["sweeps"][name] = about
    plan["labels"] |= {variant: label(variant) for variant in variants}
    files.write_yaml(paths.plan, plan)


def add_benchmark(paths: Paths, part: str, lines: list[dict[str, Any]], **more: Any) -> None:
    """Add a part of the benchmark to made-up results."""
    result = {
        "part": part,
        "environment": {"device": "a made-up CPU", "threads": 1, "torch": "2.12"},
        "quick": False,
        "finished": True,
        "clock": "processor",
        "load": [0.0, 0.0, 0.0],
        "machine": {"bandwidth_gb_per_s": 20.0, "arithmetic_gflop_per_s": 90.0},
        "lines": lines,
    }
    files.write_json(paths.benchmark(part), {**result, **more})
    plan = files.read_yaml(paths.plan)
    files.write_yaml(paths.plan, {**plan, "benchmark": [*plan["benchmark"], part]})


def write_about(paths: Paths, dataset: str) -> None:
    about = {
        "dataset": dataset,
        "title": {"photos": "Photographs", "fashion_mnist": "Fashion-MNIST"}.get(dataset, dataset),
        "url": "https://example.org/" + dataset,
        "licence": "MIT",
        "cite": "A. Author, Some Images, 2017",
        "shape": list(SHAPES.get(dataset, (8, 8, 1))),
        "offset": 0.5 if dataset.endswith("mnist") else 0.0,
        "counts": {"train": 9000, "val": 1000, "test": 1000},
    }
    files.write_yaml(paths.prepared(dataset) / "about.yaml", about)
    np.save(paths.prepared(dataset) / "test.npy", smooth(24, SHAPES.get(dataset, (8, 8, 1))))


def write_row(
    paths: Paths,
    dataset: str,
    variant: str,
    seeds: tuple[int, ...],
    swept: tuple[str, dict[str, Any], int] | None = None,
) -> str:
    """Write what a row leaves, and give its name.

    Args:
        swept: of a row of a sweep: its own variant, its key `sweep` and its epochs.
    """
    other = variant.partition("_")[0] if variant.startswith(("kd_", "adaptive", "mine")) else "vq_ema"
    quantizer, constant, error, codes = VARIANTS.get(variant, (other, True, 0.01, 100))
    shape = variant.removeprefix("kd_").split("x") if variant.startswith("kd_") else ("512", "64")
    kind = {"learning": variant.removeprefix("lattice_")} if variant in ("lattice_frozen", "lattice_ramp") else {}
    train = {"epochs": EPOCHS, "batch_size": 64, "lr": 0.001, "lr_decay": 1.0 if constant else 0.0}
    settings: dict[str, Any] = {
        "dataset": dataset,
        "variant": variant,
        "seeds": list(seeds),
        "model": {"dim": 64, "hidden": [64]},
        "quantizer": {"name": quantizer, "num_codes": int(shape[0]), "code_dim": int(shape[1])} | kind,
        "train": {**train, "backprop_at_zero_lr": True, "max_images": None},
        "code": {"pipeline/train/loop.py": "00ff"},
    }
    if swept:
        settings["variant"], settings["sweep"], settings["train"]["epochs"] = swept
        section, _, key = settings["sweep"]["setting"].partition(".")
        settings[section][key] = settings["sweep"]["value"]
    name = f"{dataset}-{settings['variant']}"
    files.write_yaml(paths.row_settings(name), settings)
    run = {
        "row": name,
        "dataset": dataset,
        "variant": settings["variant"],
        "settings": settings,
        "environment": ENVIRONMENT,
        "trace": [point for seed in seeds for point in trace(variant, quantizer, seed)],
        "images": IMAGES,
        "seeds": [measures(seed, quantizer, error, codes) | extras(variant, seed) for seed in seeds],
    }
    files.write_json(paths.measured(name), run)
    write_history(paths.history(name), variant, seeds, error, constant)
    write_pictures(paths.arrays(name), dataset, quantizer, len(seeds), error, codes)
    return name


IMAGES = {"train": 8000, "measured": {"train": 8000, "val": 1000, "test": 900}}
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
        "codes_collision_bound": 2e-30 * (codes + seed) ** 2 if lattice else None,
        "quantization_loss": 0.021 * wobble,
        "gradient_gap": 0.31 * wobble,
        "sharpness": 4.2 * wobble if quantizer == "mine" else None,
        "quantizer_parameters": 64 if lattice else 512 * 64,
        "seconds_per_epoch": 12.5 * wobble,
        "seconds_first_epoch": 12.6 * wobble,
        "seconds": 62.5 * wobble,
        "peak_memory_mb": 400 + 10 * seed,
    }


def extras(variant: str, seed: int) -> dict[str, Any]:
    """What only some quantizers record: which codebook is selected."""
    if variant != "adaptive":
        return {}
    groups = ["all", *map(str, range(10))]
    shares = {name: {"512x128": k / 10, "65536x1": 1 - k / 10} for k, name in enumerate(groups)}
    return {"selected_log2_codes": 10.5, "selection": shares}


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
        point = {"spacing_mean": spacing, "spacing_min": spacing / 10, "spacing_max": 2 * spacing}
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
                    "val_quantization_loss": 0.02 * fall,
                    "val_gradient_gap": 0.3 * fall,
                    "val_codes": 90 + epoch,
                    **(spacing if variant.startswith("lattice") else {}),
                    "seed": seed,
                    "epoch": epoch,
                    "learning_rate": 0.001 if constant or epoch == 1 else 0.0,
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
    return {"chosen_512x128": epoch / 10, "chosen_65536x1": 1 - epoch / 10, "selected_log2_codes": 16 - 0.7 * epoch}


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


def row(variant: str, *, seeds: Sequence[dict[str, Any]] = (), **stated: Any) -> results.Row:
    """A row in memory, without files: `seeds` and `stated` are what of `Row` a test is about."""
    shown = results.Label(**label(variant))
    empty: dict[str, Any] = {"settings": {}, "environment": {}, "history": pd.DataFrame(), "pictures": {}}
    empty |= {"measured": results.per_seed(seeds), "measures": {one[0]: results.Measure(*one) for one in MEASURES}}
    empty["selection"] = [one["selection"] for one in seeds if one.get("selection")]
    return results.Row(name=f"dots-{variant}", dataset="dots", variant=variant, label=shown, **{**empty, **stated})
