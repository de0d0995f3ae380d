"""All measures that the table in the paper's form leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.report import summary
from pipeline.report.blocks import Table, Text, bullets, paragraph, table
from pipeline.report.describe import link
from pipeline.report.results import Measure, Results, groups
from pipeline.report.sections.of_a_dataset import paper_form

TITLE = "Further measures"
WIDEST = 8  # columns of measures in one table
SPLITS = {
    "test": "On the test images",
    "val": "On the validation images",
    "train+val": "On training and validation images together",
    "train": "On the training images",
    None: "Of the training and the model",
}


def section(results: Results, dataset: str) -> Iterator[Text | Table]:
    measures = further(results)
    by_split = {images: [m.title for m in measures if m.split == split] for split, images in SPLITS.items()}
    yield bullets([f"{images}: {'; '.join(titles)}." for images, titles in by_split.items() if titles])
    yield paragraph(NOTE)
    for group in groups(results, dataset):
        columns = summary.columns(group.rows, measures)
        for start in range(0, len(columns), WIDEST):
            shown = columns[start : start + WIDEST]
            heads = ["model", *(measure.head for measure, _ in shown)]
            lines = zip([link(row) for row in group.rows], *(cells for _, cells in shown), strict=True)
            yield table(heads, list(lines), title=group.title if start == 0 else "")


def further(results: Results) -> list[Measure]:
    """In the order of the splits."""
    measures = [measure for key, measure in results.measures.items() if key not in paper_form.MEASURES]
    return sorted(measures, key=lambda measure: list(SPLITS).index(measure.split))


NOTE = """Quantization loss and gradient gap are those of the first test batch. n latents show no entropy above
log2 n, so where nearly every latent has a code of its own, the bits per latent are too low; a lattice whose dimensions
are coded one by one needs at most the sum of their bits. Parameters are those of the quantizer alone. In the first
epoch every row trains by gradient, whatever later epochs leave out. Time and memory are those of the hardware named in
[Where the numbers come from](#provenance)."""
