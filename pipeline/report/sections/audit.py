"""The audit: what the authors' code does that the text does not say, each point as an experiment of this pipeline.

The points stand in pipeline/papers/ll_vq_vae.yaml; a point's `finding` names a function below that says, from the rows
of one data set, what was found, and its `figure` one of audit_figures.py or of the data set. A function gives None
where the rows it needs were not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipeline.report import summary
from pipeline.report.blocks import Block, Heading, Line, Table, Text, code, markdown, paragraph, table
from pipeline.report.describe import differences, listed, run_command
from pipeline.report.evidence import wording
from pipeline.report.results import Results, Row
from pipeline.report.sections import audit_figures
from pipeline.report.sections.audit_figures import PUBLISHED, Rows, base_of, of_the_paper, steady_lattices
from pipeline.report.summary import NONE

TITLE = "The audit"


def section(results: Results) -> Iterator[Block]:
    """The points with their findings, what one switch changes, and the figures."""
    yield paragraph(OPENING)
    yield points(results)
    for dataset in results.plan["datasets"]:
        title, rows = results.title(dataset), results.by_variant(dataset)
        figures = list(audit_figures.figures(dataset, title, rows))
        yield Heading(f"{title}: what was found")
        shown = [f"{dataset}-rate", f"{dataset}-usage", *(figure.key for figure in figures)]
        yield findings(results, dataset, shown)
        if any(base_of(row, rows) for row in of_the_paper(rows)):
            yield Heading(f"{title}: what a setting changes")
            yield paragraph(SWITCHES)
            yield switches(rows)
        if figures:
            yield Heading(f"{title}: figures of the audit")
            yield from figures


OPENING = """The published code was read and measured beside the text. Each line is something it does that can change a
result, and how this pipeline treats it: as a setting, a control or a measure. Below, for each data set, what the rows
that were run say about the points, each with its figure."""

SWITCHES = """Each row beside the first row of the same quantizer: the settings in which they differ, and the paired
difference of the errors with its 95 % interval. Where the learning rate differs, so does the amount of training."""


def points(results: Results) -> Table:
    """A line per point."""
    lines: list[Line] = []
    for place, point in enumerate(results.papers["ll_vq_vae"]["audit"], 1):
        here = ", ".join([point["here"], *(f"`{claim}`" for claim in point.get("claims", []))])
        lines.append([str(place), markdown(point["point"]), markdown(here)])
    return table(["", "the published code", "here"], lines, left=3)


def findings(results: Results, dataset: str, figures: Sequence[str]) -> Table | Text:
    """A line per point that a data set's rows say something about, or the command that runs the rows it needs."""
    rows = results.by_variant(dataset)
    lines: list[Line] = []
    for place, point in enumerate(results.papers["ll_vq_vae"]["audit"], 1):
        finding = find(point.get("finding"), rows)
        if finding is None and "variants" in point and of_the_paper(rows):
            finding = f"not run; {run_command(dataset, point['variants'])}"
        if finding is not None:
            names = [f"{dataset}-audit-{point.get('figure')}", f"{dataset}-{point.get('figure')}"]
            links = [f"[figure](#figure-{name})" for name in names if name in figures]
            lines.append([str(place), markdown(finding), markdown(" ".join(links) or NONE)])
    return table(["point", "found", ""], lines, left=3) if lines else Text("None of the paper's models was run here.")


def find(finding: str | None, rows: Rows) -> str | None:
    """What a point's function found, in markdown."""
    if finding is None:
        return None
    name, *arguments = finding.split()
    return FINDINGS[name](rows, *arguments) or None


# findings


def late_epochs(rows: Rows) -> str | None:
    """The validation error after the last epoch relative to that after the first."""
    sentences = []
    for variant in ("vq", "vq_ema", "lattice", "vq_corrected", "vq_ema_corrected", "lattice_corrected"):
        if variant in rows and rows[variant].history["epoch"].max() > 1:
            sentences.append(f"`{variant}` {100 * late_change(rows[variant]):+.1f} %")
    return "error from the first to the last epoch: " + ", ".join(sentences) if sentences else None


def late_change(row: Row) -> float:
    """Mean over the seeds of the relative change of the validation error from the first to the last epoch."""
    errors = row.history.pivot(index="seed", columns="epoch", values="val_mse")
    return float((errors.iloc[:, -1] / errors.iloc[:, 0]).mean() - 1)


def ramp(rows: Rows) -> str | None:
    """How far the learned spacing is from a pure ramp, and what learning does to the error."""
    sentences = []
    off = summary.of(rows["lattice"], "spacing_off_ramp") if "lattice" in rows else None
    if off:
        sentences.append(
            f"largest distance of a learned spacing from its start plus the steps: {summary.write(off, 4)}"
        )
    for control in ("lattice_ramp", "lattice_frozen"):
        if "lattice" in rows and control in rows:
            sentences.append(
                f"error of `lattice` − `{control}`: {wording.difference(rows['lattice'], rows[control], 'test_mse')}"
            )
    return "; ".join(sentences) or None


def moving(rows: Rows) -> str | None:
    """Distinct codes with the model frozen, and over batches in training mode."""
    sentences = []
    for variant in ("vq", "vq_ema", "lattice"):
        row = rows.get(variant)
        frozen, moved = (summary.of(row, key) if row else None for key in ("codes_in_use", "codes_moving"))
        if row and frozen and moved:
            batches = int(row.pictures["moving_batches"][-1])
            sentences.append(
                f"`{variant}` {summary.write(frozen, 0)} frozen, {summary.write(moved, 0)} over {batches} batches in "
                "training mode"
            )
    return "; ".join(sentences) or None


def dead(rows: Rows) -> str | None:
    """Dead codes, and codes that never left their initial box."""
    sentences = []
    for variant in ("vq_ema", "vq"):
        dead_codes = summary.of(rows[variant], "dead_codes") if variant in rows else None
        if dead_codes:
            codes = rows[variant].settings["quantizer"]["num_codes"]
            sentences.append(f"`{variant}` {summary.write(dead_codes, 0)} of {codes} dead")
    boxed = summary.of(rows["vq"], "codes_in_initial_box") if "vq" in rows else None
    if boxed:
        sentences.append(f"`vq` {summary.write(boxed, 0)} still in their box")
    return "; ".join(sentences) or None


def switch(rows: Rows, key: str) -> str | None:
    """The difference in error between two rows that differ in one setting alone."""
    sentences = []
    for row in rows.values():
        base = base_of(row, rows)
        changed = differences(base, row) if base else {}
        if base and len(changed) == 1 and next(iter(changed)).split(".")[-1] == key:
            value = next(iter(changed.values()))
            sentences.append(f"`{key}: {value}` in `{row.variant}`: error {wording.difference(row, base, 'test_mse')}")
    return "; ".join(sentences) or None


def measured(rows: Rows, *keys: str) -> str | None:
    """One or two measures of each of the published models."""
    shown = [rows[name] for name in PUBLISHED if name in rows and all(rows[name].values(key) for key in keys)]
    if not shown:
        return None
    heads = " and ".join(shown[0].measure(key).head for key in keys)
    return f"{heads}: " + ", ".join(
        f"`{row.variant}` {' and '.join(summary.number(row, key) for key in keys)}" for row in shown
    )


def active(rows: Rows) -> str | None:
    sentences = []
    for name, row in rows.items():
        dimensions = summary.of(row, "active_dimensions")
        if dimensions:
            sentences.append(f"`{name}` {summary.write(dimensions, 1)}")
    return f"of {next(iter(rows.values())).settings['model']['dim']}: " + ", ".join(sentences) if sentences else None


def constant(rows: Rows) -> str | None:
    """Of every lattice at a constant learning rate: how far its spacing grew, and where its error was lowest."""
    sentences = []
    for row in steady_lattices(rows):
        epochs = row.history.groupby("epoch")[["val_mse", "spacing_mean"]].mean()
        error, spacing = epochs["val_mse"].to_numpy(), epochs["spacing_mean"].to_numpy()
        best, last = int(error.argmin()), len(error) - 1
        grown = f"`{row.variant}` spacing {spacing[0]:.2f} to {spacing[-1]:.2f}, error "
        if best == last:
            sentences.append(f"{grown}still falling after {last + 1} epochs; more `train.epochs` go on")
        else:
            rise = 100 * (error[last] / error[best] - 1)
            sentences.append(f"{grown}lowest after epoch {best + 1} of {last + 1}, then {rise:+.1f} %")
    return "; ".join(sentences) or None


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


FINDINGS: dict[str, Callable[..., str | None]] = {
    function.__name__: function
    for function in (
        late_epochs,
        ramp,
        moving,
        dead,
        switch,
        measured,
        active,
        constant,
        numbers,
    )
}


# what settings change


def switches(rows: Rows) -> Table:
    """A line per row that has an earlier row of the same quantizer to stand beside."""
    lines: list[Line] = []
    for row in of_the_paper(rows):
        base = base_of(row, rows)
        if base:
            changed = markdown(listed(differences(base, row)))
            lines.append([code(row.variant), code(base.variant), changed, wording.difference(row, base, "test_mse")])
    return table(["row", "beside", "settings that differ", "difference in MSE on test"], lines, left=3)
