"""The second paper: its main table, the adaptive quantizer beside the best fixed codebook, and all data sets together.

Its numbers are not available, so that none stand beside the measured ones; its claims are tested instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Drawing

from pipeline.report import summary
from pipeline.report.blocks import Block, Cell, Figure, Line, Table, Text, escape, paragraph, table
from pipeline.report.describe import link, run_command
from pipeline.report.drawing import MARKERS, WIDTH, scale_errors
from pipeline.report.evidence import wording
from pipeline.report.results import Results, Row
from pipeline.report.sections.of_a_dataset.codebooks import family, ticks
from pipeline.report.summary import NONE

TITLE = "Balance: the paper's table and figures"
UNKNOWN = "not available"
MEASURES = ("seconds_first_epoch", "peak_memory_mb", "quantizer_parameters", "bits_per_latent")
"""What stands beside the errors of the adaptive quantizer and the best fixed codebook."""


def section(results: Results) -> Iterator[Block]:
    """Its table and figures, or the command that runs what was not run."""
    paper: dict[str, Any] = results.papers["balance"]
    yield paragraph(OPENING)
    if not any(row.variant in paper["models"] for row in results.rows.values()):
        command = run_command("mnist", list(paper["models"]))
        yield Text(f"**Main table and figures:** not run; {command} measures and draws them for one data set.")
        return
    yield main_table(results)
    missing = [title for name, title in paper["datasets"].items() if name not in results.plan["datasets"]]
    if missing:
        yield Text(f"Not run here: {', '.join(missing)}; their names go into `grid.datasets`.")
    beside = adaptive_lines(results)
    if beside:
        heads = ["data set", "model", results.measures["test_mse"].head, "difference"]
        yield paragraph(BESIDE)
        yield table([*heads, *(results.measures[measure].head for measure in MEASURES)], beside, left=2)
    families = {dataset: family(results, dataset) for dataset in results.plan["datasets"]}
    families = {dataset: rows for dataset, rows in families.items() if len(rows[0]) > 1}
    if len(families) > 1:
        yield across(results, families)
    if families:
        links = ", ".join(f"[{escape(results.title(name))}](#figure-{name}-codebooks)" for name in families)
        yield paragraph(f"""**Figures:** loss, utilization and gradient gap against [N, D], over the epochs, and the
            selection per epoch and class: see {links}.""")


OPENING = """Codebooks [N, D] of one capacity N·D = 65,536, and a quantizer that picks one of them for each image. The
paper's published numbers are not available here, so that nothing can stand beside the measured ones; what it claims is
tested in the [verdicts](#verdicts). What the source at hand does not say (learning rate, epochs, temperature, heads,
how codes of another dimension fit the network) is this project's choice and stands in the settings of each row."""

BESIDE = """**The adaptive quantizer beside the best fixed codebook**, the one with the lowest mean error here. The
difference of the errors is taken seed by seed, with its 95 % interval; time is that of the first epoch, memory the most
that the process or the GPU held."""


def main_table(results: Results) -> Table:
    """A line per codebook and the adaptive quantizer; a column per data set of this run, its best fixed one in bold."""
    datasets = [name for name in results.plan["datasets"] if any(family(results, name))]
    best = {name: best_fixed(family(results, name)[0]) for name in datasets}
    lines: list[Line] = []
    for variant, name in results.papers["balance"]["models"].items():
        cells = []
        for dataset in datasets:
            row, chosen = results.by_variant(dataset).get(variant), best[dataset]
            cell = summary.with_seeds(row, "test_mse") if row else Cell("not run")
            cells.append(replace(cell, bold=bool(row and chosen and chosen.name == row.name)))
        lines.append([name, UNKNOWN, *cells])
    title = f"Main table: reconstruction error ({results.measures['test_mse'].head})"
    return table(["[N, D]", "published", *map(results.title, datasets)], lines, title=title)


def best_fixed(rows: Sequence[Row]) -> Row | None:
    """The row with the lowest mean error."""
    known = [row for row in rows if row.values("test_mse")]
    return min(known, key=lambda row: float(np.mean(row.values("test_mse"))), default=None)


def adaptive_lines(results: Results) -> list[Line]:
    """Two lines per data set; empty where no adaptive row stands beside a fixed one."""
    lines: list[Line] = []
    for dataset in results.plan["datasets"]:
        fixed, adaptive = family(results, dataset)
        best = best_fixed(fixed)
        if adaptive is None or best is None:
            continue
        for row in (adaptive, best):
            change = wording.difference(adaptive, best, "test_mse") if row is adaptive else NONE
            measured = (summary.cell(row, measure) for measure in MEASURES)
            error = summary.with_seeds(row, "test_mse")
            lines.append([results.title(dataset), link(row), error, change, *measured])
    return lines


Families = Mapping[str, tuple[list[Row], Row | None]]


def across(results: Results, families: Families) -> Figure:
    """Reconstruction error and utilization against [N, D], a line per data set."""
    return Figure(
        "balance-datasets",
        "Balance: error and utilization of the codebooks on every data set",
        """Codebooks [N, D] of one capacity, and at the right the adaptive quantizer; a line per data set, mean over
        the seeds.""",
        "Error on test and utilization against codebooks [N, D] and for the adaptive quantizer on "
        f"{', '.join(map(results.title, families))}.",
        lambda: draw(results, families),
    )


def draw(results: Results, families: Families) -> Drawing:
    titles = {name: title for name, title in results.papers["balance"]["models"].items() if name != "adaptive"}
    models = list(titles)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained")
    colours = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
    for place, (dataset, (fixed, adaptive)) in enumerate(families.items()):
        look = {"color": colours[place % 10], "marker": MARKERS[place % len(MARKERS)], "markersize": 5}
        for panel, measure in zip(axes, ("test_mse", "utilization"), strict=True):
            kind = results.measures[measure]
            panel.set_title(kind.head)
            known = [(models.index(row.variant), summary.of(row, measure)) for row in fixed]
            points = [(at, kind.scale * mean.mean) for at, mean in known if mean]
            panel.plot(*zip(*points, strict=True), label=results.title(dataset), **look)
            ours = summary.of(adaptive, measure) if adaptive else None
            if ours:
                panel.plot(len(models), kind.scale * ours.mean, **look)
    for panel in axes:
        ticks(panel, [*titles.values(), "adaptive"])
        panel.axvline(len(models) - 0.5, color="#BBBBBB", linewidth=0.8)
    scale_errors(axes[0])
    axes[1].set_ylim(0, 1.1 * axes[1].dataLim.y1)
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure
