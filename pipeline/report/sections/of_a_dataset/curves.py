"""Training and validation error per epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Drawing

from pipeline.report.blocks import Figure
from pipeline.report.drawing import WIDTH, by_epoch, looks, scale_errors
from pipeline.report.results import Group, Results, groups

TITLE = "Training curves"


def section(results: Results, dataset: str) -> Iterator[Figure]:
    shown, title = groups(results, dataset), results.title(dataset)
    names = "; ".join(row.title for group in shown for row in group.rows)
    yield Figure(
        f"{dataset}-curves",
        f"{title}: training curves",
        """Mean over the seeds; the band runs from the smallest to the largest seed. Training error is the mean over the
        epoch's batches while the weights move, validation error is taken at its end.""",
        f"Mean squared error per epoch on {title}, training and validation, for {names}.",
        lambda: draw(shown),
    )


def draw(shown: Sequence[Group]) -> Drawing:
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
    return figure
