"""What the benchmark measured, as tables and figures, for the parts that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pipeline.report import labels, tables
from pipeline.report.drawing import WIDTH, Picture, plain
from pipeline.report.read import Results
from pipeline.report.summary import NONE
from pipeline.report.tables import table

NAME = "benchmark-codes"
SEARCH = "benchmark-search"
TITLES = {
    "quantizer": "One quantizer call, forward and backward",
    "search": "The nearest code of each vector, vectors and codes from N(0, 1)",
    "trained": "The nearest code of each latent, after so many training steps",
    "step": "One training step with its batch",
    "epoch": "An epoch with its data",
    "distinct": "Counting distinct codes",
}


def section(results: Results, pictures: Mapping[str, Picture]) -> list[str]:
    """Markdown paragraphs; none where no part was asked for."""
    if not results.benchmark:
        return []
    blocks = ['<a id="speed"></a>\n\n## Time and memory', " ".join(HOW.split()), machines(results)]
    if NAME in pictures:
        blocks.append(pictures[NAME].markdown())
    for group, title in TITLES.items():
        lines = lines_of(results, group)
        measured = [line for line in lines if "left_out" not in line]
        if measured:
            blocks += [f"**{title}.**", comparisons(measured)]
        if group == "search" and measured and SEARCH in pictures:
            blocks.append(pictures[SEARCH].markdown())
        if group in ("search", "trained") and measured:
            blocks += ["**Vectors that get a wrong code.**", wrong(measured)]
        blocks += left_out([line for line in lines if "left_out" in line])
    for part, show in OWN_FORM.items():
        blocks += show(results.benchmark[part]["lines"]) if part in results.benchmark else []
    return blocks


def lines_of(results: Results, group: str) -> list[dict[str, Any]]:
    """The lines of one group of comparisons, with those that were left out."""
    return [line for part in results.benchmark.values() for line in part["lines"] if line.get("group") == group]


HOW = """All contestants of a line took turns in one run; times are medians with quartiles. An opponent's number says
how many times as long as ours it took, by the median of the rounds: above 1, ours is faster. The floor is the time of
the bytes and operations that cannot be left out, at this machine's measured best (how fast it copies, and how fast it
multiplies matrices in float32), and the share how much of our time that is; above 100 %, fewer operations do. An
opponent's share says what could be gained over it: at 80 %, no more than a factor of 1.25."""


def machines(results: Results) -> str:
    """A line per part: where it was measured, with what clock, and whether all of it."""
    lines = []
    for name, part in results.benchmark.items():
        environment, best = part["environment"], part["machine"]
        remarks = ["quick, to see that it works: its numbers say nothing"] if part["quick"] else []
        remarks += [] if part["finished"] else ["stopped before its end"]
        lines.append(
            [
                name,
                f"{tables.environment(environment, ('device', 'threads'))}, torch {environment['torch']}",
                f"{best['bandwidth_gb_per_s']:,.1f} GB/s, {best['arithmetic_gflop_per_s']:,.0f} GFLOP/s",
                "processor, without other work" if part["clock"] == "processor" else "wall",
                "; ".join(remarks) or NONE,
            ]
        )
    return table(["part", "measured on", "machine's best", "seconds of", "remarks"], lines, left=5)


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
            *(written(line["setting"].get(key, NONE)) for key in settings),
            time(line["ours"]),
            *([f"{line['per_second']:,.0f}"] if rate else []),
            *(opponent(line, name) for name in names),
            *([NONE if line["ours"]["memory_mb"] is None else f"{line['ours']['memory_mb']:,.0f}"] if memory else []),
            NONE if line["floor"] is None else digits(1e3 * line["floor"]["seconds"]),
            NONE if line["floor"] is None else f"{line['floor']['share']:.0%}",
            *([share(line, alone)] if alone else []),
        ]
        for line in lines
    ]
    return table(heads, body)


def share(line: dict[str, Any], name: str) -> str:
    """How much of an opponent's time the floor is."""
    there = name in line["opponents"]
    return f"{line['floor']['seconds'] / line['opponents'][name]['median']:.0%}" if there else NONE


def wrong(lines: Sequence[dict[str, Any]]) -> str:
    """Of each contestant, against every distance in float64; and what memory ours needs at a larger batch."""
    settings = list(dict.fromkeys(key for line in lines for key in line["setting"]))
    names = list(dict.fromkeys(name for line in lines for name in line["wrong"]))
    body = [
        [
            *(written(line["setting"].get(key, NONE)) for key in settings),
            *(f"{line['wrong'][name]:,}" if name in line["wrong"] else NONE for name in names),
            NONE if line["extra_mb"] is None else f"{line['extra_mb']:,.0f} at {line['extra_vectors']:,}",
        ]
        for line in lines
    ]
    return table([*settings, *names, "memory of ours, MB, at so many vectors"], body)


def left_out(lines: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence on what this machine is too small or slow for."""
    texts = [
        f"{', '.join(f'{key} {written(value)}' for key, value in line['setting'].items())} ({line['left_out']})"
        for line in lines
    ]
    return [f"Left out here: {'; '.join(texts)}."] if texts else []


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
        return NONE
    times = line["opponents"][name]
    memory = "" if times["memory_mb"] is None else f", {times['memory_mb']:,.0f} MB"
    return f"{times['ratio']['median']:.2f}× [{times['ratio']['low']:.2f}, {times['ratio']['high']:.2f}]{memory}"


def memory(lines: Sequence[dict[str, Any]]) -> list[str]:
    heads = ["what", "images", "vectors", "before, MB", "at the peak, MB", "the textbook's two matrices, MB"]
    keys = ("before_mb", "peak_mb", "textbook_mb")
    body = [
        [line["what"], *(f"{line[key]:,}" for key in ("images", "vectors"))]
        + [NONE if line[key] is None else f"{line[key]:,.0f}" for key in keys]
        for line in lines
    ]
    return ["**Memory of a batch of CelebA's size at [65536, 1].**", table(heads, body)]


def starting(lines: Sequence[dict[str, Any]]) -> list[str]:
    kinds = ("seconds", "processor_seconds")
    body = [[line["command"], *(f"{line[kind]['median']:.2f}" for kind in kinds)] for line in lines]
    return ["**Until a stage begins its work.**", table(["command", "seconds", "seconds of processor"], body)]


def overhead(lines: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"DVC itself took {line['first']:.1f} s for the {line['stages']} stages of this grid, their commands doing "
        f"nothing, and {line['again']:.1f} s to see that there was nothing to do."
        for line in lines
    ]


OWN_FORM = {"memory": memory, "starting": starting, "overhead": overhead}
"""The parts that compare nothing."""


def draw(results: Results) -> Iterator[tuple[Figure, Picture]]:
    """Time against K of a quantizer call, the complexities of LL-VQ-VAE's Table 1; and of a search at one capacity."""
    calls = [line for line in lines_of(results, "quantizer") if line["setting"]["D"] == 64]
    if calls:
        yield draw_calls(results, calls)
    searches = lines_of(results, "search")
    if searches:
        yield draw_searches(searches)


def draw_searches(lines: Sequence[dict[str, Any]]) -> tuple[Figure, Picture]:
    """A line per contestant."""
    figure, axes = plt.subplots(figsize=(WIDTH * 0.7, 4.2), layout="constrained")
    for name in dict.fromkeys(["ours", *(name for line in lines for name in line["opponents"])]):
        measured = [(line["setting"]["K"], {"ours": line["ours"], **line["opponents"]}.get(name)) for line in lines]
        points = [(codes, 1e3 * times["median"]) for codes, times in measured if times is not None]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="K = 65,536 / D", ylabel="milliseconds")
    for axis in (axes.xaxis, axes.yaxis):
        plain(axis, (1.0,))
    axes.legend()
    caption = f"""Median time for {lines[0]["setting"]["vectors"]:,} vectors. The full matrix is |x|² + |c|² - 2x·c in
        float32; the table says how many vectors each gives a wrong code."""
    title = "Search at every [K, D] of one capacity"
    return figure, Picture(SEARCH, title, "Time of a search against K on log axes, for each contestant.", caption)


def draw_calls(results: Results, lines: Sequence[dict[str, Any]]) -> tuple[Figure, Picture]:
    """A solid line per quantizer, and a dotted one for the textbook's formulation of it."""
    titles = {variant: label.title for variant, label in labels.labels(results.plan).items()}
    figure, axes = plt.subplots(figsize=(WIDTH * 0.7, 4.2), layout="constrained")
    for place, name in enumerate(dict.fromkeys(line["setting"]["quantizer"] for line in lines)):
        curve = [line for line in lines if line["setting"]["quantizer"] == name]
        contestants = {"": [(line, line["ours"]) for line in curve]}
        beside = [(line, line["opponents"]["textbook"]) for line in curve if "textbook" in line["opponents"]]
        contestants |= {", textbook": beside} if beside else {}
        for who, measured in contestants.items():
            points = [(line["setting"]["K"], 1e3 * times["median"]) for line, times in measured]
            style: dict[str, Any] = {"linestyle": ":", "marker": "x"} if who else {"marker": "o"}
            axes.plot(*zip(*points, strict=True), color=f"C{place}", label=titles.get(name, name) + who, **style)
    axes.set(xscale="log", yscale="log", xlabel="K", ylabel="milliseconds")
    for axis in (axes.xaxis, axes.yaxis):
        plain(axis, (1.0,))
    axes.legend()
    return figure, Picture(
        NAME,
        "LL-VQ-VAE, Table 1, measured: time against the number of codes",
        "Time of one quantizer call against the number of codes K on log axes, for each quantizer.",
        """Forward and backward of one call at D = 64, median. LL-VQ-VAE's Table 1 gives O(1) for the lattice
        and O(K) for a codebook. Dotted, the textbook's formulation with all distances and one-hot codes.""",
    )
