"""How often each code is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Drawing

from pipeline.report.blocks import Figure
from pipeline.report.drawing import WIDTH, looks, plain
from pipeline.report.results import Group, Results, groups

TITLE = "Use of the codes"


def section(results: Results, dataset: str) -> Iterator[Figure]:
    shown, title = groups(results, dataset), results.title(dataset)
    names = "; ".join(row.title for group in shown for row in group.rows)
    yield Figure(
        f"{dataset}-usage",
        f"{title}: use of the codes",
        """How often each code was used on the test split, most used first (at most 4,096 codes); one line per seed.
        A line ends, at the dot, with the last code that is used: early is a collapse to few codes; a level line is an
        even use.""",
        f"Use of the codes on the test split of {title} by rank, log axes, for {names}.",
        lambda: draw(shown),
    )


def draw(shown: Sequence[Group]) -> Drawing:
    columns = min(2, len(shown))
    lines = -(-len(shown) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(WIDTH, 4.1 * lines), squeeze=False, layout="constrained", sharex=True, sharey=True
    )
    for panel, group in zip(axes.flat, shown, strict=False):
        look = looks(group.rows)
        for row in group.rows:
            for seed, counts in enumerate(row.pictures["usage"]):
                used = counts[counts > 0]
                label = row.title if seed == 0 else None
                panel.plot(np.arange(1, len(used) + 1), used, label=label, **{**look[row.name], "marker": ""})
                if len(used) < len(counts):  # else there are more codes than were kept
                    panel.plot(len(used), used[-1], label="_end", color=row.colour, marker=".")
        panel.set(title=group.title, xscale="log", yscale="log", xlabel="rank of the code")
        panel.tick_params(labelbottom=True)
        panel.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    for panel in axes.flat[: len(shown)]:
        plain(panel.xaxis)
        plain(panel.yaxis)
    for panel in axes[:, 0]:
        panel.set_ylabel("times used on test")
    for panel in list(axes.flat)[len(shown) :]:
        panel.axis("off")
    return figure
