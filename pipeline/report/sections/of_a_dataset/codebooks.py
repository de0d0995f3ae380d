"""The second paper's figures: number of codes against their dimension at one capacity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from pipeline.report import summary
from pipeline.report.blocks import Figure
from pipeline.report.drawing import WIDTH, by_epoch, looks, scale_errors
from pipeline.report.results import Results, Row

TITLE = "Number of codes against their dimension"
MEASURES = ("test_mse", "quantization_loss", "gradient_gap", "utilization")


def family(results: Results, dataset: str) -> tuple[list[Row], Row | None]:
    """The rows of fixed codebooks in the order of the paper, and the adaptive row."""
    rows = {row.variant: row for row in results.of(dataset)}
    fixed = [rows[name] for name in results.papers["balance"]["models"] if name in rows and name != "adaptive"]
    return fixed, rows.get("adaptive")


def section(results: Results, dataset: str) -> Iterator[Figure]:
    """Two figures, for two codebooks or more."""
    fixed, adaptive = family(results, dataset)
    if len(fixed) > 1:
        yield from against(dataset, results.title(dataset), fixed, adaptive)
        yield from over_epochs(dataset, results.title(dataset), [*fixed, *([adaptive] if adaptive else [])])


def against(dataset: str, title: str, fixed: Sequence[Row], adaptive: Row | None) -> Iterator[Figure]:
    """Reconstruction error, quantization loss, gradient gap and utilization against [N, D]."""
    kept = [measure for measure in MEASURES if any(row.values(measure) for row in fixed)]
    names = ", ".join(fixed[0].measure(measure).title for measure in kept)
    if kept:
        yield Figure(
            f"{dataset}-codebooks",
            f"{title}: number of codes against their dimension",
            """Codebooks [N, D] of one capacity N·D, beside the adaptive quantizer (dashed, with a band). Mean and
            standard deviation over the seeds. Error, quantization loss and gradient gap are those on test, the latter
            two of its first batch. Utilization is the share of the N codes that occur; of the adaptive quantizer, of
            the codes of all its codebooks together.""",
            f"{names} on {title} for {len(fixed)} codebooks, from many dimensions to many codes, and the adaptive one.",
            lambda: draw_against(fixed, adaptive, kept),
        )


def draw_against(fixed: Sequence[Row], adaptive: Row | None, kept: Sequence[str]) -> Drawing:
    lines = -(-len(kept) // 2)
    size = (WIDTH, 0.6 + 2.7 * lines)
    figure, axes = plt.subplots(lines, 2, figsize=size, squeeze=False, sharex=True, layout="constrained")
    for panel, measure in zip(axes.flat, kept, strict=False):
        panel_of(panel, fixed, adaptive, measure)
    for panel in list(axes.flat)[len(kept) :]:
        panel.axis("off")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


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


def over_epochs(dataset: str, title: str, rows: Sequence[Row]) -> Iterator[Figure]:
    """Gradient gap and quantization loss after every epoch, on validation."""
    shown = [row for row in rows if {"val_gradient_gap", "val_quantization_loss"} <= set(row.history)]
    if shown and max(row.history["epoch"].max() for row in shown) > 1:
        yield Figure(
            f"{dataset}-gradient-gap",
            f"{title}: gradient gap and quantization loss over the epochs",
            """On the first validation batch after every epoch: how far the gradient that training follows, taken at the
            codes, is from that at the latents themselves, relative to the latter; and the mean squared distance
            between the two. Mean of the seeds. The tables show both on test.""",
            f"Gradient gap and quantization loss per epoch on {title} for {', '.join(row.title for row in shown)}.",
            lambda: draw_epochs(shown),
        )


def draw_epochs(shown: Sequence[Row]) -> Drawing:
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), layout="constrained")
    look = looks(shown)
    for panel, measure in zip(axes, ("gradient_gap", "quantization_loss"), strict=True):
        for row in shown:
            by_epoch(panel, row, f"val_{measure}", look[row.name], band=False)
        panel.set(title=f"{shown[0].measure(measure).title}, validation", xlabel="epoch")
    scale_errors(axes[1])
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure
