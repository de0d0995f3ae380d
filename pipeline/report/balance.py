"""The second paper's section: its main table, the adaptive quantizer beside the best fixed codebook, and its figures.

Its numbers are not available, so that none stand beside the measured ones; its claims are tested instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.report import codebooks, summary
from pipeline.report.drawing import Picture
from pipeline.report.evidence import wording
from pipeline.report.read import Results, Row
from pipeline.report.summary import NONE
from pipeline.report.tables import link, run_command, table

UNKNOWN = "not available"
MEASURES = ("seconds_first_epoch", "peak_memory_mb", "quantizer_parameters", "bits_per_latent")
"""What stands beside the errors of the adaptive quantizer and the best fixed codebook."""


def section(results: Results, pictures: Mapping[str, Picture]) -> list[str]:
    """Markdown paragraphs, or the command that runs what was not run."""
    paper: dict[str, Any] = results.papers["balance"]
    blocks = [" ".join(OPENING.split())]
    if not any(row.variant in paper["models"] for row in results.rows.values()):
        command = run_command("mnist", list(paper["models"]))
        return [*blocks, f"**Main table and figures:** not run; {command} measures and draws them for one data set."]
    blocks += ["**Main table:** reconstruction error (MSE on test).", main_table(results)]
    missing = [title for name, title in paper["datasets"].items() if name not in results.plan["datasets"]]
    if missing:
        blocks.append(f"Not run here: {', '.join(missing)}; their names go into `grid.datasets`.")
    beside = adaptive_table(results)
    if beside:
        blocks += [" ".join(BESIDE.split()), beside]
    if codebooks.ACROSS in pictures:
        blocks.append(pictures[codebooks.ACROSS].markdown())
    ran = [name for name in results.plan["datasets"] if len(codebooks.family(results, name)[0]) > 1]
    if ran:
        links = ", ".join(f"[{results.title(name)}](#{name})" for name in ran)
        blocks.append(
            f"**Figures:** loss, utilization and gradient gap against [N, D], over the epochs, and the selection per "
            f"epoch and class: see {links}."
        )
    return blocks


OPENING = """Codebooks [N, D] of one capacity N·D = 65,536, and a quantizer that picks one of them for each image. The
paper's published numbers are not available here, so that nothing can stand beside the measured ones; what it claims is
tested in the [verdicts](#verdicts). What the source at hand does not say (learning rate, epochs, temperature, heads,
how codes of another dimension fit the network) is this project's choice and stands in the settings of each row."""

BESIDE = """**The adaptive quantizer beside the best fixed codebook**, the one with the lowest mean error here. The
difference of the errors is taken seed by seed, with its 95 % interval; time is that of the first epoch, memory the most
that the process or the GPU held."""


def main_table(results: Results) -> str:
    """A line per codebook and the adaptive quantizer; a column per data set of this run, its best fixed one in bold."""
    datasets = [name for name in results.plan["datasets"] if any(codebooks.family(results, name))]
    best = {name: best_fixed(codebooks.family(results, name)[0]) for name in datasets}
    lines = []
    for variant, name in results.papers["balance"]["models"].items():
        cells = []
        for dataset in datasets:
            row = {row.variant: row for row in results.of(dataset)}.get(variant)
            cell = summary.number_of_seeds(row, "test_mse") if row else "not run"
            chosen = best[dataset]
            cells.append(f"**{cell}**" if row and chosen and chosen.name == row.name else cell)
        lines.append([name, UNKNOWN, *cells])
    return table(["[N, D]", "published", *map(results.title, datasets)], lines)


def best_fixed(rows: list[Row]) -> Row | None:
    """The row with the lowest mean error."""
    known = [row for row in rows if row.values("test_mse")]
    return min(known, key=lambda row: float(np.mean(row.values("test_mse"))), default=None)


def adaptive_table(results: Results) -> str:
    """Two lines per data set; empty where no adaptive row stands beside a fixed one."""
    lines = []
    for dataset in results.plan["datasets"]:
        fixed, adaptive = codebooks.family(results, dataset)
        best = best_fixed(fixed)
        if adaptive is None or best is None:
            continue
        for row in (adaptive, best):
            lines.append(
                [
                    results.title(dataset),
                    link(row),
                    summary.number_of_seeds(row, "test_mse"),
                    answer(adaptive, best) if row is adaptive else NONE,
                    *(summary.number(row, measure) for measure in MEASURES),
                ]
            )
    if not lines:
        return ""
    heads = ["data set", "model", "MSE on test", "difference"]
    return table([*heads, *(row.measure(measure).head for measure in MEASURES)], lines, left=2)


def answer(adaptive: Row, best: Row) -> str:
    """The paired difference of the errors and what it says."""
    return wording.difference(adaptive, best, "test_mse")
