"""The audit's figures: one for every point that a training can show. Each is drawn where the rows it needs were run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from pipeline.report import summary, svg
from pipeline.report.blocks import Figure
from pipeline.report.describe import differences
from pipeline.report.drawing import WIDTH, by_epoch, looks, plain, scale_errors
from pipeline.report.results import Row

Rows = Mapping[str, Row]
PUBLISHED = ("vq", "vq_ema", "lattice")
BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": 9}


def figures(dataset: str, title: str, rows: Rows) -> Iterator[Figure]:
    """Those whose rows were run, in the order of the audit's points."""
    traced = {variant: with_ramp(row) for variant, row in rows.items()}
    for make in FIGURES:
        made = make(traced)
        if made:
            key, shown = f"{dataset}-audit-{made.key}", f"{title}: {made.title}"
            yield replace(made, key=key, title=shown, alt=f"{title}: {made.alt}")


def epochs(rows: Rows) -> Figure | None:
    """Learning rate and relative validation error per epoch, as published and corrected."""
    shown = [rows[name] for base in PUBLISHED for name in (base, f"{base}_corrected") if name in rows]
    if not shown or max(row.history["epoch"].max() for row in shown) < 2:
        return None

    def draw() -> Drawing:
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained")
        for row in shown:
            look = {"color": row.colour, "linestyle": "-" if row.learning_rate_falls else "--", "marker": "o"}
            first = row.history[row.history["epoch"] == 1].set_index("seed")["val_mse"]
            relative = row.history["val_mse"] / row.history["seed"].map(first)
            by_epoch(axes[0], row, "learning_rate", look)
            by_epoch(axes[1], replace(row, history=row.history.assign(relative=relative)), "relative", look)
        axes[0].set(title="learning rate", xlabel="epoch")
        axes[1].set(title="validation MSE, relative to epoch 1", xlabel="epoch")
        axes[1].legend(**BESIDE)
        return figure

    return Figure(
        "epochs",
        "what epochs after the first change",
        """Left, the learning rate of each epoch: as published it is 0 from the second on. Right, the validation
        error relative to that after the first epoch: solid as published, dashed corrected. Mean over the seeds,
        band from the smallest to the largest.""",
        "learning rate per epoch, and validation error relative to the first epoch, as published and corrected.",
        draw,
    )


# the lattice's spacing


def spacing(rows: Rows) -> Figure | None:
    """Mean spacing, per step against the pure ramp where a trace was kept, else per epoch; and validation error."""
    names = ("lattice", "lattice_ramp", "lattice_frozen", "lattice_corrected")
    shown = [rows[name] for name in names if name in rows and "spacing_mean" in rows[name].history]
    if not shown:
        return None

    def draw() -> Drawing:
        kept = {row.name: row.trace for row in shown if "ramp" in row.trace}
        figure, axes = plt.subplots(1, 3 if kept else 2, figsize=(WIDTH, 3.6), layout="constrained")
        look = looks(shown)
        for row in shown:
            if row.name in kept:
                still = row.settings["quantizer"].get("learning") == "frozen"
                for panel, column in zip(axes, ("spacing_mean", "off_ramp")[: 1 if still else 2], strict=False):
                    mean = kept[row.name].groupby("step")[column].mean()
                    panel.plot(mean.index, mean, label=row.title, **{**look[row.name], "marker": ""})
            elif not kept:
                by_epoch(axes[0], row, "spacing_mean", look[row.name], band=False)
            by_epoch(axes[-1], row, "val_mse", look[row.name])
        if kept:
            longest = max(kept.values(), key=lambda trace: float(trace["ramp"].max()))
            ramp = longest.groupby("step")["ramp"].mean()
            axes[0].plot(ramp.index, ramp, color="black", linestyle=(0, (1, 2)), label="start + learning rate × steps")
            axes[1].set(title="spacing minus ramp", xlabel="step")
            # no factor beside the title
            axes[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes[0].set(title="mean absolute spacing", xlabel="step" if kept else "epoch")
        axes[-1].set(title="validation MSE", xlabel="epoch")
        scale_errors(axes[-1])
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), fontsize=9)
        return figure

    return Figure(
        "spacing",
        "the lattice's spacing, learned and not",
        """The mean absolute spacing while training: learned, moved by the size loss alone (ramp), frozen, and
        at a constant learning rate; dotted, the pure ramp, its start plus the learning rate at every step.
        Where learned and ramp lie on one another, learning adds nothing to the ramp. Right, the validation
        errors with a band from the smallest to the largest seed; else the mean of the seeds.""",
        "mean absolute spacing while training, and validation error, of learned, frozen, ramped and other lattices.",
        draw,
    )


def with_ramp(row: Row) -> Row:
    """The row with two more columns in its trace: the mean spacing of a pure `ramp`, and how far it is `off_ramp`.

    The ramp begins at the first recorded spacing and grows, for γ < 0 shrinks, by the learning rate at every step.
    """
    if "spacing_mean" not in row.trace:
        return row
    steps = -(-row.images["train"] // row.settings["train"]["batch_size"])
    direction = -1.0 if float(row.settings["quantizer"].get("gamma", 1.0)) < 0 else 1.0
    traces = []
    for seed, trace in row.trace.groupby("seed"):
        rates = row.history[row.history["seed"] == seed].sort_values("epoch")["learning_rate"].to_numpy()
        travelled = np.concatenate([[0.0], np.cumsum(rates * steps)])
        moved = np.interp(trace["step"], steps * np.arange(len(travelled)), travelled)
        ramp = trace["spacing_mean"].iloc[0] + direction * (moved - moved[0])
        traces.append(trace.assign(ramp=ramp, off_ramp=trace["spacing_mean"] - ramp))
    return replace(row, trace=pd.concat(traces, ignore_index=True))


def breaks(rows: Rows) -> Figure | None:
    """Lattices at a constant learning rate: error and codes in use while the spacing grows."""
    shown = steady_lattices(rows)
    if not shown or max(row.history["epoch"].max() for row in shown) < 2:
        return None

    def draw() -> Drawing:
        figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.4), layout="constrained")
        look = looks(shown)
        for row in shown:
            by_epoch(axes[0], row, "spacing_mean", look[row.name])
            by_epoch(axes[1], row, "val_mse", look[row.name])
            if "val_codes" in row.history:
                mean = row.history.groupby("epoch")[["spacing_mean", "val_codes"]].mean()
                axes[2].plot(mean["spacing_mean"], mean["val_codes"], **{**look[row.name], "marker": ""})
                continue  # the counts below are over training and validation images, which is no end of this line
            last = row.history[row.history["epoch"] == row.history["epoch"].max()].set_index("seed")["spacing_mean"]
            codes = row.by_seed("codes_in_use")
            axes[2].plot(last[codes.index], codes, **{**look[row.name], "linestyle": ""})
        axes[0].set(title="mean absolute spacing", xlabel="epoch")
        axes[1].set(title="validation MSE", xlabel="epoch")
        recorded = all("val_codes" in row.history for row in shown)
        axes[2].set(title="codes on validation" if recorded else "codes in use", xlabel="mean absolute spacing")
        for panel in axes[1:]:
            scale_errors(panel)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
        return figure

    return Figure(
        "breaks",
        "a lattice at a constant learning rate",
        """At a constant learning rate the size loss goes on driving the spacing apart. Left, the spacing per
        epoch; middle, the validation error; right, codes against the spacing: on validation after every epoch,
        or, where that was not recorded, those in use at the end, a marker per seed. Mean of the seeds, band
        from the smallest to the largest.""",
        "spacing, validation error and codes in use of lattices whose learning rate is constant.",
        draw,
    )


def dimensions(rows: Rows) -> Figure | None:
    """How many dimensions of each lattice take more than one value."""
    shown = [row for row in rows.values() if row.values("active_dimensions")]
    return (
        Figure(
            "dimensions",
            "active dimensions of the lattices",
            f"""Dimensions of a lattice, of {shown[0].settings["model"]["dim"]}, whose codes take more than one
        value over training and validation images; a dot per seed. All others carry nothing.""",
            "number of dimensions that take more than one value, for each lattice.",
            lambda: bars_of(shown, "active_dimensions"),
        )
        if shown
        else None
    )


# counts


def counts(rows: Rows) -> Figure | None:
    """Distinct vectors against batches in training mode, beside the count over the frozen model."""
    shown = [rows[name] for name in PUBLISHED if name in rows and "moving_codes" in rows[name].pictures]
    if not shown:
        return None

    def draw() -> Drawing:
        figure, axes = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
        for row in shown:
            batches, moved = row.pictures["moving_batches"], row.pictures["moving_codes"].mean(0)
            axes.plot(batches, moved, color=row.colour, marker="o", markersize=4, label=row.title)
            frozen = float(np.mean(row.values("codes_in_use")))
            axes.plot(1.3 * batches[-1], frozen, color=row.colour, marker="X", markersize=9, linestyle="")
        size = shown[0].settings["quantizer"]["num_codes"]
        axes.axhline(size, color="#666666", linestyle=":", label=f"K = {size}")
        axes.set(xscale="log", yscale="log", ylabel="distinct vectors")
        axes.set_xlabel("batches in training mode (cross: model frozen)")
        for axis in (axes.xaxis, axes.yaxis):
            plain(axis)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    return Figure(
        "counts",
        "codes counted with the model frozen and while it moves",
        """Distinct quantized vectors over training batches passed in training mode, as the paper's counts were
        taken: a codebook that moves at every batch gives new vectors at every batch. Crosses at the right:
        distinct codes over all training and validation images with the model frozen. Mean of the seeds.""",
        "distinct quantized vectors against batches passed in training mode, with the count over the frozen model.",
        draw,
    )


def codes(rows: Rows) -> Figure | None:
    """In use, dead and moved, dead in the initial box: shares of every codebook."""
    shown = [row for row in rows.values() if row.values("dead_codes")]
    if not shown:
        return None

    def draw() -> Drawing:
        figure, axes = bars(shown)
        sizes = []
        for place, row in enumerate(reversed(shown)):
            dead, used = (float(np.mean(row.values(key))) for key in ("dead_codes", "codes_in_use"))
            boxed = min(dead, float(np.mean(row.values("codes_in_initial_box") or [0.0])))
            left = 0.0
            for size, shade in zip((used, dead - boxed, boxed), SHADES.values(), strict=True):
                axes.barh(place, 100 * size / (dead + used), left=left, color=row.colour, alpha=shade)
                left += 100 * size / (dead + used)
            sizes.append(dead + used)
        for place, size in enumerate(sizes):
            axes.text(101, place, f"K = {size:,.0f}", va="center", fontsize=8, color="#444444")
        axes.set(xlabel="% of the codes", xlim=(0, 100))
        shades = [Patch(color="#333333", alpha=shade, label=name) for name, shade in SHADES.items()]
        axes.legend(handles=shades, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(SHADES))
        return figure

    return Figure(
        "codes",
        "what became of the K codes",
        """Codes in use over training and validation images, dead codes that moved, and dead codes that never
        left the box in which plain VQ starts (±1/K), as shares of the codebook. Mean of the seeds.""",
        "for each codebook the share of codes in use, dead, and dead inside their initial box.",
        draw,
    )


SHADES = {"in use": 1.0, "dead": 0.45, "dead, in its box": 0.15}


def splits(rows: Rows) -> Figure | None:
    """Error on validation and on test; codes over training and validation images, and on test."""
    shown = [row for row in of_the_paper(rows) if row.values("val_mse") and row.values("codes_in_use_test")]
    if not shown:
        return None

    def draw() -> Drawing:
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.2 + 0.26 * len(shown)), sharey=True, layout="constrained")
        kinds = (
            ("MSE (filled: validation)", "val_mse", "test_mse"),
            ("distinct codes (filled: training, validation)", "codes_in_use", "codes_in_use_test"),
        )
        for panel, (title, *two) in zip(axes, kinds, strict=True):
            for place, row in enumerate(reversed(shown)):
                means = [float(np.mean(row.values(measure))) for measure in two]
                panel.plot(means, [place, place], color=row.colour, linewidth=1)
                for mean, face in zip(means, (row.colour, "white"), strict=True):
                    panel.plot(mean, place, marker="o", color=row.colour, markerfacecolor=face, linestyle="")
            panel.set(xscale="log", title=title, xlabel="log scale")
            plain(panel.xaxis)
        names(axes[0], shown)
        return figure

    return Figure(
        "splits",
        "which split is measured",
        """The same frozen models on different splits: hollow on test, filled on validation and, for the codes,
        on training and validation together; mean of the seeds. The paper does not say on which split it took
        its error, and counts codes over other images than those of the error. No image is flipped here.""",
        "error on validation and on test, and distinct codes over training and validation images and on test.",
        draw,
    )


# settings, time, size


def switches(rows: Rows) -> Figure | None:
    """What one setting alone does to the error, seed by seed."""
    lines = []
    for row in of_the_paper(rows):
        base = base_of(row, rows)
        changed = differences(base, row) if base else {}
        if base and len(changed) == 1 and "train.lr_decay" not in changed:
            key, value = next(iter(changed.items()))
            ratios = (100 * (row.by_seed("test_mse") / base.by_seed("test_mse") - 1)).dropna().tolist()
            lines.append((f"{key.split('.')[-1]} = {value}, {base.title}", row, ratios))
    if not lines:
        return None

    def draw() -> Drawing:
        figure, axes = plt.subplots(figsize=(WIDTH, 1.0 + 0.32 * len(lines)), layout="constrained")
        for place, (_, row, ratios) in enumerate(reversed(lines)):
            axes.plot(ratios, [place] * len(ratios), color=row.colour, marker="o", linestyle="", alpha=0.6)
            axes.plot(np.mean(ratios), place, color=row.colour, marker="|", markersize=18, markeredgewidth=2.5)
        axes.axvline(0, color="#666666", linestyle=":")
        axes.set_yticks(range(len(lines)), [label for label, _, _ in reversed(lines)])
        axes.set(xlabel="change of the MSE on test, %", ylim=(-0.7, len(lines) - 0.3))
        return figure

    return Figure(
        "switches",
        "what one setting changes",
        """The error on test of rows that differ in one setting from the first row of the same quantizer,
        relative to that row: a dot per seed, a bar at the mean. Left of 0 the change helps.""",
        "change of the error in percent for each row that differs from another in one setting.",
        draw,
    )


def time(rows: Rows) -> Figure | None:
    """Seconds of the first epoch, of the paper's own models."""
    variants = (*PUBLISHED, "lattice_dense", "lattice_wide")
    shown = [rows[name] for name in variants if name in rows and rows[name].values("seconds_first_epoch")]
    return (
        Figure(
            "time",
            "time of the first epoch",
            """The first epoch, in which every row trains by gradient, forward, backward and update; a dot per seed.
        Here none of the quantizers builds a one-hot matrix on the host.""",
            "seconds of the first epoch for each of the paper's quantizers.",
            lambda: bars_of(shown, "seconds_first_epoch"),
        )
        if shown
        else None
    )


def bits(rows: Rows) -> Figure | None:
    """Bits of an image, of its latents as numbers, and of its latents as codes."""
    shown = [rows[name] for name in (*PUBLISHED, "lattice_dense") if name in rows]
    shown = [row for row in shown if any(row.values("bits_per_pixel")) and any(row.values("bits_per_latent"))]
    if not shown:
        return None

    def draw() -> Drawing:
        height, width, channels = shown[0].pictures["originals"].shape[1:]
        pixels = height * width
        rates = zip(shown[0].values("bits_per_pixel"), shown[0].values("bits_per_latent"), strict=True)
        latents = next(a / b for a, b in rates if b) * pixels
        lines = [("pixels, 8 bits each", 8.0 * pixels * channels, "#888888")]
        lines.append(("latents as float32", 32.0 * latents * shown[0].settings["model"]["dim"], "#888888"))
        for row in shown:
            whole = [row_rate * pixels for row_rate in row.values("bits_per_pixel")]
            lines.append((f"codes of {row.title}", float(np.mean(whole)), row.colour))
        figure, axes = plt.subplots(figsize=(WIDTH, 1.0 + 0.32 * len(lines)), layout="constrained")
        for place, (_, size, shade) in enumerate(reversed(lines)):
            axes.barh(place, size, color=shade)
        axes.set_yticks(range(len(lines)), [name for name, _, _ in reversed(lines)])
        axes.set(xscale="log", xlabel="bits per image", xlim=(1, None))
        plain(axes.xaxis)
        return figure

    return Figure(
        "bits",
        "bits of an image and of its latents",
        """An image as it is stored, its latents as they come from the encoder, and its codes by their empirical
        entropy on test. Only as codes are the latents smaller than the image. For a dense lattice, where nearly
        every latent has a code of its own, the entropy is too low; see Error against rate.""",
        "bits per image of the pixels, of the latents as numbers, and of the latents as codes.",
        draw,
    )


# what the figures share


def bars(shown: Sequence[Row]) -> tuple[Drawing, Axes]:
    """A figure with a line for every row, the first at the top."""
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.3 * len(shown)), layout="constrained")
    names(axes, shown)
    return figure, axes


def names(axes: Axes, shown: Sequence[Row]) -> None:
    axes.set_yticks(range(len(shown)), [row.title for row in reversed(shown)])
    axes.set_ylim(-0.6, len(shown) - 0.4)


def bars_of(shown: Sequence[Row], measure: str) -> Drawing:
    """The mean of a measure as a bar, and every seed as a dot."""
    figure, axes = bars(shown)
    for place, row in enumerate(reversed(shown)):
        values = row.values(measure)
        (bar,) = axes.barh(place, float(np.mean(values)), color=row.colour, alpha=0.6)
        bar.set_gid(svg.tip(f"{row.title}: {summary.number(row, measure)} {row.measure(measure).unit}".strip()))
        axes.plot(values, [place] * len(values), color="black", marker=".", linestyle="", markersize=4)
    axes.set_xlabel(shown[0].measure(measure).head)
    return figure


# which rows the figures and findings are about


def of_the_paper(rows: Rows) -> list[Row]:
    """The rows of the audited paper's three quantizers."""
    return [row for row in rows.values() if row.quantizer in PUBLISHED]


def steady_lattices(rows: Rows) -> list[Row]:
    """Lattices that learn at a constant learning rate and are driven apart (γ > 0), however long they train."""
    lattices = [row for row in rows.values() if row.quantizer == "lattice" and not row.learning_rate_falls]
    settings = [row.settings["quantizer"] for row in lattices]
    return [
        row
        for row, stated in zip(lattices, settings, strict=True)
        if stated.get("learning", "learned") != "frozen" and float(stated.get("gamma", 1.0)) > 0
        if "spacing_mean" in row.history
    ]


def base_of(row: Row, rows: Rows) -> Row | None:
    """The first row of the same quantizer; None for that row itself."""
    first = next(other for other in rows.values() if other.quantizer == row.quantizer)
    return None if first is row else first


FIGURES: tuple[Callable[[Rows], Figure | None], ...] = (
    epochs,
    spacing,
    counts,
    codes,
    switches,
    splits,
    time,
    dimensions,
    breaks,
    bits,
)
