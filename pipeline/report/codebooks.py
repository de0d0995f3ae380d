"""The second paper's figures: number of codes against their dimension at one capacity, and the adaptive quantizer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report import summary
from pipeline.report.drawing import MARKERS, WIDTH, Picture, by_epoch, looks, scale_errors
from pipeline.report.read import CHOSEN, Results, Row

MEASURES = ("test_mse", "quantization_loss", "gradient_gap", "utilization")
ACROSS = "balance-datasets"
MOST_CLASSES = 20  # each with a bar and a name of its own


def family(results: Results, dataset: str) -> tuple[list[Row], Row | None]:
    """The rows of fixed codebooks in the order of the paper, and the adaptive row."""
    rows = {row.variant: row for row in results.of(dataset)}
    fixed = [rows[name] for name in results.papers["balance"]["models"] if name in rows and name != "adaptive"]
    return fixed, rows.get("adaptive")


def draw(results: Results, dataset: str) -> Iterator[tuple[Figure, Picture]]:
    """The figures of a data set; those against [N, D] for two codebooks or more."""
    fixed, adaptive = family(results, dataset)
    title = results.title(dataset)
    if len(fixed) > 1:
        yield from against(dataset, title, fixed, adaptive)
        yield from over_epochs(dataset, title, [*fixed, *([adaptive] if adaptive else [])])
    if adaptive:
        yield from selection(dataset, title, adaptive)


def against(dataset: str, title: str, fixed: Sequence[Row], adaptive: Row | None) -> Iterator[tuple[Figure, Picture]]:
    """Reconstruction error, quantization loss, gradient gap and utilization against [N, D]."""
    kept = [measure for measure in MEASURES if any(row.values(measure) for row in fixed)]
    if not kept:
        return
    lines = -(-len(kept) // 2)
    figure, axes = plt.subplots(
        lines, 2, figsize=(WIDTH, 0.6 + 2.7 * lines), squeeze=False, sharex=True, layout="constrained"
    )
    for panel, measure in zip(axes.flat, kept, strict=False):
        panel_of(panel, fixed, adaptive, measure)
    for panel in list(axes.flat)[len(kept) :]:
        panel.axis("off")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    names = ", ".join(fixed[0].measure(measure).title for measure in kept)
    yield (
        figure,
        Picture(
            f"{dataset}-codebooks",
            f"{title}: number of codes against their dimension",
            f"{names} on {title} for {len(fixed)} codebooks, from many dimensions to many codes, and the adaptive one.",
            """Codebooks [N, D] of one capacity N·D, beside the adaptive quantizer (dashed, with a band). Mean and
            standard deviation over the seeds. Error, quantization loss and gradient gap are those on test, the latter
            two of its first batch. Utilization is the share of the N codes that occur; of the adaptive
            quantizer, of the codes of all its codebooks together.""",
        ),
    )


def panel_of(panel: Axes, fixed: Sequence[Row], adaptive: Row | None, measure: str) -> None:
    """One measure against the codebooks."""
    kind = fixed[0].measure(measure)
    summaries = [(place, summary.of(row, measure)) for place, row in enumerate(fixed)]
    known = [(place, mean) for place, mean in summaries if mean]
    panel.errorbar(
        [place for place, _ in known],
        [kind.scale * mean.mean for _, mean in known],
        yerr=[kind.scale * (mean.std or 0.0) for _, mean in known],
        color="black",
        marker="o",
        capsize=2,
        label="fixed codebook",
    )
    ours = summary.of(adaptive, measure) if adaptive else None
    if adaptive and ours:
        mean, std = kind.scale * ours.mean, kind.scale * (ours.std or 0.0)
        panel.axhline(mean, color=adaptive.colour, linestyle="--", label="adaptive")
        panel.axhspan(mean - std, mean + std, color=adaptive.colour, alpha=0.15, linewidth=0)
    ticks(panel, [name_of(row) for row in fixed])
    panel.set_title(kind.head)
    if measure != "utilization":
        scale_errors(panel)
    else:
        panel.set_ylim(0, 1.1 * panel.dataLim.y1)


def ticks(panel: Axes, names: Sequence[str]) -> None:
    panel.set_xticks(np.arange(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)


def name_of(row: Row) -> str:
    return f"[{row.settings['quantizer']['num_codes']}, {dimension(row)}]"


def dimension(row: Row) -> int:
    """D of a codebook: its quantizer's own where it has one, else the model's."""
    return int(row.settings["quantizer"].get("code_dim") or row.settings["model"]["dim"])


def over_epochs(dataset: str, title: str, rows: Sequence[Row]) -> Iterator[tuple[Figure, Picture]]:
    """Gradient gap and quantization loss after every epoch, on validation."""
    shown = [row for row in rows if {"val_gradient_gap", "val_quantization_loss"} <= set(row.history)]
    if not shown or max(row.history["epoch"].max() for row in shown) < 2:
        return
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), layout="constrained")
    look = looks(shown)
    for panel, measure in zip(axes, ("gradient_gap", "quantization_loss"), strict=True):
        for row in shown:
            by_epoch(panel, row, f"val_{measure}", look[row.name], band=False)
        panel.set(title=f"{shown[0].measure(measure).title}, validation", xlabel="epoch")
    scale_errors(axes[1])
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    yield (
        figure,
        Picture(
            f"{dataset}-gradient-gap",
            f"{title}: gradient gap and quantization loss over the epochs",
            f"Gradient gap and quantization loss per epoch on {title} for {', '.join(row.title for row in shown)}.",
            """On the first validation batch after every epoch: how far the gradient that training follows, taken at the
            codes, is from that at the latents themselves, relative to the latter; and the mean squared distance
            between the two. Mean of the seeds. The tables show both on test.""",
        ),
    )


# what the adaptive quantizer selects


def selection(dataset: str, title: str, adaptive: Row) -> Iterator[tuple[Figure, Picture]]:
    """The share of each codebook: in training per epoch, and in the trained model per class of the test images."""
    names = [str(name) for name in adaptive.history if str(name).startswith(CHOSEN)]
    if not names:
        return
    books = [name.removeprefix(CHOSEN) for name in names]
    epochs = adaptive.history.groupby("epoch")[names].mean()
    classes = per_class(adaptive, books)
    figure, axes = plt.subplots(
        1, 2 if len(classes) else 1, figsize=(WIDTH, 3.8), squeeze=False, sharey=True, layout="constrained"
    )
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
    where = ", and on the test images of every class" if len(classes) else ""
    yield (
        figure,
        Picture(
            f"{dataset}-selection",
            f"{title}: which codebook the adaptive quantizer selects",
            f"Share of each codebook [N, D] in the choices of every epoch on {title}{where}, as stacked bars.",
            """The share of each codebook [N, D] in the choices: left those made in training, with the noise of
            Gumbel-Softmax, per epoch; right, where it is shown, those of the trained model, without noise, for all test
            images and for each class. Mean of the seeds.""",
        ),
    )


def per_class(adaptive: Row, books: Sequence[str]) -> pd.DataFrame:
    """A line for all test images and for each class, a column per codebook; mean of the seeds; empty if not recorded.

    More classes than can be named are sorted by the mean log2 N of their choices.
    """
    chosen: list[Mapping[str, Mapping[str, float]]] = [s["selection"] for s in adaptive.seeds if s.get("selection")]
    if not chosen:
        return pd.DataFrame(columns=list(books))
    frames = [pd.DataFrame.from_dict(dict(shares), orient="index")[list(books)] for shares in chosen]
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


# all data sets


def draw_across(results: Results) -> Iterator[tuple[Figure, Picture]]:
    """Reconstruction error and utilization against [N, D], a line per data set; nothing for fewer than two."""
    models = [name for name in results.papers["balance"]["models"] if name != "adaptive"]
    families = {dataset: family(results, dataset) for dataset in results.plan["datasets"]}
    families = {dataset: rows for dataset, rows in families.items() if len(rows[0]) > 1}
    if len(families) < 2:
        return
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained")
    colours = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
    for place, (dataset, (fixed, adaptive)) in enumerate(families.items()):
        look = {"color": colours[place % 10], "marker": MARKERS[place % len(MARKERS)], "markersize": 5}
        for panel, measure in zip(axes, ("test_mse", "utilization"), strict=True):
            kind = fixed[0].measure(measure)
            panel.set_title(kind.head)
            known = [(models.index(row.variant), summary.of(row, measure)) for row in fixed]
            points = [(at, kind.scale * mean.mean) for at, mean in known if mean]
            panel.plot(*zip(*points, strict=True), label=results.title(dataset), **look)
            ours = summary.of(adaptive, measure) if adaptive else None
            if ours:
                panel.plot(len(models), kind.scale * ours.mean, **look)
    names = [results.papers["balance"]["models"][name] for name in models]
    for panel in axes:
        ticks(panel, [*names, "adaptive"])
        panel.axvline(len(models) - 0.5, color="#BBBBBB", linewidth=0.8)
    scale_errors(axes[0])
    axes[1].set_ylim(0, 1.1 * axes[1].dataLim.y1)
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    titles = ", ".join(results.title(dataset) for dataset in families)
    yield (
        figure,
        Picture(
            ACROSS,
            "Balance: error and utilization of the codebooks on every data set",
            f"MSE on test and utilization against codebooks [N, D] and for the adaptive quantizer on {titles}.",
            """Codebooks [N, D] of one capacity, and at the right the adaptive quantizer; a line per data set, mean over
            the seeds.""",
        ),
    )
