"""All measures that the table in the paper's form leaves out, a table for the images they are taken on."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.report import summary
from pipeline.report.blocks import Cell, Line, Table, Text, paragraph, table
from pipeline.report.describe import link
from pipeline.report.results import Results, groups
from pipeline.report.sections.of_a_dataset import paper_form

TITLE = "Further measures"
SPLITS = {
    "test": "On the test images",
    "val": "On the validation images",
    "train+val": "On training and validation images together",
    "train": "On the training images",
    None: "Of the training and the model",
}


def section(results: Results, dataset: str) -> Iterator[Text | Table]:
    yield paragraph(NOTE)
    rows = [row for group in groups(results, dataset) for row in group.rows]
    rates = ["falls" if row.learning_rate_falls else "constant" for row in rows]
    further = [measure for key, measure in results.measures.items() if key not in paper_form.MEASURES]
    for split, title in SPLITS.items():
        columns = summary.columns(rows, [measure for measure in further if measure.split == split])
        if columns:
            heads = ["model", "learning rate", *(measure.head for measure, _ in columns)]
            cells = zip(*(column for _, column in columns), strict=True)
            lines: list[Line] = [
                [link(row), Cell(rate), *line] for row, rate, line in zip(rows, rates, cells, strict=True)
            ]
            yield table(heads, lines, left=2, title=title)


NOTE = """Rows whose learning rate falls are not to be ranked against rows whose learning rate is constant. Quantization
loss and gradient gap are those of the first test batch. n latents show no entropy above log2 n, so where nearly every
latent has a code of its own, the bits per latent are too low; a lattice whose dimensions are coded one by one needs at
most the sum of their bits. Parameters are those of the quantizer alone. In the first epoch every row trains by
gradient, whatever later epochs leave out. Time and memory are those of the hardware named in
[Where the numbers come from](#provenance)."""
