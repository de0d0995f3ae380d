"""What a data set is, and how many of its images were used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.report.blocks import Text, escape, paragraph
from pipeline.report.results import Results, Row

TITLE = ""


def section(results: Results, dataset: str) -> Iterator[Text]:
    about = results.about[dataset]
    shape = "×".join(str(size) for size in about["shape"])
    counts = {split: f"{count:,}" for split, count in about["counts"].items()}
    low, high = 0.0 - about["offset"], 1.0 - about["offset"]
    licence, cite = (escape(str(about[key]).rstrip(".")) for key in ("licence", "cite"))
    yield paragraph(f"""{counts["train"]} images for training, {counts["val"]} for validation and {counts["test"]} for
        the test, {shape} pixels; values in [{low:g}, {high:g}]. {images_used(results.of(dataset))}
        Source: <{about["url"]}>. Licence: {licence}. To cite: {cite}.""")
    photographs = [
        f"{photograph['name']} ({photograph['credit']}; {photograph['licence']})"
        for photograph in about.get("photographs", [])
    ]
    if photographs:
        yield paragraph(f"Cut from: {escape('; '.join(photographs))}.")


def images_used(rows: Sequence[Row]) -> str:
    """How many images the rows were trained on and measured on: once where all agree, else with their variants."""
    texts: dict[str, list[str]] = {}
    for row in rows:
        measured = {split: f"{count:,}" for split, count in row.images["measured"].items()}
        text = (
            f"trained on {row.images['train']:,} images and measured on {measured['train']} training images, "
            f"{measured['val']} validation images and {measured['test']} test images"
        )
        texts.setdefault(text, []).append(f"`{row.variant}`")
    lines = [f"{'every row' if len(texts) == 1 else ', '.join(names)} was {text}" for text, names in texts.items()]
    return f"Here {'; '.join(lines)}."
