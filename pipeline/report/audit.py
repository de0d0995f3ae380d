"""The audit: what the authors' code does that the text does not say, each point as an experiment of this pipeline.

The points stand in pipeline/papers/ll_vq_vae.yaml; a point's `finding` names a function below that says, from the rows
of one data set, what was found. A function gives None where the rows it needs were not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pipeline.report import claims, summary, words
from pipeline.report.drawing import WIDTH, Picture, by_epoch, colour, looks, plain, scale_errors
from pipeline.report.read import Results, Row
from pipeline.report.summary import NONE
from pipeline.report.tables import run_command, table

Rows = Mapping[str, Row]


def section(results: Results, pictures: Mapping[str, Picture]) -> list[str]:
    """The points with their findings, what one switch changes, and the figures."""
    datasets = results.plan["datasets"]
    parts = ['<a id="audit"></a>\n\n## The audit', " ".join(OPENING.split()), points(results)]
    for dataset in datasets:
        title = results.title(dataset)
        parts += [f"### {title}: what was found", findings(results, dataset)]
        found = switches(results, dataset)
        parts += [f"### {title}: what a setting changes", " ".join(SWITCHES.split()), found] if found else []
        for name, picture in pictures.items():
            if name.startswith(f"{dataset}-audit-"):
                parts += [f"### {picture.title}", picture.markdown()]
    return parts


OPENING = """The published code was read and measured beside the text. Each line is something it does that can change a
result, and how this pipeline treats it: as a setting, a control or a measure."""

SWITCHES = """Each row beside the first row of the same quantizer: the settings in which they differ, and the paired
difference of the errors with its 95 % interval. Where the learning rate differs, so does the amount of training."""


def points(results: Results) -> str:
    """A line per point."""
    lines = [
        [str(place), one["point"], one["here"]] for place, one in enumerate(results.papers["ll_vq_vae"]["audit"], 1)
    ]
    return table(["", "the published code", "here"], lines, left=3)


def findings(results: Results, dataset: str) -> str:
    """A line per point that a data set's rows say something about, or the command that runs the rows it needs."""
    rows = {row.variant: row for row in results.of(dataset)}
    lines = []
    for place, one in enumerate(results.papers["ll_vq_vae"]["audit"], 1):
        found = find(one.get("finding"), rows)
        if found == NONE and "variants" in one:
            found = f"not run; {run_command(dataset, one['variants'])}"
        if found != NONE:
            lines.append([str(place), found])
    return table(["point", "found"], lines, left=2)


def find(finding: str | None, rows: Rows) -> str:
    """What a point's function found, or a dash."""
    if finding is None:
        return NONE
    name, *words_ = finding.split()
    return FINDINGS[name](rows, *words_) or NONE


# findings


def late_epochs(rows: Rows) -> str | None:
    """The validation error after the last epoch relative to that after the first."""
    told = []
    for variant in ("vq", "vq_ema", "lattice", "vq_corrected", "vq_ema_corrected", "lattice_corrected"):
        if variant in rows and rows[variant].history["epoch"].max() > 1:
            told.append(f"`{variant}` {100 * late_change(rows[variant]):+.1f} %")
    return "error from the first to the last epoch: " + ", ".join(told) if told else None


def late_change(row: Row) -> float:
    """Mean over the seeds of the relative change of the validation error from the first to the last epoch."""
    errors = row.history.pivot(index="seed", columns="epoch", values="val_mse")
    return float((errors.iloc[:, -1] / errors.iloc[:, 0]).mean() - 1)


def ramp(rows: Rows) -> str | None:
    """How far the learned spacing is from a pure ramp, and what learning does to the error."""
    told = []
    off = summary.of(rows["lattice"], "spacing_off_ramp") if "lattice" in rows else None
    if off:
        told.append(f"largest distance of a spacing from init plus steps: {summary.write(off, 4)}")
    for control in ("lattice_ramp", "lattice_frozen"):
        if "lattice" in rows and control in rows:
            told.append(f"error of `lattice` − `{control}`: {paired_difference(rows['lattice'], rows[control])}")
    return "; ".join(told) or None


def moving(rows: Rows) -> str | None:
    """Distinct codes with the model frozen, and over batches in training mode."""
    told = []
    for variant in ("vq", "vq_ema", "lattice"):
        row = rows.get(variant)
        frozen, moved = (summary.of(row, key) if row else None for key in ("codes_in_use", "codes_moving"))
        if row and frozen and moved:
            batches = int(row.pictures["moving_batches"][-1])
            told.append(
                f"`{variant}` {summary.write(frozen, 0)} frozen, {summary.write(moved, 0)} over {batches} batches in "
                "training mode"
            )
    return "; ".join(told) or None


def dead(rows: Rows) -> str | None:
    """Dead codes, and codes that never left their initial box."""
    told = []
    for variant in ("vq_ema", "vq"):
        found = summary.of(rows[variant], "dead_codes") if variant in rows else None
        if found:
            codes = rows[variant].settings["quantizer"]["num_codes"]
            told.append(f"`{variant}` {summary.write(found, 0)} of {codes} dead")
    boxed = summary.of(rows["vq"], "codes_in_initial_box") if "vq" in rows else None
    if boxed:
        told.append(f"`vq` {summary.write(boxed, 0)} still in their box")
    return "; ".join(told) or None


def switch(rows: Rows, key: str) -> str | None:
    """The difference in error between two rows that differ in one setting alone."""
    found = []
    for row in rows.values():
        base = base_of(row, rows)
        changed = differences(base.settings, row.settings) if base else {}
        if base and len(changed) == 1 and next(iter(changed)).split(".")[-1] == key:
            value = next(iter(changed.values()))
            found.append(f"`{key}: {value}` in `{row.variant}`: error {paired_difference(row, base)}")
    return "; ".join(found) or None


def perplexity(rows: Rows) -> str | None:
    told = [f"`{name}` {summary.write(summary.of(rows[name], 'perplexity'), 1)}" for name in PUBLISHED if name in rows]
    return ", ".join(told) or None


def rate(rows: Rows) -> str | None:
    told = [
        f"`{name}` {summary.write(summary.of(rows[name], 'bits_per_latent'), 2)}" for name in PUBLISHED if name in rows
    ]
    return "bits per latent: " + ", ".join(told) if told else None


def speed(rows: Rows) -> str | None:
    told = [
        f"`{name}` {summary.write(summary.of(rows[name], 'seconds_per_epoch'), 1)}"
        for name in PUBLISHED
        if name in rows
    ]
    return "seconds per epoch: " + ", ".join(told) if told else None


def active(rows: Rows) -> str | None:
    told = []
    for name, row in rows.items():
        found = summary.of(row, "active_dimensions")
        if found:
            told.append(f"`{name}` {summary.write(found, 1)}")
    return f"of {next(iter(rows.values())).settings['model']['dim']}: " + ", ".join(told) if told else None


def constant(rows: Rows) -> str | None:
    """Where the error of a lattice that trains at a constant learning rate is lowest."""
    row = rows.get("lattice_corrected")
    if row is None:
        return None
    mean = row.history.groupby("epoch")["val_mse"].mean().to_numpy()
    best, last = int(mean.argmin()), len(mean) - 1
    if best == last:
        return f"still falling after {last + 1} epochs; more `train.epochs` go on"
    return f"lowest after epoch {best + 1} of {last + 1}, then {100 * (mean[last] / mean[best] - 1):+.1f} %"


def numbers(rows: Rows) -> str | None:
    """Numbers in the latents against numbers in the image."""
    row = next(iter(rows.values()))
    shape = row.pictures["originals"].shape[1:]
    rates = zip(row.values("bits_per_pixel"), row.values("bits_per_latent"), strict=True)
    per_pixel = [a / b for a, b in rates if b]
    if not per_pixel:
        return None
    pixels = shape[0] * shape[1]
    latents = per_pixel[0] * pixels * row.settings["model"]["dim"]
    return f"{latents:,.0f} against {pixels * shape[2]:,}"


PUBLISHED = ("vq", "vq_ema", "lattice")
FINDINGS: dict[str, Callable[..., str | None]] = {
    function.__name__: function
    for function in (late_epochs, ramp, moving, dead, switch, perplexity, rate, speed, active, constant, numbers)
}


# what settings change


def switches(results: Results, dataset: str) -> str:
    """A line per row that has an earlier row of the same quantizer to stand beside."""
    rows = {row.variant: row for row in results.of(dataset)}
    lines = []
    for row in rows.values():
        base = base_of(row, rows)
        if base:
            changed = differences(base.settings, row.settings)
            told = ", ".join(f"`{key}` = {value}" for key, value in changed.items())
            lines.append([f"`{row.variant}`", f"`{base.variant}`", told, paired_difference(row, base)])
    heads = ["row", "beside", "settings that differ", "difference in MSE on test"]
    return table(heads, lines, left=3) if lines else ""


def base_of(row: Row, rows: Rows) -> Row | None:
    """The first row of the same quantizer; None for that row itself."""
    first = next(other for other in rows.values() if other.quantizer == row.quantizer)
    return None if first is row else first


def differences(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key → value, for the settings of `settings` that `base` has otherwise."""
    found = {}
    for part in ("model", "quantizer", "train"):
        for key, value in settings[part].items():
            if base[part].get(key) != value:
                found[f"{part}.{key}"] = value
    return found


def paired_difference(one: Row, other: Row) -> str:
    try:
        pairs = claims.paired(one, other, "test_mse")
    except claims.Unjudgeable as reason:
        return str(reason)
    return claims.bounds(claims.interval([a - b for a, b in pairs]), sign="+")


# figures


def draw(results: Results, dataset: str) -> Iterator[tuple[Figure, Picture]]:
    """The figures whose rows were run."""
    rows = {row.variant: row for row in results.of(dataset)}
    title = results.title(dataset)
    for name, make in (("epochs", epochs), ("spacing", spacing), ("counts", counts), ("codes", codes)):
        figure = make(rows)
        if figure:
            heading, alt, caption = FIGURES[name]
            yield figure, Picture(f"{dataset}-audit-{name}", f"{title}: {heading}", f"{title}: {alt}", caption)


FIGURES = {
    "epochs": (
        "what epochs after the first change",
        "learning rate per epoch, and validation error relative to the first epoch, as published and corrected.",
        """Left, the learning rate of each epoch: as published it is 0 from the second on. Right, the validation error
        relative to that after the first epoch: solid as published, dashed corrected. Mean over the seeds, band from the
        smallest to the largest.""",
    ),
    "spacing": (
        "the lattice's spacing, learned and not",
        "mean absolute spacing per epoch, and validation error, of learned, frozen, ramped and corrected lattices.",
        """Left, the mean absolute spacing after each epoch: learned, moved by the size loss alone (ramp), frozen, and
        at a constant learning rate. Where learned and ramp lie on one another, learning adds nothing to the ramp.
        Right, their validation errors.""",
    ),
    "counts": (
        "codes counted with the model frozen and while it moves",
        "distinct quantized vectors against batches passed in training mode, with the count over the frozen model.",
        """Distinct quantized vectors over training batches passed in training mode, as the paper's counts were taken: a
        codebook that moves at every batch gives new vectors at every batch. Crosses at the right: distinct codes over
        all training and validation images with the model frozen. Mean of the seeds.""",
    ),
    "codes": (
        "what became of the K codes",
        "for each codebook the share of codes in use, dead, and dead inside their initial box.",
        """Codes in use over training and validation images, dead codes that moved, and dead codes that never left the
        box in which plain VQ starts (±1/K). Mean of the seeds.""",
    ),
}


def epochs(rows: Rows) -> Figure | None:
    """Learning rate and relative validation error per epoch, as published and corrected."""
    shown = [rows[name] for base in PUBLISHED for name in (base, f"{base}_corrected") if name in rows]
    if not shown or max(row.history["epoch"].max() for row in shown) < 2:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained")
    for row in shown:
        look = {"color": colour(row), "linestyle": "-" if row.rate_decays else "--", "marker": "o"}
        first = row.history[row.history["epoch"] == 1].set_index("seed")["val_mse"]
        row.history["relative"] = row.history["val_mse"] / row.history["seed"].map(first)
        by_epoch(axes[0], row, "lr", look)
        by_epoch(axes[1], row, "relative", look)
    axes[0].set(title="learning rate", xlabel="epoch")
    axes[1].set(title="validation MSE, relative to epoch 1", xlabel="epoch")
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def spacing(rows: Rows) -> Figure | None:
    """Mean spacing and validation error per epoch."""
    names = ("lattice", "lattice_ramp", "lattice_frozen", "lattice_corrected")
    shown = [rows[name] for name in names if name in rows and "spacing_mean" in rows[name].history]
    if not shown:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained")
    look = looks(shown)
    for row in shown:
        by_epoch(axes[0], row, "spacing_mean", look[row.name])
        by_epoch(axes[1], row, "val_mse", look[row.name])
    axes[0].set(title="mean absolute spacing", xlabel="epoch")
    axes[1].set(title="validation MSE", xlabel="epoch")
    scale_errors(axes[1])
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def counts(rows: Rows) -> Figure | None:
    """Distinct vectors against batches in training mode, beside the count over the frozen model."""
    shown = [rows[name] for name in PUBLISHED if name in rows and "moving_codes" in rows[name].pictures]
    if not shown:
        return None
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
    for row in shown:
        batches, moved = row.pictures["moving_batches"], row.pictures["moving_codes"].mean(0)
        axes.plot(batches, moved, color=colour(row), marker="o", markersize=4, label=words.title(row.variant))
        frozen = float(np.mean(row.values("codes_in_use")))
        axes.plot(1.3 * batches[-1], frozen, color=colour(row), marker="X", markersize=9, linestyle="")
    codes_ = shown[0].settings["quantizer"]["num_codes"]
    axes.axhline(codes_, color="#666666", linestyle=":", label=f"K = {codes_}")
    axes.set(
        xscale="log", yscale="log", xlabel="batches in training mode (cross: model frozen)", ylabel="distinct vectors"
    )
    for axis in (axes.xaxis, axes.yaxis):
        plain(axis, (1.0,))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def codes(rows: Rows) -> Figure | None:
    """In use, dead and moved, dead in the initial box, for every codebook."""
    shown = [row for row in rows.values() if row.values("dead_codes")]
    if not shown:
        return None
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.42 * len(shown)), layout="constrained")
    for place, row in enumerate(reversed(shown)):
        dead_, used = (float(np.mean(row.values(key))) for key in ("dead_codes", "codes_in_use"))
        boxed = min(dead_, float(np.mean(row.values("codes_in_initial_box") or [0.0])))
        left = 0.0
        for size, shade, label in (
            (used, 1.0, "in use"),
            (dead_ - boxed, 0.45, "dead"),
            (boxed, 0.15, "dead, in its box"),
        ):
            named = label if place == 0 else None
            axes.barh(place, size, left=left, color=colour(row), alpha=shade, label=named)
            left += size
    axes.set_yticks(range(len(shown)), [words.title(row.variant) for row in reversed(shown)])
    axes.set_xlabel("codes")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure
