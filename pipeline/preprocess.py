"""Stage: turn raw files into arrays in data/prepared/<dataset>/. `python -m pipeline.preprocess <dataset>`

    data/raw/<dataset> → {train,val,test}.npy (uint8, N×H×W×C), <split>_labels.npy (int64), about.yaml

The same raw files and settings give the same bytes: about.yaml holds no date and no path.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import datasets
from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths

BLOCK = 256  # images that are read and summed together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", help="a file of pipeline/datasets/")
    preprocess(parser.parse_args().dataset)


def preprocess(name: str, paths: Paths = Paths()) -> None:
    """Prepare the data set `name` from its raw files.

    Raises:
        UserError: no such data set or settings, nothing downloaded, or files that are not what they should be.
    """
    dataset, settings = datasets.from_settings(name, paths)
    raw, prepared = paths.raw(name), paths.prepared(name)
    if not raw.is_dir():
        raise UserError(f"there is no {raw}; run `python -m pipeline.download {name}` first.")
    with files.replacing(prepared) as folder:
        folder.mkdir()
        special = dataset.prepare(raw, folder)
        about = describe(name, dataset, folder) | {"settings": settings} | special
        files.write_yaml(folder / "about.yaml", about)
    left_out = f"; {len(about['skipped'])} left out, for the reasons in about.yaml" if about["skipped"] else ""
    counts = ", ".join(f"{count} {split}" for split, count in about["counts"].items())
    cli.log.info("%s: %s in %s%s", name, counts, prepared, left_out)


def describe(name: str, dataset: datasets.Dataset, folder: Path) -> dict[str, Any]:
    """What about.yaml says of every data set: source, shape, counts, the mean of train per channel, checksums.

    Of splits that stay as image files, the data set states the shape itself, and there is no mean.
    """
    counts, shape = {}, []
    for split in datasets.SPLITS:
        index = folder / f"{split}_index.npy"
        if index.is_file():
            counts[split] = len(np.load(index)) - 1
        else:
            counts[split], *shape = np.load(folder / f"{split}.npy", mmap_mode="r").shape
    return {
        "dataset": name,
        **dataclasses.asdict(dataset.source),
        "shape": shape,
        "offset": dataset.offset,
        "counts": counts,
        "mean": [round(value, 6) for value in mean(folder / "train.npy")] if shape else [],
        "skipped": {},
        "sha256": {path.name: files.digest(path) for path in sorted(folder.iterdir())},
    }


def mean(path: Path) -> list[float]:
    """The mean of every channel of an array of bytes (N, H, W, C), pixels in [0, 1]; exact: of whole numbers."""
    images = np.load(path, mmap_mode="r")
    blocks = (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))
    totals = sum(block.sum(axis=0, dtype=np.int64).sum(axis=(0, 1)) for block in blocks)
    return [int(total) / (255 * math.prod(images.shape[:3])) for total in totals]


if __name__ == "__main__":
    cli.run(main)
