"""The figures of a data set: reconstructions, training curves, use of the codes, error against rate."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import UInt8
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from pipeline.report import codebooks, counting, experiments, lattice, rates, speed, sweeps
from pipeline.report.drawing import STYLE, WIDTH, Picture, by_epoch, looks, plain, save, scale_errors
from pipeline.report.read import Results
from pipeline.report.tables import Group, groups

Drawn = Iterator[tuple[Figure, Picture]]


def draw_all(results: Results, folder: Path) -> dict[str, Picture]:
    """Draw every figure into `folder`, which is made; by name, in the order of the report.

    Where there are many rows, the figures of the data sets are drawn side by side, on as many cores as there are.
    """
    folder.mkdir(parents=True)
    tasks = []
    for dataset in results.plan["datasets"]:
        alone = replace(results, rows={row.name: row for row in results.of(dataset)})
        tasks += [(kind, alone, dataset, folder) for kind in OF_A_DATASET]
    gc.freeze()  # what is there stays; looking through it again and again takes a share of the time
    workers = min(cores(), len(tasks)) if len(results.rows) >= MANY else 1
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            pictures = list(pool.map(keep_kind, *zip(*tasks, strict=True)))
    else:
        pictures = [keep_kind(*task) for task in tasks]
    pictures.append(keep(of_all(results), folder))
    gc.unfreeze()
    return {picture.name: picture for several in pictures for picture in several}


MANY = 10  # rows from which more processes than one are worth their start


def keep_kind(kind: str, results: Results, dataset: str, folder: Path) -> list[Picture]:
    """Some of the figures of one data set, written to files."""
    return keep(OF_A_DATASET[kind](results, dataset), folder)


def keep(drawn: Drawn, folder: Path) -> list[Picture]:
    """Write the figures' files, each as soon as it is drawn."""
    pictures = []
    with mpl.rc_context(STYLE):
        for figure, picture in drawn:
            save(figure, folder / picture.name)
            pictures.append(picture)
    return pictures


def of_rows(results: Results, dataset: str) -> Drawn:
    """Reconstructions, training curves and use of the codes, which show every row in groups."""
    shown = groups(results, dataset)
    for draw in (reconstructions, curves, usage):
        yield draw(dataset, results.title(dataset), shown)


def of_papers(results: Results, dataset: str) -> Drawn:
    """Error against rate, the codebooks of one capacity, and the audit's experiments."""
    yield from rates.draw(results, dataset)
    yield from codebooks.draw(results, dataset)
    yield from experiments.draw(results, dataset)


OF_A_DATASET: dict[str, Callable[[Results, str], Drawn]] = {"rows": of_rows, "papers": of_papers}
"""Two kinds, so that the figures of one data set occupy two cores."""


def of_all(results: Results) -> Drawn:
    """What belongs to no single data set."""
    yield lattice.draw()
    for draw in (codebooks.draw_across, counting.draw, sweeps.draw, speed.draw):
        yield from draw(results)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reconstructions(dataset: str, title: str, shown: Sequence[Group]) -> tuple[Figure, Picture]:
    """Originals, then a line per variant (its first seed); the same images for all, pixels as they are."""
    rows = [row for group in shown for row in group.rows]
    originals = rows[0].pictures["originals"]
    strips = [("original", originals)]
    strips += [(row.title, row.pictures["reconstructions"][0]) for row in rows]
    whole = np.concatenate([strip(*fitting(images)) for _, images in strips])
    left = 2.0  # inches for the names
    figure = plt.figure()
    figure.set_size_inches(left + whole.shape[1] / figure.dpi, whole.shape[0] / figure.dpi)
    figure.figimage(whole, xo=round(left * figure.dpi), cmap="gray", vmin=0, vmax=255, origin="upper")
    for place, (name, _) in enumerate(strips):
        figure.text(
            (left - 0.1) / figure.get_figwidth(), 1 - (place + 0.5) / len(strips), name, ha="right", va="center"
        )
    return figure, Picture(
        f"{dataset}-reconstructions",
        f"{title}: reconstructions",
        f"{len(originals)} test images of {title} in the first line; below, as reconstructed by {names_of(shown)}.",
        """Test images and what each model makes of them (first seed); the same images for all, pixels enlarged as they
        are; pictures that are too large to stand side by side are reduced.""",
    )


STRIP, WIDEST = 840, 1400  # dots of a line of pictures: enlarged up to the one, reduced to the other


def fitting(images: UInt8[np.ndarray, "n h w c"]) -> tuple[np.ndarray, int, int]:
    """The images, the gap between them, and how many times to enlarge their pixels so that a line fits the page."""
    wide = len(images) * (images.shape[2] + 1)
    if wide <= WIDEST:
        return images, 1, max(1, STRIP // wide)
    factor = -(-wide // WIDEST)
    small = [np.asarray(Image.fromarray(image.squeeze()).reduce(factor)) for image in images]
    return np.stack(small).reshape(len(images), *small[0].shape[:2], images.shape[-1]), 1, 1


def strip(images: UInt8[np.ndarray, "n h w c"], gap: int = 1, times: int = 4) -> np.ndarray:
    """Images side by side with white gaps, every pixel a square of `times`² pixels; (h, w) or (h, w, 3)."""
    padded = np.pad(images, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    line = np.concatenate(list(padded), axis=1)
    line = line.repeat(times, axis=0).repeat(times, axis=1)
    return line[..., 0] if line.shape[-1] == 1 else line


def curves(dataset: str, title: str, shown: Sequence[Group]) -> tuple[Figure, Picture]:
    """Training and validation error per epoch."""
    figure, axes = plt.subplots(
        len(shown), 2, figsize=(WIDTH, 2.9 * len(shown)), squeeze=False, sharey="row", layout="constrained"
    )
    for line, group in zip(axes, shown, strict=True):
        look = looks(group.rows)
        for panel, (column, name) in zip(line, {"train_mse": "training", "val_mse": "validation"}.items(), strict=True):
            for row in group.rows:
                by_epoch(panel, row, column, look[row.name])
            panel.set(title=f"{group.title}: {name}", xlabel="epoch")
        for panel in line:
            scale_errors(panel)
        line[0].set_ylabel("MSE")
        line[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure, Picture(
        f"{dataset}-curves",
        f"{title}: training curves",
        f"Mean squared error per epoch on {title}, training and validation, for {names_of(shown)}.",
        """Mean over the seeds; the band runs from the smallest to the largest seed. Training error is the mean over the
        epoch's batches while the weights move, validation error is taken at its end.""",
    )


def usage(dataset: str, title: str, shown: Sequence[Group]) -> tuple[Figure, Picture]:
    """How often each code was used on the test split, most used first; one line per seed."""
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(WIDTH, 3.4 * lines), squeeze=False, layout="constrained", sharex=True, sharey=True
    )
    for panel, group in zip(axes.flat, shown, strict=False):
        look = looks(group.rows)
        for row in group.rows:
            for seed, counts in enumerate(row.pictures["usage"]):
                used = counts[counts > 0]
                label = row.title if seed == 0 else None
                panel.plot(np.arange(1, len(used) + 1), used, label=label, **{**look[row.name], "marker": ""})
        panel.set(title=group.title, xscale="log", yscale="log", xlabel="rank of the code")
        for axis in (panel.xaxis, panel.yaxis):
            plain(axis, (1.0,))
        panel.tick_params(labelbottom=True)
        panel.legend(fontsize=8, loc="upper right")
    for panel in axes[:, 0]:
        panel.set_ylabel("times used on test")
    for panel in list(axes.flat)[len(shown) :]:
        panel.axis("off")
    return figure, Picture(
        f"{dataset}-usage",
        f"{title}: use of the codes",
        f"Use of the codes on the test split of {title} by rank, log axes, for {names_of(shown)}.",
        """How often each code was used on the test split, most used first (at most 4,096 codes); one line per seed.
        A line that ends early is a collapse to few codes, a level line an even use.""",
    )


def names_of(shown: Sequence[Group]) -> str:
    return "; ".join(row.title for group in shown for row in group.rows)
