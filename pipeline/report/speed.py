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
SEARCH = "benchmark-search"
CURVES = {"lattice": "lattice", "vq": "VQ", "vq_ema": "EMA"}
TITLES = {
    "quantizer": "One quantizer call, forward and backward",
    "compiled": "The lattice by `torch.compile`, forward and backward",
    "search": "The nearest code of each vector, vectors and codes from N(0, 1)",
    "step": "One training step with its batch",
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
        if group == "search" and lines:
            parts += [pictures[SEARCH].markdown()] if SEARCH in pictures else []
            parts += ["**Vectors that get a wrong code.**", wrong(lines)]
        parts += left_out([line for line in found["left_out"] if line["group"] == group])
    if found["memory"]:
        parts += ["**Memory of a batch of CelebA's size at [65536, 1].**", memory(found["memory"])]
    if found["starting"]:
        parts += ["**Until a stage begins its work.**", starting(found["starting"])]
    if found.get("overhead"):
        parts.append(overhead(found["overhead"]))
    return parts


def opening(found: dict[str, Any]) -> str:
    where, machine = found["environment"], found["machine"]
    quick = " This was a quick run, to see that it works: its numbers say nothing." if found["quick"] else ""
    if not found["finished"]:
        quick += " The run was stopped before its end: what it had measured by then is shown."
    clock = (
        "of processor (other work on the machine does not count)" if found["clock"] == "processor" else "that passed"
    )
    text = f"""Measured on {where["device"]}, {where["threads"]} threads, torch {where["torch"]}; it copies
        {machine["bandwidth_gb_per_s"]:,.1f} GB/s and multiplies matrices at {machine["arithmetic_gflop_per_s"]:,.0f}
        GFLOP/s in float32. All contestants of a line took turns in one run; times are medians with quartiles, in
        seconds {clock}. An opponent's number says how many times as long as ours it took, by the median of the rounds:
        above 1, ours is faster. The floor is the time of the bytes and operations that cannot be left out, at this
        machine's measured best, and the share how much of our time that is; above 100 %, fewer operations do. An
        opponent's share says what could be gained over it: at 80 %, no more than a factor of 1.25.{quick}"""
    return " ".join(text.split())


def comparisons(lines: Sequence[dict[str, Any]]) -> str:
    """One line per setting; columns for all opponents."""
    settings = list(dict.fromkeys(key for line in lines for key in line["setting"]))
    names = list(dict.fromkeys(name for line in lines for name in (*line["opponents"], *line["skipped"])))
    unit = next((line["unit"] for line in lines if "unit" in line), None)
    rate = [] if unit is None else [f"{unit} per second"]
    alone = names[0] if len(names) == 1 and all(line["floor"] for line in lines) else None
    memory = ["memory, MB"] if any(line["ours"]["memory_mb"] is not None for line in lines) else []
    heads = [*settings, "ours, ms", *rate, *names, *memory, "floor, ms", "share"]
    heads += [f"{alone}'s share"] if alone else []
    body = [
        [
            *(written(line["setting"].get(key, "–")) for key in settings),
            time(line["ours"]),
            *([f"{line['per_second']:,.0f}"] if rate else []),
            *(opponent(line, name) for name in names),
            *(["–" if line["ours"]["memory_mb"] is None else f"{line['ours']['memory_mb']:,.0f}"] if memory else []),
            "–" if line["floor"] is None else digits(1e3 * line["floor"]["seconds"]),
            "–" if line["floor"] is None else f"{line['floor']['share']:.0%}",
            *([share(line, alone)] if alone else []),
        ]
        for line in lines
    ]
    return table(heads, body)


def share(line: dict[str, Any], name: str) -> str:
    """How much of an opponent's time the floor is."""
    there = name in line["opponents"]
    return f"{line['floor']['seconds'] / line['opponents'][name]['median']:.0%}" if there else "–"


def wrong(lines: Sequence[dict[str, Any]]) -> str:
    """Of each contestant, against every distance in float64; and what memory ours needs at a larger batch."""
    names = list(dict.fromkeys(name for line in lines for name in line["wrong"]))
    body = [
        [
            *(f"{line['setting'][key]:,}" for key in ("K", "D", "vectors")),
            *(f"{line['wrong'][name]:,}" if name in line["wrong"] else "–" for name in names),
            "–" if line["extra_mb"] is None else f"{line['extra_mb']:,.0f} at {line['extra_vectors']:,}",
        ]
        for line in lines
    ]
    return table(["K", "D", "vectors", *names, "memory of ours, MB, at so many vectors"], body)


def left_out(lines: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence on what this machine is too small or slow for."""
    told = [
        f"{', '.join(f'{key} {written(value)}' for key, value in line['setting'].items())} ({line['left_out']})"
        for line in lines
    ]
    return [f"Left out here: {'; '.join(told)}."] if told else []


def written(value: Any) -> str:
    return (
        "×".join(map(str, value)) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else str(value)
    )


def time(line: dict[str, Any]) -> str:
    """Milliseconds: the median, and the quartiles in brackets."""
    median, low, high = (digits(1e3 * line[key]) for key in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def digits(value: float) -> str:
    """Three significant digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


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


def overhead(found: dict[str, Any]) -> str:
    return (
        f"DVC itself took {found['first']:.1f} s for the {found['stages']} stages of this grid, their commands doing "
        f"nothing, and {found['again']:.1f} s to see that there was nothing to do."
    )


def draw(results: Results) -> list[tuple[Figure, Picture]]:
    """Time against K of a quantizer call, the complexities of LL-VQ-VAE's Table 1; and of a search at one capacity."""
    found = results.benchmark or {"comparisons": []}
    return [*_draw_calls(found), *_draw_search(found)]


def _draw_search(found: dict[str, Any]) -> list[tuple[Figure, Picture]]:
    lines = [line for line in found["comparisons"] if line["group"] == "search"]
    if not lines:
        return []
    figure, axes = plt.subplots(figsize=(WIDTH * 0.7, 4.2), layout="constrained")
    for name in dict.fromkeys(["ours", *(name for line in lines for name in line["opponents"])]):
        measured = [(line["setting"]["K"], {"ours": line["ours"], **line["opponents"]}.get(name)) for line in lines]
        points = [(codes, 1e3 * one["median"]) for codes, one in measured if one is not None]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="K = 65,536 / D", ylabel="milliseconds")
    for axis in (axes.xaxis, axes.yaxis):
        plain(axis, (1.0,))
    axes.legend()
    caption = f"""Median time for {lines[0]["setting"]["vectors"]:,} vectors. The full matrix is |x|² + |c|² - 2x·c in
        float32; the table says how many vectors each gives a wrong code."""
    title = "Search at every [K, D] of one capacity"
    return [(figure, Picture(SEARCH, title, "Time of a search against K on log axes, for each contestant.", caption))]


def _draw_calls(found: dict[str, Any]) -> list[tuple[Figure, Picture]]:
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
