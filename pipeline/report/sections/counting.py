"""Counting what the paper calls infeasible: the distinct codes of a dense lattice.

What a row says of its counting stands in its run: `codes_in_use` of `codes_counted` latents in `counting_seconds`; of
vectors also the bound `codes_collision_bound` of the probability that the count is too low. How fast counting is says
the benchmark, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Drawing

from pipeline.report import summary
from pipeline.report.blocks import Block, Cell, Figure, Line, Table, Text, paragraph, table
from pipeline.report.describe import link
from pipeline.report.drawing import OTHERS, OURS, WIDTH, plain
from pipeline.report.results import Results, Row
from pipeline.report.sections.speed import lines_of

TITLE = "Counting what the paper calls infeasible"
HASH_BYTES = 16


def section(results: Results) -> Iterator[Block]:
    """What was counted in this run, how fast counting is, and what FFHQ-1024 would need."""
    yield opening(results.papers["ll_vq_vae"]["counting"])
    if lattices(results):
        yield table_of_counts(results)
        yield paragraph(NOTE)
    else:
        yield Text("No lattice was run here.")
    yield from figures(results)
    yield paragraph(whole(results))


def opening(about: Mapping[str, Any]) -> Text:
    return paragraph(f"""Of the number of codes of the dense lattice the paper says that "{about["quote"]}"
        ({about["source"]}). Here it is counted for every lattice, over training and validation images with the model
        frozen, in one pass: each vector of integers is reduced to a hash of 128 bits on its device, sorted hashes are
        merged, and what outgrows the memory set aside moves to files that are merged piece by piece. Two distinct
        vectors are counted as one only if both halves of their hashes agree.""")


NOTE = """Mean over the seeds. "Chance of a collision" is an upper bound, for any data, of the probability that the
count is too low, the largest of the seeds."""


def lattices(results: Results) -> list[Row]:
    """Rows whose codes are vectors, counted by their hashes."""
    return [row for row in results.rows.values() if row.values("codes_collision_bound")]


def table_of_counts(results: Results) -> Table:
    """A line per lattice."""
    lines: list[Line] = []
    for row in lattices(results):
        counted, distinct, seconds = (
            summary.cell(row, key) for key in ("codes_counted", "codes_in_use", "counting_seconds")
        )
        bound = max(row.values("codes_collision_bound"))
        chance = Cell(f"{bound:.0e}" if bound else "0", value=bound)
        lines.append([results.title(row.dataset), link(row), counted, distinct, chance, seconds])
    return table(HEADS, lines, left=2)


HEADS = ["data set", "model", "latents counted", "distinct", "chance of a collision", "counted in, s"]


# how fast, and what FFHQ-1024 would need


def measured(results: Results) -> list[dict[str, Any]]:
    """The benchmark's lines of counting; none where it was not asked for."""
    return lines_of(results, "distinct")


def rate(line: Mapping[str, Any]) -> float:
    """Codes counted per second."""
    return float(line["setting"]["count"] / line["ours"]["median"])


def whole(results: Results) -> str:
    """What all codes of FFHQ-1024 would need, at the rate that was measured."""
    about = results.papers["ll_vq_vae"]["counting"]
    vectors = ffhq_vectors(about)
    images, side, step = about["images"], about["side"], 2 ** about["halvings"]
    sentences = [
        f"**All of FFHQ-1024.** {images:,} images of {side}×{side} pixels, one latent for every {step}×{step}, are "
        f"{vectors:,} vectors. Were all of them distinct, their hashes would take "
        f"{HASH_BYTES * vectors / 1e9:,.1f} GB of disk ({HASH_BYTES} bytes each, {8 + HASH_BYTES} with a count)."
    ]
    lines = [line for line in measured(results) if line["setting"]["codes"] != "indices"]
    if lines:
        seconds = vectors / rate(lines[-1])
        sentences.append(
            f"At the {rate(lines[-1]):,.0f} {lines[-1]['setting']['codes']} per second of the figure above, on "
            f"{results.benchmark['counting']['environment']['device']}, counting them would take "
            f"{duration(seconds)}, without the encoder and the disk."
        )
    else:
        sentences.append("`make benchmark` measures how many a second are counted, and with it the time.")
    bounds = [
        (bound, codes, row)
        for row in lattices(results)
        for bound, codes in zip(row.values("codes_collision_bound"), row.values("codes_in_use"), strict=True)
    ]
    bound, codes, row = max(bounds, key=lambda found: found[0], default=(0.0, 0.0, None))
    if bound and row:
        grown = bound * (vectors / codes) ** 2
        sentences.append(
            f"The chance of a collision, which grows with the square of the number, would be {grown:.0e} at most, for "
            f"components no larger than those of `{row.name}`."
        )
    return " ".join(sentences)


def ffhq_vectors(about: Mapping[str, Any]) -> int:
    """Latents of all images of the data set that the paper does not count."""
    return int(about["images"] * (about["side"] >> about["halvings"]) ** 2)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is readable."""
    for size, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} seconds"


def figures(results: Results) -> Iterator[Figure]:
    """Codes counted per second, beside the benchmark's opponents; nothing without a benchmark."""
    lines = measured(results)
    names = list(dict.fromkeys(name for line in lines for name in line["opponents"]))
    if lines:
        yield Figure(
            "benchmark-counting",
            "Counting: codes per second",
            """Distinct codes of a codebook's indices and of a lattice's vectors, about half of which are distinct;
            median of the benchmark's rounds.""",
            f"Codes counted per second on a log axis by this pipeline and by {', '.join(names) or 'nothing else'}.",
            lambda: draw(lines, names),
        )


def draw(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Drawing:
    contestants = [("this pipeline", [rate(line) for line in lines])]
    for name in names:
        times = [line["opponents"].get(name, {}).get("median") for line in lines]
        rates = [line["setting"]["count"] / time if time else 0.0 for line, time in zip(lines, times, strict=True)]
        contestants.append((name, rates))
    kinds = [f"{line['setting']['codes']}, {line['setting']['count']:,}" for line in lines]
    figure, axes = plt.subplots(figsize=(WIDTH * 0.8, 1.2 + 0.5 * len(lines)), layout="constrained")
    height = 0.8 / len(contestants)
    for place, (name, rates) in enumerate(contestants):
        at = [len(lines) - 1 - line - height * (place - (len(contestants) - 1) / 2) for line in range(len(lines))]
        axes.barh(at, rates, height=height, label=name, color=OTHERS if place else OURS)
    axes.set_yticks(range(len(lines)), kinds[::-1])
    axes.set(xscale="log", xlabel="codes per second")
    plain(axes.xaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
