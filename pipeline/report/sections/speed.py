"""What the benchmark measured, as tables and figures, for the parts that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from pipeline.report.blocks import Block, Cell, Figure, Table, Text, paragraph, table
from pipeline.report.describe import hardware
from pipeline.report.drawing import WIDTH, plain
from pipeline.report.results import Results
from pipeline.report.summary import NONE

TITLE = "Time and memory"
TITLES = {
    "quantizer": "One quantizer call, forward and backward",
    "search": "The nearest code of each vector, vectors and codes from N(0, 1)",
    "trained": "The nearest code of each latent, after so many training steps",
    "step": "One training step with its batch",
    "epoch": "An epoch with its data",
    "distinct": "Counting distinct codes",
}


def section(results: Results) -> Iterator[Block]:
    """Nothing where no part was asked for."""
    if not results.benchmark:
        return
    yield paragraph(HOW)
    yield machines(results)
    yield from figure_of_calls(results)
    for group, title in TITLES.items():
        lines = lines_of(results, group)
        measured = [line for line in lines if "left_out" not in line]
        if measured:
            yield comparisons(measured, title)
        if measured and group == "search":
            yield figure_of_searches(measured)
        if measured and group in ("search", "trained"):
            yield wrong(measured)
        yield from left_out([line for line in lines if "left_out" in line])
    for part, show in OWN_FORM.items():
        if part in results.benchmark:
            yield from show(results.benchmark[part]["lines"])


def lines_of(results: Results, group: str) -> list[dict[str, Any]]:
    """The lines of one group of comparisons, with those that were left out."""
    return [line for part in results.benchmark.values() for line in part["lines"] if line.get("group") == group]


HOW = """All contestants of a line took turns in one run; times are medians with quartiles. An opponent's number says
how many times as long as ours it took, by the median of the rounds: above 1, ours is faster. The floor is the time of
the bytes and operations that cannot be left out, at this machine's measured best (how fast it copies, and how fast it
multiplies matrices in float32), and the share how much of our time that is; above 100 %, fewer operations do. An
opponent's share says what could be gained over it: at 80 %, no more than a factor of 1.25."""


def machines(results: Results) -> Table:
    """A line per part: where it was measured, with what clock, and whether all of it."""
    lines = []
    for name, part in results.benchmark.items():
        environment, best = part["environment"], part["machine"]
        remarks = ["quick, to see that it works: its numbers say nothing"] if part["quick"] else []
        remarks += [] if part["finished"] else ["stopped before its end"]
        lines.append(
            [
                name,
                f"{hardware(environment)}, torch {environment['torch']}",
                f"{best['bandwidth_gb_per_s']:,.1f} GB/s, {best['arithmetic_gflop_per_s']:,.0f} GFLOP/s",
                "processor, without other work" if part["clock"] == "processor" else "wall",
                "; ".join(remarks) or NONE,
            ]
        )
    return table(["part", "measured on", "machine's best", "seconds of", "remarks"], lines, left=5)


def comparisons(lines: Sequence[dict[str, Any]], title: str) -> Table:
    """One line per setting; columns for all opponents."""
    names = list(dict.fromkeys(name for line in lines for name in (*line["opponents"], *line["skipped"])))
    floors = [line["floor"] for line in lines]
    columns: dict[str, list[str | Cell]] = settings(lines)
    columns["ours, ms"] = [time(line["ours"]) for line in lines]
    unit = next((line["unit"] for line in lines if "unit" in line), None)
    if unit is not None:
        columns[f"{unit} per second"] = [f"{line['per_second']:,.0f}" for line in lines]
    columns |= {name: [opponent(line, name) for line in lines] for name in names}
    if any(line["ours"]["memory_mb"] is not None for line in lines):
        columns["memory, MB"] = [megabytes(line["ours"]["memory_mb"]) for line in lines]
    columns["floor, ms"] = [NONE if floor is None else digits(1e3 * floor["seconds"]) for floor in floors]
    columns["share"] = [NONE if floor is None else f"{floor['share']:.0%}" for floor in floors]
    if len(names) == 1 and all(floors):
        columns[f"{names[0]}'s share"] = [share(line, names[0]) for line in lines]
    return table(list(columns), list(zip(*columns.values(), strict=True)), title=title)


def settings(lines: Sequence[dict[str, Any]]) -> dict[str, list[str | Cell]]:
    """The columns that say what was measured."""
    keys = dict.fromkeys(key for line in lines for key in line["setting"])
    return {key: [written(line["setting"].get(key, NONE)) for line in lines] for key in keys}


def megabytes(size: float | None) -> str:
    return NONE if size is None else f"{size:,.0f}"


def share(line: dict[str, Any], name: str) -> str:
    """How much of an opponent's time the floor is."""
    there = name in line["opponents"]
    return f"{line['floor']['seconds'] / line['opponents'][name]['median']:.0%}" if there else NONE


def wrong(lines: Sequence[dict[str, Any]]) -> Table:
    """Of each contestant, against every distance in float64; and what memory ours needs at a larger batch."""
    columns = settings(lines)
    for name in dict.fromkeys(name for line in lines for name in line["wrong"]):
        columns[name] = [f"{line['wrong'][name]:,}" if name in line["wrong"] else NONE for line in lines]
    columns["memory of ours, MB, at so many vectors"] = [
        NONE if line["extra_mb"] is None else f"{line['extra_mb']:,.0f} at {line['extra_vectors']:,}" for line in lines
    ]
    body = list(zip(*columns.values(), strict=True))
    return table(list(columns), body, title="Vectors that get a wrong code")


def left_out(lines: Sequence[dict[str, Any]]) -> Iterator[Text]:
    """One sentence on what this machine is too small or slow for."""
    texts = [
        f"{', '.join(f'{key} {written(value)}' for key, value in line['setting'].items())} ({line['left_out']})"
        for line in lines
    ]
    if texts:
        yield Text(f"Left out here: {'; '.join(texts)}.")


def written(value: Any) -> str:
    if isinstance(value, list):
        return "×".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


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
        return NONE
    times = line["opponents"][name]
    memory = "" if times["memory_mb"] is None else f", {times['memory_mb']:,.0f} MB"
    return f"{times['ratio']['median']:.2f}× [{times['ratio']['low']:.2f}, {times['ratio']['high']:.2f}]{memory}"


Show = Callable[[Sequence[dict[str, Any]]], Iterator[Text | Table]]


def memory(lines: Sequence[dict[str, Any]]) -> Iterator[Table]:
    heads = ["what", "images", "vectors", "before, MB", "at the peak, MB", "the textbook's two matrices, MB"]
    sizes = ("before_mb", "peak_mb", "textbook_mb")
    body = [
        [line["what"], f"{line['images']:,}", f"{line['vectors']:,}", *(megabytes(line[key]) for key in sizes)]
        for line in lines
    ]
    yield table(heads, body, title="Memory of a batch of CelebA's size at [65536, 1]")


def starting(lines: Sequence[dict[str, Any]]) -> Iterator[Table]:
    kinds = ("seconds", "processor_seconds")
    body = [[line["command"], *(f"{line[kind]['median']:.2f}" for kind in kinds)] for line in lines]
    yield table(["command", "seconds", "seconds of processor"], body, title="Until a stage begins its work")


def overhead(lines: Sequence[dict[str, Any]]) -> Iterator[Text]:
    for line in lines:
        yield paragraph(f"""DVC itself took {line["first"]:.1f} s for the {line["stages"]} stages of this grid, their
            commands doing nothing, and {line["again"]:.1f} s to see that there was nothing to do.""")


OWN_FORM: dict[str, Callable[[Sequence[dict[str, Any]]], Iterator[Text | Table]]] = {
    "memory": memory,
    "starting": starting,
    "overhead": overhead,
}
"""The parts that compare nothing."""


def figure_of_searches(lines: Sequence[dict[str, Any]]) -> Figure:
    return Figure(
        "benchmark-search",
        "Search at every [K, D] of one capacity",
        f"""Median time for {lines[0]["setting"]["vectors"]:,} vectors. The full matrix is |x|² + |c|² - 2x·c in
        float32; the table says how many vectors each gives a wrong code.""",
        "Time of a search against K on log axes, for each contestant.",
        lambda: draw_searches(lines),
    )


def draw_searches(lines: Sequence[dict[str, Any]]) -> Drawing:
    """A line per contestant."""
    figure, axes = milliseconds("K = 65,536 / D")
    for name in dict.fromkeys(["ours", *(name for line in lines for name in line["opponents"])]):
        measured = [(line["setting"]["K"], {"ours": line["ours"], **line["opponents"]}.get(name)) for line in lines]
        points = [(codes, 1e3 * times["median"]) for codes, times in measured if times is not None]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.legend()
    return figure


def figure_of_calls(results: Results) -> Iterator[Figure]:
    """Time against K of a quantizer call: the complexities of LL-VQ-VAE's Table 1."""
    calls = [line for line in lines_of(results, "quantizer") if line["setting"]["D"] == 64]
    titles = {variant: str(label["title"]) for variant, label in results.plan["labels"].items()}
    if calls:
        yield Figure(
            "benchmark-codes",
            "LL-VQ-VAE, Table 1, measured: time against the number of codes",
            """Forward and backward of one call at D = 64, median. LL-VQ-VAE's Table 1 gives O(1) for the lattice and
            O(K) for a codebook. Dotted, the textbook's formulation with all distances and one-hot codes.""",
            "Time of one quantizer call against the number of codes K on log axes, for each quantizer.",
            lambda: draw_calls(calls, titles),
        )


def draw_calls(lines: Sequence[dict[str, Any]], titles: Mapping[str, str]) -> Drawing:
    """A solid line per quantizer, and a dotted one for the textbook's formulation of it."""
    figure, axes = milliseconds("K")
    for place, name in enumerate(dict.fromkeys(line["setting"]["quantizer"] for line in lines)):
        curve = [line for line in lines if line["setting"]["quantizer"] == name]
        contestants = {"": [(line, line["ours"]) for line in curve]}
        beside = [(line, line["opponents"]["textbook"]) for line in curve if "textbook" in line["opponents"]]
        contestants |= {", textbook": beside} if beside else {}
        for who, measured in contestants.items():
            points = [(line["setting"]["K"], 1e3 * times["median"]) for line, times in measured]
            style: dict[str, Any] = {"linestyle": ":", "marker": "x"} if who else {"marker": "o"}
            axes.plot(*zip(*points, strict=True), color=f"C{place}", label=titles.get(name, name) + who, **style)
    axes.legend()
    return figure


def milliseconds(against: str) -> tuple[Drawing, Axes]:
    """An empty figure of times, on log axes."""
    figure, axes = plt.subplots(figsize=(WIDTH * 0.7, 4.2), layout="constrained")
    axes.set(xscale="log", yscale="log", xlabel=against, ylabel="milliseconds")
    for axis in (axes.xaxis, axes.yaxis):
        plain(axis)
    return figure, axes
