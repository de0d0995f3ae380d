"""The second paper: number of codes against their dimension at one capacity, and the adaptive quantizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report import summary, words
from pipeline.report.drawing import COLOURS, WIDTH, Picture, scale_errors, shade
from pipeline.report.read import CHOSEN, Results, Row

MEASURES = ("test_mse", "quantization_loss", "gradient_gap")


def family(results: Results, dataset: str) -> tuple[list[Row], Row | None]:
    """The rows of fixed codebooks in the order of the paper, and the adaptive row."""
    rows = {row.variant: row for row in results.of(dataset)}
    fixed = [rows[name] for name in results.papers["balance"]["models"] if name in rows and name != "adaptive"]
    return fixed, rows.get("adaptive")


def draw(results: Results, dataset: str) -> Iterator[tuple[Figure, Picture]]:
    """Reconstruction error, quantization loss and gradient gap against [N, D]; nothing for fewer than two codebooks."""
    fixed, adaptive = family(results, dataset)
    if adaptive:
        yield from selection(dataset, results.title(dataset), adaptive)
    kept = [measure for measure in MEASURES if any(row.values(measure) for row in fixed)]
    if len(fixed) < 2 or not kept:
        return
    figure, axes = plt.subplots(1, len(kept), figsize=(WIDTH, 3.6), squeeze=False, layout="constrained")
    for panel, measure in zip(axes[0], kept, strict=True):
        panel_of(panel, fixed, adaptive, measure)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    title = results.title(dataset)
    names = ", ".join(words.MEASURES[measure].name for measure in kept)
    yield (
        figure,
        Picture(
            f"{dataset}-codebooks",
            f"{title}: number of codes against their dimension",
            f"{names} on {title} for {len(fixed)} codebooks, from many dimensions to many codes, and the adaptive one.",
            """Codebooks [N, D] of one capacity N·D, beside the adaptive quantizer (line with band). Mean and standard
        deviation over the seeds.""",
        ),
    )


def panel_of(panel: Axes, fixed: Sequence[Row], adaptive: Row | None, measure: str) -> None:
    """One measure against the codebooks."""
    found = [(place, summary.of(row, measure)) for place, row in enumerate(fixed)]
    known = [(place, one) for place, one in found if one]
    places, means = [place for place, _ in known], [one.mean for _, one in known]
    panel.errorbar(
        places,
        means,
        yerr=[one.std or 0.0 for _, one in known],
        color=COLOURS["vq_ema"],
        marker="o",
        capsize=2,
        label="fixed codebook",
    )
    ours = summary.of(adaptive, measure) if adaptive else None
    if ours:
        panel.axhline(ours.mean, color=COLOURS["adaptive"], linestyle="--", label="adaptive")
        panel.axhspan(ours.mean - (ours.std or 0), ours.mean + (ours.std or 0), color=COLOURS["adaptive"], alpha=0.2)
    labels = [f"[{row.settings['quantizer']['num_codes']}, {dimension(row)}]" for row in fixed]
    panel.set_xticks(np.arange(len(fixed)), labels, rotation=60, ha="right", fontsize=8)
    panel.set_title(words.MEASURES[measure].name)
    scale_errors(panel)


def dimension(row: Row) -> int:
    """D of a codebook: its quantizer's own where it has one, else the model's."""
    return int(row.settings["quantizer"].get("code_dim") or row.settings["model"]["dim"])


def selection(dataset: str, title: str, adaptive: Row) -> Iterator[tuple[Figure, Picture]]:
    """The share of each codebook in the choices of an epoch, the mean of the seeds."""
    names = [name for name in adaptive.history if str(name).startswith(CHOSEN)]
    if not names:
        return
    shares = adaptive.history.groupby("epoch")[names].mean()
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")
    below = np.zeros(len(shares))
    for name in names:
        codes, dim = str(name).removeprefix(CHOSEN).split("x")
        axes.bar(shares.index, shares[name], bottom=below, color=shade(int(codes)), label=f"[{codes}, {dim}]")
        below += shares[name].to_numpy()
    axes.set(xlabel="epoch", ylabel="share of the choices")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)
    yield (
        figure,
        Picture(
            f"{dataset}-selection",
            f"{title}: which codebook the adaptive quantizer selects",
            f"Share of each codebook [N, D] in the choices of every epoch on {title}, as stacked bars.",
            """The share of each codebook [N, D] in the choices made in training, per epoch; mean of the seeds.""",
        ),
    )
