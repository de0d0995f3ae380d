"""Counting what the paper calls infeasible: the distinct codes of a dense lattice, exactly and by estimate.

What a row says of its counting stands in its run: `codes_in_use` of `codes_counted` latents in `counting_seconds`; of
vectors also HyperLogLog's `codes_estimated` with its relative standard error `codes_estimate_error`, and the bound
`codes_collision_bound` of the probability that the exact count is too low. How fast counting is says the benchmark,
where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pipeline.report import summary
from pipeline.report.drawing import COLOURS, WIDTH, Picture, plain
from pipeline.report.read import Results, Row
from pipeline.report.summary import NONE
from pipeline.report.tables import link, table

NAME = "benchmark-counting"
HASH_BYTES = 16
CONSTANT = 1.04  # a HyperLogLog of m registers has the relative standard error 1.04/√m; Flajolet and others 2007


def section(results: Results, pictures: Mapping[str, Picture]) -> list[str]:
    """Markdown paragraphs: what was counted in this run, how fast counting is, and what FFHQ-1024 would need."""
    about = results.papers["ll_vq_vae"]["counting"]
    parts = ['<a id="counting"></a>\n\n## Counting what the paper calls infeasible', opening(about)]
    counted = table_of_counts(results)
    parts += [counted, " ".join(NOTE.split())] if counted else ["No lattice was run here."]
    if NAME in pictures:
        parts.append(pictures[NAME].markdown())
    parts += [whole(results)]
    return parts


def opening(about: Mapping[str, Any]) -> str:
    text = f"""Of the number of codes of the dense lattice the paper says that "{about["quote"]}" ({about["source"]}).
        Here it is counted for every lattice, over training and validation images with the model frozen, in one pass:
        each vector of integers is reduced to a hash of 128 bits on its device, sorted hashes are merged, and what
        outgrows the memory set aside moves to files that are counted one by one. Two distinct vectors are counted as
        one only if both halves of their hashes agree. HyperLogLog (Flajolet and others 2007, with the estimator of
        Ertl 2017) estimates the same number in a few kilobytes."""
    return " ".join(text.split())


NOTE = """Mean over the seeds. "Off by" is the distance of the estimate from the exact count in HyperLogLog's own
standard errors; "chance of a collision" an upper bound, for any data, of the probability that the exact count is too
low, the largest of the seeds. A dash: not recorded."""


def lattices(results: Results) -> list[Row]:
    """Rows whose codes are vectors without end, and any other whose count was also estimated."""
    return [row for row in results.rows.values() if row.quantizer == "lattice" or row.values("codes_estimated")]


def table_of_counts(results: Results) -> str:
    """A line per row; empty where there is none."""
    lines = []
    for row in lattices(results):
        exact, estimated = summary.of(row, "codes_in_use"), summary.of(row, "codes_estimated")
        error, bounds = row.values("codes_estimate_error"), row.values("codes_collision_bound")
        spread = f" ({100 * error[0]:.2g} %)" if error else ""
        lines.append(
            [
                results.title(row.dataset),
                link(row),
                whole_number(row.values("codes_counted")),
                summary.write(exact, 0),
                f"{estimated.mean:,.0f}{spread}" if estimated else NONE,
                off_by(row),
                "0" if bounds and not any(bounds) else f"{max(bounds):.0e}" if bounds else NONE,
                summary.write(summary.of(row, "counting_seconds"), 2),
            ]
        )
    return table(HEADS, lines, left=2) if lines else ""


HEADS = [
    "data set",
    "model",
    "latents counted",
    "distinct, exactly",
    "HyperLogLog (standard error)",
    "off by",
    "chance of a collision",
    "exact, s",
]


def whole_number(values: list[float]) -> str:
    return f"{np.mean(values):,.0f}" if values else NONE


def off_by(row: Row) -> str:
    """How many of its standard errors the estimate is away from the exact count: the largest of the seeds."""
    keys = ("codes_estimated", "codes_in_use", "codes_estimate_error")
    found = [[seed[key] for key in keys] for seed in row.seeds if all(seed.get(key) for key in keys)]
    if not found:
        return NONE
    return f"{max(abs(estimate / exact - 1) / error for estimate, exact, error in found):.1f}"


# how fast, and what FFHQ-1024 would need


def measured(results: Results) -> list[dict[str, Any]]:
    """The benchmark's lines of counting; none where there is no benchmark."""
    found = (results.benchmark or {}).get("comparisons", [])
    return [line for line in found if line["group"] == "distinct"]


def rate(line: Mapping[str, Any]) -> float:
    """Codes counted per second."""
    return float(line["setting"]["count"] / line["ours"]["median"])


def whole(results: Results) -> str:
    """What all codes of FFHQ-1024 would need, at the rate that was measured."""
    about = results.papers["ll_vq_vae"]["counting"]
    vectors = ffhq_vectors(about)
    images, side, step = about["images"], about["side"], 2 ** about["halvings"]
    told = [
        f"**All of FFHQ-1024.** {images:,} images of {side}×{side} pixels, one latent for every {step}×{step}, are "
        f"{vectors:,} vectors. Were all of them distinct, their hashes would take "
        f"{HASH_BYTES * vectors / 1e9:,.1f} GB of disk ({HASH_BYTES} bytes each, {8 + HASH_BYTES} with a count)."
    ]
    lines = [line for line in measured(results) if line["setting"]["codes"] != "indices"]
    if lines:
        seconds = vectors / rate(lines[-1])
        told.append(
            f"At the {rate(lines[-1]):,.0f} {lines[-1]['setting']['codes']} per second of the figure above, on "
            f"{results.benchmark['environment']['device'] if results.benchmark else ''}, counting them would take "
            f"{duration(seconds)}, without the encoder and the disk."
        )
    else:
        told.append("`make benchmark` measures how many a second are counted, and with it the time.")
    errors = [error for row in results.rows.values() for error in row.values("codes_estimate_error")]
    if errors:
        told.append(
            f"HyperLogLog would need {round((CONSTANT / errors[0]) ** 2):,} bytes, as for any number, for an estimate "
            f"within {100 * errors[0]:.2g} % (one standard error)."
        )
    bounds = [(row, seed) for row in lattices(results) for seed in row.seeds if seed.get("codes_collision_bound")]
    if bounds:
        row, seed = max(bounds, key=lambda one: float(one[1]["codes_collision_bound"]))
        grown = float(seed["codes_collision_bound"]) * (vectors / float(seed["codes_in_use"])) ** 2
        told.append(
            f"The chance of a collision, which grows with the square of the number, would be {grown:.0e} at most, for "
            f"components no larger than those of `{row.name}`."
        )
    return " ".join(told)


def ffhq_vectors(about: Mapping[str, Any]) -> int:
    """Latents of all images of the data set that the paper does not count."""
    return int(about["images"] * (about["side"] >> about["halvings"]) ** 2)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is readable."""
    for size, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} seconds"


def draw(results: Results) -> Iterator[tuple[Figure, Picture]]:
    """Codes counted per second, beside the benchmark's opponents; nothing without a benchmark."""
    lines = measured(results)
    if not lines:
        return
    names = list(dict.fromkeys(name for line in lines for name in line["opponents"]))
    found = [("this pipeline", [rate(line) for line in lines])]
    for name in names:
        times = [line["opponents"].get(name, {}).get("median") for line in lines]
        rates = [line["setting"]["count"] / time if time else 0.0 for line, time in zip(lines, times, strict=True)]
        found.append((name, rates))
    kinds = [f"{line['setting']['codes']}, {line['setting']['count']:,}" for line in lines]
    figure, axes = plt.subplots(figsize=(WIDTH * 0.8, 1.2 + 0.5 * len(lines)), layout="constrained")
    height = 0.8 / len(found)
    for place, (name, rates) in enumerate(found):
        at = [len(lines) - 1 - line - height * (place - (len(found) - 1) / 2) for line in range(len(lines))]
        axes.barh(at, rates, height=height, label=name, color=COLOURS["lattice"] if place == 0 else "#999999")
    axes.set_yticks(range(len(lines)), kinds[::-1])
    axes.set(xscale="log", xlabel="codes per second")
    plain(axes.xaxis, (1.0,))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    yield (
        figure,
        Picture(
            NAME,
            "Counting: codes per second",
            f"Codes counted per second on a log axis by this pipeline and by {', '.join(names) or 'nothing else'}.",
            """Distinct codes of a codebook's indices and of a lattice's vectors, about half of which are distinct;
            median of the benchmark's rounds.""",
        ),
    )
