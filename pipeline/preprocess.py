"""Stage: turn raw files into arrays in data/prepared/<dataset>/. `python -m pipeline.preprocess <dataset>`

    data/raw/<dataset> → {train,val,test}.npy (uint8, N×H×W×C), <split>_labels.npy (int64), about.yaml

The same raw files and settings give the same bytes: about.yaml holds no date and no path.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import datasets
from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.datasets.io import images

BLOCK = 1 << 24  # bytes of images that are summed together; `images.channel_sums` takes no more


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

    Raises:
        UserError: a split is missing, empty, not N×H×W×C bytes, or of another shape than the others.
    """
    counts, shapes = {}, {}
    for split in datasets.SPLITS:
        counts[split], *shapes[split] = _shape(folder, split, name)
    if len({tuple(shape) for shape in shapes.values()}) != 1:
        raise UserError(f"{name}: the splits hold images of different shapes: {shapes}.")
    array = folder / "train.npy"
    return {
        "dataset": name,
        **dataclasses.asdict(dataset.source),
        "shape": shapes["train"],
        "offset": dataset.offset,
        "counts": counts,
        "mean": [round(value, 6) for value in mean(array)] if array.exists() else [],
        "skipped": {},
        "sha256": {path.name: files.digest(path) for path in sorted(folder.iterdir())},
    }


def _shape(folder: Path, split: str, name: str) -> tuple[int, ...]:
    """(N, H, W, C) of an array; (N,) of a split that stays as image files, whose shape the data set states itself."""
    path, index = folder / f"{split}.npy", folder / f"{split}_index.npy"
    if index.is_file():
        return (len(np.load(index)) - 1,)
    if not path.is_file():
        raise UserError(f"{name}: preparing it left no {path.name}.")
    array: np.ndarray = np.load(path, mmap_mode="r")
    if array.dtype != np.uint8 or array.ndim != 4 or not array.size:
        raise UserError(
            f"{name}: {path.name} is {array.dtype} {array.shape}, expected uint8 (N, H, W, C), N at least 1."
        )
    return array.shape


def mean(path: Path) -> list[float]:
    """The mean of every channel of an array of bytes (N, H, W, C), pixels in [0, 1].

    Exact, by sums of whole numbers. Read piece by piece: pages of a memory map would count as memory of this process.
    """
    shape = np.load(path, mmap_mode="r").shape
    image = int(np.prod(shape[1:]))
    step, totals = max(1, BLOCK // image), np.zeros(shape[3], np.int64)
    with path.open("rb") as file:
        file.seek(path.stat().st_size - shape[0] * image)  # behind the head
        while len(block := np.fromfile(file, np.uint8, step * image)):
            totals += images.channel_sums(block.reshape(-1, *shape[1:]))
    return [int(value) / (255 * int(np.prod(shape[:3]))) for value in totals]


if __name__ == "__main__":
    cli.run(main)
