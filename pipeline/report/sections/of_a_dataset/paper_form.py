"""LL-VQ-VAE's Tables 2, 4 and 5: error, codes, time; published beside measured where there are published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.report import summary
from pipeline.report.blocks import Cell, Table, Text, code, escape, paragraph, table
from pipeline.report.describe import flat, link, listed
from pipeline.report.results import Group, Measure, Results, groups

TITLE = "In the form of the paper's tables"
MEASURES = ("val_mse", "test_mse", "codes_in_use", "seconds")
"""All others stand under `further`."""


def section(results: Results, dataset: str) -> Iterator[Text | Table]:
    yield from notes(results, dataset)
    for group in groups(results, dataset):
        yield paragraph(f"**{group.title}.** {group.note}")
        yield table_of(results, dataset, group)


def table_of(results: Results, dataset: str, group: Group) -> Table:
    """A line per row of a group."""
    rows, paper = group.rows, results.papers["ll_vq_vae"]
    published = paper["results"].get(dataset, {"rows": {}, "duration_unit": "s"})
    recount = paper["recount"].get(dataset, {})
    unit = published["duration_unit"]
    beside = any(row.variant in published["rows"] for row in rows) and group.title == "As published"
    heads = {
        "mse": "MSE, paper (split not said)",
        "codes": "codes, paper",
        "duration": f"time, paper ({paper['hardware_short']}), {unit}",
    }
    columns: list[tuple[str | Cell, list[Cell]]] = [("model", [link(row) for row in rows])]
    for measure, cells in summary.columns(rows, [in_unit(results.measures[key], unit) for key in MEASURES]):
        head = heads.pop(str(measure.published), None)  # before the first measure that it stands beside
        if beside and head:
            numbers = [published["rows"].get(row.variant, {}).get(measure.published) for row in rows]
            columns.append((head, [summary.printed(number) for number in numbers]))
            if measure.published == "codes":
                columns.append(("recounted", [summary.printed(recount.get(row.variant)) for row in rows]))
        columns.append((measure.head, cells))
    columns.append(("n", [Cell(str(len(row.seeds))) for row in rows]))
    columns.append((code("dvc repro …"), [code(row.stage) for row in rows]))
    return table([head for head, _ in columns], list(zip(*(cells for _, cells in columns), strict=True)))


def unlike(results: Results, dataset: str) -> Iterator[Text]:
    """What the rows that follow the paper have otherwise than it, each value with the paper's."""
    paper = results.papers["ll_vq_vae"]
    rows = [row for row in results.of(dataset) if row.variant in paper["models"] and row.learning_rate_falls]
    if not rows:
        return
    stated = {**paper["trained"]["everywhere"], **paper["trained"].get(dataset, {})}
    here = [{key: value for key, value in flat(row.settings).items() if key in stated} for row in rows]
    found = {key: [one[key] for one in here if key in one and one[key] != value] for key, value in stated.items()}
    texts = [f"{listed({key: values[0]})} (there {stated[key]})" for key, values in found.items() if values]
    counts = {len(row.seeds) for row in rows}
    if counts != {paper["seeds"]}:
        texts.append(f"{' or '.join(map(str, sorted(counts)))} seeds (there {paper['seeds']})")
    if dataset not in paper["results"]:
        texts.insert(0, "a data set of which it has no numbers")
    differing = "; ".join(texts) or "nothing of its epochs, batches, learning rate, sizes and seeds"
    yield paragraph(f"""**Different from the paper**, of the rows as published: {differing}. What its code does that its
        text does not say stands in the [audit](#audit); every setting, under Settings.""")


def in_unit(measure: Measure, unit: str) -> Measure:
    """A measure of time says that it was taken here, and is in the unit of the paper."""
    if measure.published != "duration":
        return measure
    here = replace(measure, title=f"{measure.title} here")
    return replace(here, unit=unit, scale=1 / 60, decimals=None) if unit == "min" else here


def notes(results: Results, dataset: str) -> Iterator[Text]:
    """On what the published numbers rest, and what the columns mean."""
    paper = results.papers["ll_vq_vae"]
    if dataset in paper["results"]:
        yield paragraph(f"""Published: {paper["short"]}, {paper["results"][dataset]["source"]}, mean of {paper["seeds"]}
            seeds, times on {paper["hardware"]}. The paper does not say on which split it took the error. It counted
            codes over the training split while the model was in training mode; "recounted" is the authors' later count
            from one released checkpoint over training and validation images with the model frozen
            ({escape(paper["recount"]["source"])}), which is how codes are counted here.""")
    yield from unlike(results, dataset)
    yield paragraph("""Measured: mean ± standard deviation over n seeds (no deviation where n = 1). Codes in use are
        counted over training and validation images together with the model frozen. Times are on the hardware named in
        [Where the numbers come from](#provenance).""")
    if not all(row.settings["train"]["backprop_at_zero_lr"] for row in results.of(dataset)):
        yield paragraph("""Epochs at a learning rate of 0 did not work out what it discards
            (`train.backprop_at_zero_lr` is false): times of rows whose learning rate falls are shorter than the
            published procedure takes.""")
