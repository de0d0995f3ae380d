"""Which codebook the adaptive quantizer selects, in training and on the test images of each class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from pipeline.report.blocks import Figure
from pipeline.report.drawing import WIDTH
from pipeline.report.results import CHOSEN, Results, Row

TITLE = "Which codebook is selected"
MOST_CLASSES = 20  # each with a bar and a name of its own


def section(results: Results, dataset: str) -> Iterator[Figure]:
    """The share of each codebook: in training per epoch, and in the trained model per class of the test images."""
    adaptive = results.by_variant(dataset).get("adaptive")
    names = [str(name) for name in adaptive.history] if adaptive else []
    books = [name.removeprefix(CHOSEN) for name in names if name.startswith(CHOSEN)]
    if adaptive is None or not books:
        return
    classes = per_class(adaptive, books)
    where = ", and on the test images of every class" if len(classes) else ""
    yield Figure(
        f"{dataset}-selection",
        f"{results.title(dataset)}: which codebook the adaptive quantizer selects",
        """The share of each codebook [N, D] in the choices: left those made in training, with the noise of
        Gumbel-Softmax, per epoch; right, where it is shown, those of the trained model, without noise, for all test
        images and for each class. Mean of the seeds.""",
        f"Share of each codebook [N, D] in the choices of every epoch on {results.title(dataset)}{where}, as stacked "
        "bars.",
        lambda: draw(adaptive, books, classes),
    )


def draw(adaptive: Row, books: Sequence[str], classes: pd.DataFrame) -> Drawing:
    epochs = adaptive.history.groupby("epoch")[[CHOSEN + book for book in books]].mean()
    count = 2 if len(classes) else 1
    figure, axes = plt.subplots(1, count, figsize=(WIDTH, 3.8), squeeze=False, sharey=True, layout="constrained")
    stack(axes[0][0], epochs.index.to_numpy(), epochs.to_numpy(), books)
    axes[0][0].set(xlabel="epoch", ylabel="share of the choices", title="in training")
    axes[0][0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(classes):
        panel = axes[0][1]
        stack(panel, np.arange(len(classes)), classes.to_numpy(), books)
        panel.set(title="trained, on the test images")
        if len(classes) <= MOST_CLASSES + 1:
            panel.set_xticks(np.arange(len(classes)), [str(name) for name in classes.index], fontsize=8)
            panel.set_xlabel("all, then each class by its number")
        else:
            panel.set_xlabel(f"{len(classes) - 1} classes, from smaller to larger codebooks; all at the left")
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)
    return figure


def per_class(adaptive: Row, books: Sequence[str]) -> pd.DataFrame:
    """A line for all test images and for each class, a column per codebook; mean of the seeds; empty if not recorded.

    More classes than can be named are sorted by the mean log2 N of their choices.
    """
    if not adaptive.selection:
        return pd.DataFrame(columns=list(books))
    frames = [pd.DataFrame.from_dict(shares, orient="index")[list(books)] for shares in adaptive.selection]
    mean = sum(frames[1:], frames[0]) / len(frames)
    rest = mean.drop(index="all")
    if len(rest) > MOST_CLASSES:
        sizes = np.log2([int(book.split("x")[0]) for book in books])
        rest = rest.iloc[np.argsort(rest.to_numpy() @ sizes, kind="stable")]
    elif all(name.lstrip("-").isdigit() for name in rest.index):
        rest = rest.loc[sorted(rest.index, key=int)]
    return pd.concat([mean.loc[["all"]], rest])


def shade(codes: int) -> str:
    """The colour of a codebook among those of one capacity: from few codes (512, dark) to many (65,536, light)."""
    return str(to_hex(colormaps["viridis"](min(max(math.log2(codes / 512) / 8, 0.0), 1.0))))


def stack(panel: Axes, places: np.ndarray, shares: np.ndarray, books: Sequence[str]) -> None:
    """Bars that add up to 1, one colour per codebook."""
    below = np.zeros(len(shares))
    width = 0.8 if len(places) <= MOST_CLASSES + 1 else 1.0
    for share, book in zip(shares.T, books, strict=True):
        codes, dim = book.split("x")
        panel.bar(places, share, width, bottom=below, color=shade(int(codes)), label=f"[{codes}, {dim}]")
        below += share
    panel.grid(visible=False)
    panel.set_ylim(0, 1.001)
