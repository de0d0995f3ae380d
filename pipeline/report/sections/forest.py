"""The forest plot: every claim that was tested as one line, with what each seed says."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from pipeline.report import svg
from pipeline.report.blocks import Figure
from pipeline.report.drawing import WIDTH
from pipeline.report.evidence import wording
from pipeline.report.evidence.decisions import Decision, Verdict
from pipeline.report.evidence.statistics import FEWEST_SEEDS, Comparison
from pipeline.report.results import Results
from pipeline.report.sections.verdicts import anchor

MARKS = {  # verdict → marker, colour of Okabe and Ito's palette, whether it is filled
    Verdict.HOLDS: ("o", "#009E73", True),
    Verdict.FAILS: ("X", "#D55E00", True),
    Verdict.OPEN: ("D", "#0072B2", False),
    Verdict.NOT_JUDGED: ("_", "#666666", True),
    Verdict.NOT_RUN: ("", "#666666", True),
}
SHADE = "#DCEBF5"
WIDEST = 32.0  # the axis shows no more than this factor
LABEL, OFFSET = 50, 0.13  # characters of a line; inches between data sets


@dataclass(frozen=True)
class Ratio:
    """A comparison on the axis that all claims share: the row's number divided by what it is compared with.

    Attributes:
        values: of each seed; for a difference, one plus its share of the other row's mean.
        low, high: the interval, 0 and inf without an end.
        region: where the claim says that the ratio lies.
    """

    values: list[float]
    mean: float
    low: float
    high: float
    region: tuple[float, float]


def ratio(decision: Decision) -> Ratio | None:
    """What is drawn of a decision: its main comparison, which decides it or comes closest to that.

    None for a statement on each seed, where nothing was compared, and for differences to what is not positive.
    """
    one = decision.main
    if one is None or one.by_seed:
        return None
    estimate, region = one.estimate, one.region
    ends = [*estimate.values.values(), estimate.mean, estimate.low, estimate.high, region.low, region.high]
    if estimate.form == "difference":
        other = decision.measured[one.variant][estimate.measure].mean - estimate.mean
        if other <= 0:
            return None
        ends = [1 + end / other for end in ends]
    *values, mean, low, high, claimed_low, claimed_high = ends
    return Ratio(values, mean, low, high, (claimed_low, claimed_high))


def shown(decisions: Sequence[Decision]) -> dict[str, list[Decision]]:
    """Id of the claim → its decisions, for the claims whose rows were run on one data set at least."""
    claims: dict[str, list[Decision]] = {}
    for decision in decisions:
        claims.setdefault(decision.claim.id, []).append(decision)
    return {
        name: several for name, several in claims.items() if any(one.verdict is not Verdict.NOT_RUN for one in several)
    }


def figure(results: Results, decisions: Sequence[Decision]) -> Iterator[Figure]:
    """One figure, or none where nothing was compared."""
    claims = shown(decisions)
    if not any(ratio(one) for several in claims.values() for one in several):
        return
    verdicts = [one.verdict for several in claims.values() for one in several]
    counted = ", ".join(f"{wording.WORDS[kind]}: {verdicts.count(kind)}" for kind in MARKS if kind in verdicts)
    alt = f"A line for each of {len(claims)} claims with the ratio of every seed and the verdict; {counted}."
    yield Figure("forest", "Every claim that was tested", CAPTION, alt, lambda: draw(results, claims))


CAPTION = """Each line is a claim, in italics where this project asks it and not the paper. A small dot is a seed: the
number of the model that the claim speaks of, divided by that of the model it is compared with (for differences, by the
other's mean); a triangle lies beyond the axis. The upright stroke is their mean, the bar its 95 % interval, which is
drawn from three seeds on. Shaded is the side that the claim names: the claim holds where the whole bar lies in it and
the correction for several claims leaves it so. Of several comparisons that decide a claim, the one furthest from the
claim is drawn. Several data sets follow from top to bottom in the order of the columns. At the right the verdict, and
of how many seeds the claim is true. A claim about each seed by itself has no dots. Numbers:
[verdicts in full](#verdicts)."""


# the drawing


@dataclass(frozen=True)
class Line:
    """A claim at its place: `top` and `bottom` in inches from the top of the axes."""

    decisions: list[Decision]
    label: list[str]
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    def place(self, number: int) -> float:
        """Of the data set with this number."""
        return self.middle + (number - (len(self.decisions) - 1) / 2) * OFFSET


def draw(results: Results, claims: dict[str, list[Decision]]) -> Drawing:
    heads, lines, height = arrange(results, list(claims.values()))
    datasets = results.plan["datasets"]
    wide = COLUMN[min(len(datasets), len(COLUMN)) - 1]
    left, right, above, below = 3.55, 0.1 + wide * len(datasets), 0.45 if len(datasets) == 1 else 1.5, 0.95
    total = height + above + below
    figure = plt.figure(figsize=(WIDTH, total))
    axes = figure.add_axes((left / WIDTH, below / total, (WIDTH - left - right) / WIDTH, height / total))
    limits = span([found for line in lines for one in line.decisions if (found := ratio(one))])
    axes.set(xscale="log", xlim=limits, ylim=(height, 0))
    axes.axvline(1, color="#888888", linewidth=0.8, zorder=1)
    unit = WIDTH - left - right  # inches that the axis is wide
    for top, text in heads:
        axes.text(-left / unit, top, text, transform=axes.get_yaxis_transform(), fontweight="bold", va="center")
    for line in lines:
        label(axes, line, results)
        for number, one in enumerate(line.decisions):
            draw_ratio(axes, one, line, number, wording.sentence(one, results))
            mark(axes, one, 1 + (0.1 + wide * (number + 0.25)) / unit, line.middle, wording.sentence(one, results))
    for number, dataset in enumerate(datasets):
        place, turned = 1 + (0.1 + wide * (number + 0.1)) / unit, 0 if len(datasets) == 1 else 90
        across = axes.get_yaxis_transform()
        axes.text(place, -0.08, results.title(dataset), transform=across, fontsize=9, rotation=turned)
    ticks(axes, limits)
    legend(figure)
    return figure


COLUMN = (0.85, 0.85, 0.7, 0.6, 0.52, 0.47, 0.43)
"""Inches of a column of verdicts, by the number of data sets."""


def arrange(results: Results, claims: Sequence[list[Decision]]) -> tuple[list[tuple[float, str]], list[Line], float]:
    """The papers' names with their places, the claims' lines, and the height of all."""
    heads, lines, y, paper = [], [], 0.05, ""
    for decisions in claims:
        if decisions[0].paper != paper:
            paper = decisions[0].paper
            heads.append((y + 0.14, str(results.papers[paper]["short"])))
            y += 0.3
        text = textwrap.wrap(decisions[0].claim.claim, LABEL)
        dots = OFFSET * len(decisions) * any(map(ratio, decisions))
        tall = max(0.145 * (len(text) + bool(compared(decisions, results))), dots) + 0.13
        lines.append(Line(decisions, text, y, y + tall))
        y += tall
    return heads, lines, y


def compared(decisions: Sequence[Decision], results: Results) -> str:
    """What is divided by what, or what of each seed is asked; the measure alone where it is not the same everywhere."""
    mains = [one.main for one in decisions if one.main]
    texts = {described(one, results) for one in mains}
    if len(texts) == 1:
        return texts.pop()
    return next((results_measure(one, results) for one in mains), "")


def described(one: Comparison, results: Results) -> str:
    measure = results_measure(one, results)
    if one.by_seed or one.against is None:
        return f"{measure}, each seed"
    return f"{measure}: {wording.title(one.variant, results)} ÷ {wording.title(one.against, results)}"


def results_measure(one: Comparison, results: Results) -> str:
    return results.measures[one.estimate.measure].title


def span(ratios: Sequence[Ratio]) -> tuple[float, float]:
    """Limits of the axis that hold every seed, mean and limit of a claim, up to a factor."""
    numbers = [number for one in ratios for number in (*one.values, one.mean, *one.region)]
    kept = [math.log(number) for number in numbers if 1 / WIDEST < number < WIDEST] or [0.0]
    reach = [max(0.7, 0.15 - min(kept)), max(0.7, 0.15 + max(kept))]
    return math.exp(-reach[0]), math.exp(reach[1])


def label(axes: Axes, line: Line, results: Results) -> None:
    """The claim in words, which leads to its numbers, and below in small what is compared."""
    first = line.decisions[0].claim
    style: dict[str, Any] = {"ha": "right", "va": "center", "transform": axes.get_yaxis_transform()}
    small = compared(line.decisions, results)
    texts = [*line.label, *([small] if small else [])]
    for number, text in enumerate(texts):
        place = line.middle + 0.145 * (number - (len(texts) - 1) / 2)
        look: dict[str, Any] = {"fontsize": 8.5, "fontstyle": "italic" if first.origin == "ours" else "normal"}
        if number == len(line.label):
            look = {"fontsize": 7, "color": "#666666"}
        axes.text(-0.02, place, text, url=f"#{anchor(first)}", **style, **look)
    axes.axhline(line.bottom, color="#EEEEEE", linewidth=0.6, zorder=0)


def draw_ratio(axes: Axes, decision: Decision, line: Line, number: int, told: str) -> None:
    """The claimed side, a dot for each seed, the mean and its interval; beyond the axis, at its edge."""
    found = ratio(decision)
    if found is None:
        return
    low, high = axes.get_xlim()
    _, colour, _ = MARKS[decision.verdict]
    height = (line.bottom - line.top) / len(line.decisions)
    top = line.top + number * height
    left, right = (min(max(end, low), high) for end in found.region)
    axes.fill_between([left, right], top, top + height, color=SHADE, linewidth=0, zorder=0)
    y = line.place(number)
    if len(found.values) >= FEWEST_SEEDS:
        axes.plot([max(found.low, low), min(found.high, high)], [y, y], color=colour, linewidth=1.4, label="_interval")
    for value in found.values:
        shape = "<" if value < low else ">" if value > high else "o"
        place = min(max(value, low), high)
        axes.plot(place, y, shape, color=colour, markersize=3.5, alpha=0.75, clip_on=False, label="_seed")
    if low < found.mean < high:
        mean = axes.plot(found.mean, y, "|", color=colour, markersize=9, markeredgewidth=1.8, label="_mean")
        mean[0].set_gid(svg.tip(told))


def mark(axes: Axes, decision: Decision, x: float, y: float, told: str) -> None:
    """The verdict, and of how many seeds the claim is true."""
    shape, colour, filled = MARKS[decision.verdict]
    across = axes.get_yaxis_transform()
    if not shape:
        return
    face = colour if filled else "white"
    drawn = axes.plot(
        x, y, shape, color=colour, markerfacecolor=face, markersize=7, transform=across, clip_on=False, linestyle=""
    )
    drawn[0].set_gid(svg.tip(told))
    if decision.n and decision.verdict is not Verdict.NOT_JUDGED:
        text = f"{decision.agree}/{decision.n}"
        axes.annotate(
            text, (x, y), (7, 0), xycoords=across, textcoords="offset points", fontsize=7.5, va="center",
            color="#444444", annotation_clip=False,
        )  # fmt: skip


def ticks(axes: Axes, limits: tuple[float, float]) -> None:
    """Equal in the middle, factors on both sides."""
    factors: tuple[float, ...] = (1.25, 1.5, 2.0) if max(1 / limits[0], limits[1]) < 3 else (2.0, 4.0, 8.0, 16.0, 32.0)
    if limits[1] / limits[0] > 100:
        factors = (4.0, 16.0)
    places = [*(1 / factor for factor in factors), 1.0, *factors]
    axes.xaxis.set_major_locator(FixedLocator([place for place in places if limits[0] <= place <= limits[1]]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: factor_of(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(top=True, labeltop=True, labelsize=9)
    axes.set_yticks([])
    axes.set_xlabel("the model of the claim, divided by the other (log scale)")
    axes.spines["left"].set_visible(False)


def factor_of(value: float) -> str:
    """÷2, equal, ×2."""
    if math.isclose(value, 1.0):
        return "equal"
    return f"×{value:g}" if value > 1 else f"÷{1 / value:g}"


def legend(figure: Drawing) -> None:
    """The marks, each with its word, and the shade."""
    handles: list[Artist] = [
        Line2D([], [], marker=shape, color=colour, markerfacecolor=colour if filled else "white", linestyle="")
        for shape, colour, filled in MARKS.values()
        if shape
    ]
    names = [wording.WORDS[verdict] for verdict, (shape, *_) in MARKS.items() if shape]
    handles = [*handles, Patch(facecolor=SHADE)]
    figure.legend(handles, [*names, "what the claim says"], loc="lower center", ncols=len(handles), fontsize=8.5)
