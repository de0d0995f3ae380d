"""What the benchmark measured, where there is one: reports/benchmark.json as tables and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pipeline.report.drawing import COLOURS, WIDTH, Picture, plain
from pipeline.report.read import Results
from pipeline.report.tables import table

NAME = "benchmark-codes"
CURVES = {"lattice": "lattice", "vq": "VQ", "vq_ema": "EMA"}
TITLES = {
    "quantizer": "One quantizer call, forward and backward",
    "step": "One training step",
    "epoch": "An epoch with its data",
    "distinct": "Counting distinct codes",
}


def section(results: Results, pictures: Mapping[str, Picture]) -> list[str]:
    """Markdown paragraphs; none where nothing was measured."""
    found = results.benchmark
    if found is None:
        return []
    parts = ['<a id="speed"></a>\n\n## Time and memory', opening(found)]
    if NAME in pictures:
        parts.append(pictures[NAME].markdown())
    for group, title in TITLES.items():
        lines = [line for line in found["comparisons"] if line["group"] == group]
        if lines:
            parts += [f"**{title}.**", comparisons(lines)]
    if found["memory"]:
        parts += ["**Memory of a batch of CelebA's size at [65536, 1].**", memory(found["memory"])]
    if found["starting"]:
        parts += ["**Until a stage begins its work.**", starting(found["starting"])]
    return parts


def opening(found: dict[str, Any]) -> str:
    where, machine = found["environment"], found["machine"]
    quick = " This was a quick run, to see that it works: its numbers say nothing." if found["quick"] else ""
    clock = (
        "of processor (other work on the machine does not count)" if found["clock"] == "processor" else "that passed"
    )
    text = f"""Measured on {where["device"]}, {where["threads"]} threads, torch {where["torch"]}; it copies
        {machine["bandwidth_gb_per_s"]:,.1f} GB/s and multiplies matrices at {machine["arithmetic_gflop_per_s"]:,.0f}
        GFLOP/s in float32. All contestants of a line took turns in one run; times are medians with quartiles, in
        seconds {clock}. An opponent's number says how many times as long as ours it took, by the median of the rounds:
        above 1, ours is faster. The floor is the time of the bytes and operations that cannot be left out, at this
        machine's measured best, and the share how much of our time that is; above 100 %, fewer operations do.{quick}"""
    return " ".join(text.split())


def comparisons(lines: Sequence[dict[str, Any]]) -> str:
    """One line per setting; columns for all opponents."""
    settings = list(dict.fromkeys(key for line in lines for key in line["setting"]))
    names = list(dict.fromkeys(name for line in lines for name in (*line["opponents"], *line["skipped"])))
    heads = [*settings, "ours, ms", *names, "memory, MB", "floor, ms", "share"]
    body = [
        [
            *(written(line["setting"].get(key, "–")) for key in settings),
            time(line["ours"]),
            *(opponent(line, name) for name in names),
            "–" if line["ours"]["memory_mb"] is None else f"{line['ours']['memory_mb']:,.0f}",
            "–" if line["floor"] is None else f"{1e3 * line['floor']['seconds']:,.3g}",
            "–" if line["floor"] is None else f"{line['floor']['share']:.0%}",
        ]
        for line in lines
    ]
    return table(heads, body)


def written(value: Any) -> str:
    return (
        "×".join(map(str, value)) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else str(value)
    )


def time(line: dict[str, Any]) -> str:
    """Milliseconds: the median, and the quartiles in brackets."""
    return f"{1e3 * line['median']:,.3g} [{1e3 * line['low']:,.3g}, {1e3 * line['high']:,.3g}]"


def opponent(line: dict[str, Any], name: str) -> str:
    """Its ratio and memory, or why it was left out."""
    if name in line["skipped"]:
        return str(line["skipped"][name])
    if name not in line["opponents"]:
        return "–"
    found = line["opponents"][name]
    memory = "" if found["memory_mb"] is None else f", {found['memory_mb']:,.0f} MB"
    return f"{found['ratio']['median']:.2f}× [{found['ratio']['low']:.2f}, {found['ratio']['high']:.2f}]{memory}"


def memory(lines: Sequence[dict[str, Any]]) -> str:
    heads = ["what", "images", "vectors", "before, MB", "at the peak, MB", "the textbook's two matrices, MB"]
    keys = ("before_mb", "peak_mb", "textbook_mb")
    body = [
        [line["what"], *(f"{line[key]:,}" for key in ("images", "vectors"))]
        + ["–" if line[key] is None else f"{line[key]:,.0f}" for key in keys]
        for line in lines
    ]
    return table(heads, body)


def starting(found: dict[str, dict[str, Any]]) -> str:
    body = [
        [name, f"{line['seconds']['median']:.2f}", f"{line['processor_seconds']['median']:.2f}"]
        for name, line in found.items()
    ]
    return table(["command", "seconds", "seconds of processor"], body)


def draw(results: Results) -> list[tuple[Figure, Picture]]:
    """Time of one call against K, measured: the complexities of LL-VQ-VAE's Table 1."""
    found = results.benchmark or {"comparisons": []}
    lines = [line for line in found["comparisons"] if line["group"] == "quantizer" and line["setting"]["D"] == 64]
    drawn = {name: [one for one in lines if one["setting"]["quantizer"] == name] for name in CURVES}
    if not lines:
        return []
    figure, axes = plt.subplots(figsize=(WIDTH * 0.7, 4.2), layout="constrained")
    for name, curve in drawn.items():
        codes, times = [one["setting"]["K"] for one in curve], [1e3 * one["ours"]["median"] for one in curve]
        axes.plot(codes, times, color=COLOURS[name], marker="o", label=CURVES[name])
        beside = [one for one in curve if "textbook" in one["opponents"]]
        times = [1e3 * one["opponents"]["textbook"]["median"] for one in beside]
        codes = [one["setting"]["K"] for one in beside]
        axes.plot(codes, times, color=COLOURS[name], linestyle=":", marker="x", label=f"{CURVES[name]}, textbook")
    axes.set(xscale="log", yscale="log", xlabel="K", ylabel="milliseconds")
    for axis in (axes.xaxis, axes.yaxis):
        plain(axis, (1.0,))
    axes.legend()
    return [
        (
            figure,
            Picture(
                NAME,
                "LL-VQ-VAE, Table 1, measured: time against the number of codes",
                "Time of one quantizer call against the number of codes K on log axes, for the lattice, VQ and EMA.",
                """Forward and backward of one call at D = 64, median. LL-VQ-VAE's Table 1 gives O(1) for the lattice
                and O(K) for a codebook. Dotted, the textbook's formulation with all distances and one-hot codes.""",
            ),
        )
    ]
