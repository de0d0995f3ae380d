"""Sweeps: a section, a figure and a table for each that is planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import NullLocator

from pipeline.report import summary
from pipeline.report.blocks import Block, Cell, Figure, Heading, Table, bullets, code, escape, paragraph, table
from pipeline.report.describe import PARTS, commit, hardware, listed
from pipeline.report.drawing import WIDTH, by_epoch, looks, plain, scale_errors, tick
from pipeline.report.results import Measure, Results, Row

TITLE = "Sweeps"
USUAL = ("test_mse", "codes_in_use")
"""The measures that are drawn where a sweep names none."""
MOST_PANELS = 3
LONG = 10
"""From so many epochs on, rows at a constant learning rate are also drawn against the epoch."""

COLUMNS = (
    "test_mse",
    "codes_in_use",
    "utilization",
    "bits_per_latent",
    "active_dimensions",
    "quantizer_parameters",
    "seconds",
)
"""The measures of a sweep's table, beside those that the sweep itself names."""


def section(results: Results) -> Iterator[Block]:
    """A figure and a table for each sweep; nothing where none is planned."""
    for place, (dataset, sweep, rows) in enumerate(planned(results)):
        about = results.plan["sweeps"][sweep]
        if place == 0:
            yield paragraph(OPENING)
        yield Heading(f"{results.title(dataset)}: {about['title']}")
        yield paragraph(opening(about, rows))
        yield from figure_of(results, dataset, sweep, rows)
        if long(rows):
            yield bullets([turning(about, row) for row in rows])
        yield table_of(about, rows)


OPENING = """One setting takes several values, and all else stays as it is in the variant. Values, variants and what
else a sweep changes stand in `params.yaml` under `sweeps`; `make sweeps` runs them. Their trainings are shorter than
those above, so that their rows are compared with one another only."""


def planned(results: Results) -> Iterator[tuple[str, str, list[Row]]]:
    """Data set, name and rows of every sweep."""
    for dataset in results.plan["datasets"]:
        for name in results.plan["sweeps"]:
            rows = [row for row in results.swept_of(dataset) if swept(row)["name"] == name]
            if rows:
                yield dataset, name, rows


def swept(row: Row) -> dict[str, Any]:
    """What the row's settings say of its sweep: name, variant, setting, value."""
    about: dict[str, Any] = row.settings["sweep"]
    return about


def long(rows: Sequence[Row]) -> bool:
    return any(not row.learning_rate_falls and row.settings["train"]["epochs"] >= LONG for row in rows)


def opening(about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The swept setting, what else differs from the grid, and where the numbers come from."""
    changes = {f"{part}.{key}": value for part in PARTS for key, value in about[part].items()}
    values = dict.fromkeys(written(swept(row)["value"]) for row in rows)
    text = f"`{about['setting']}` takes {escape(', '.join(values))}"
    text += f", with {listed(changes)}." if changes else "."
    places = dict.fromkeys(hardware(row.environment) for row in rows)
    commits = dict.fromkeys(commit(row.environment) for row in rows)
    return f"{text} Measured on {escape('; '.join(places))}, code at commit {'; '.join(commits)}."


def table_of(about: Mapping[str, Any], rows: Sequence[Row]) -> Table:
    """A line per row, which leads to its settings; columns without any value are left out."""
    measures = [rows[0].measure(key) for key in dict.fromkeys((*COLUMNS, *(about["measures"] or ())))]
    columns: list[tuple[str | Cell, list[Cell]]] = [
        ("model", [Cell(name(about, row), link=f"settings/{row.name}.yaml") for row in rows]),
        ("learning rate", [Cell("falls" if row.learning_rate_falls else "constant") for row in rows]),
        *((measure.head, cells) for measure, cells in summary.columns(rows, measures)),
        ("n", [Cell(str(len(row.seeds))) for row in rows]),
        (code("dvc repro …"), [code(row.stage) for row in rows]),
    ]
    return table([head for head, _ in columns], list(zip(*(cells for _, cells in columns), strict=True)))


def name(about: Mapping[str, Any], row: Row) -> str:
    return f"{row.title}, {about['symbol']} = {written(swept(row)['value'])}"


def written(value: Any) -> str:
    """A value on an axis or in a table."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{'−' if value < 0 else ''}{tick(abs(value)) if value else '0'}"
    return str(value)


def turning(about: Mapping[str, Any], row: Row) -> str:
    """Where a row's error is lowest and how it ends."""
    errors = row.history.groupby("epoch")["val_mse"].mean()
    best, last = int(errors.index[int(errors.argmin())]), int(errors.index[-1])
    end = f"{errors[last]:.3g} after the last, {last}" if last != best else "the last"
    line = f"{escape(name(about, row))}: lowest error {errors[best]:.3g} after epoch {best}, {end}"
    if "spacing_mean" in row.history:
        spacing = row.history.groupby("epoch")["spacing_mean"].mean()
        line += f"; mean spacing {spacing[1]:.3g} after the first epoch, {spacing[best]:.3g}"
        line += f" at the lowest error, {spacing[last]:.3g} at the end" if last != best else " at the end"
    return f"{line}."


def figure_of(results: Results, dataset: str, sweep: str, rows: Sequence[Row]) -> Iterator[Figure]:
    """A figure for a sweep with more than one value."""
    about = results.plan["sweeps"][sweep]
    values = list(dict.fromkeys(written(swept(row)["value"]) for row in rows))
    if long(rows):
        title, shown, caption = "over many epochs", "validation error and spacing per epoch", LONG_CAPTION
    else:
        title, shown, caption = "as a sweep", ", ".join(measure.title for measure in drawn(about, rows)), CAPTION
    alt = f"{shown}, for {about['symbol']} = {', '.join(values)}; {', '.join(dict.fromkeys(r.title for r in rows))}."
    if len(values) > 1 or long(rows):
        yield Figure(
            f"{dataset}-sweep-{sweep}",
            f"{results.title(dataset)}: {about['symbol']} {title}",
            caption,
            alt[0].upper() + alt[1:],
            lambda: epochs(about, rows) if long(rows) else panels(about, rows),
        )


CAPTION = """Mean and standard deviation over the seeds. Filled markers: the learning rate falls as published;
hollow: it is constant."""
LONG_CAPTION = """Mean over the seeds; the band runs from the smallest to the largest seed. On the right, each point is
an epoch; the line begins at the cross."""


def drawn(about: Mapping[str, Any], rows: Sequence[Row]) -> list[Measure]:
    """The measures that a sweep names, as far as they were measured."""
    return [rows[0].measure(key) for key in about["measures"] or USUAL if any(row.values(key) for row in rows)]


def panels(about: Mapping[str, Any], rows: Sequence[Row]) -> Drawing:
    """Measures side by side against the swept value, a line per variant; where there is room, error against codes."""
    measures = drawn(about, rows)
    room = len(measures) < MOST_PANELS and set(USUAL) <= {measure.key for measure in measures}
    count = len(measures) + room
    figure, axes = plt.subplots(1, count, figsize=(WIDTH, 3.9), squeeze=False, layout="constrained")
    lines = by_variant(rows)
    look = looks([line[0] for line in lines.values()])
    places = positions(rows)
    for number, line in enumerate(lines.values()):
        style = {**look[line[0].name], "label": line[0].title, "capsize": 2, "markersize": 6}
        style |= {} if line[0].learning_rate_falls else {"markerfacecolor": "white"}
        for panel, measure in zip(axes[0], measures, strict=False):
            one_line(panel, line, measure, places, style)
        if room:
            against(axes[0][-1], line, places, style, "left" if number % 2 else "right")
    for panel, measure in zip(axes[0], measures, strict=False):
        panel.set_title(measure.head)
        scale(panel, measure.key)
        value_axis(panel, places, about["symbol"])
    if room:
        axes[0][-1].set_title("error against codes in use")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(3, len(names)))
    return figure


def by_variant(rows: Sequence[Row]) -> dict[str, list[Row]]:
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(swept(row)["variant"], []).append(row)
    return lines


def positions(rows: Sequence[Row]) -> dict[str, float]:
    """Written value → its place on the axis: the value itself where all are positive numbers, else its number."""
    values = {written(swept(row)["value"]): swept(row)["value"] for row in rows}
    numbers = [value for value in values.values() if isinstance(value, int | float) and value > 0]
    if len(numbers) == len(values):
        return {text: float(value) for text, value in values.items()}
    return {text: float(place) for place, text in enumerate(values)}


def value_axis(panel: Axes, places: Mapping[str, float], head: str) -> None:
    """A tick for each value, on a log axis where places are the values themselves."""
    ticks = sorted(places.items(), key=lambda item: item[1])
    if ticks[0][1] > 0:
        panel.set_xscale("log")
        panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks([place for _, place in ticks], [text for text, _ in ticks])
    panel.set_xlabel(head)


def one_line(
    panel: Axes, line: Sequence[Row], measure: Measure, places: Mapping[str, float], style: dict[str, Any]
) -> None:
    """A measure of a variant against the swept value."""
    summaries = [(places[written(swept(row)["value"])], summary.of(row, measure.key)) for row in line]
    points = sorted((place, mean) for place, mean in summaries if mean)
    means = [measure.scale * mean.mean for _, mean in points]
    spread = [measure.scale * (mean.std or 0.0) for _, mean in points]
    panel.errorbar([place for place, _ in points], means, yerr=spread, **style)


def against(
    panel: Axes, line: Sequence[Row], places: Mapping[str, float], style: dict[str, Any], side: Literal["left", "right"]
) -> None:
    """Error against codes in use, each point with its value on this side of it."""
    beside: dict[str, Any] = {"xytext": (5 if side == "right" else -5, 0), "ha": "left" if side == "right" else "right"}
    style = {**style, "linestyle": "", "ecolor": to_rgba(style["color"], 0.3)}
    for row in line:
        error, codes = summary.of(row, "test_mse"), summary.of(row, "codes_in_use")
        if error is None or codes is None:
            continue
        panel.errorbar(codes.mean, error.mean, xerr=codes.std, yerr=error.std, **style)
        text, place = written(swept(row)["value"]), (codes.mean, error.mean)
        panel.annotate(text, place, textcoords="offset points", va="center", fontsize=8, color="#444444", **beside)
    panel.set(xscale="log", xlabel="codes in use", ylabel=line[0].measure("test_mse").head)
    panel.margins(x=0.2, y=0.15)
    plain(panel.xaxis)


def scale(panel: Axes, measure: str) -> None:
    """Counts on a log axis, errors where they span enough."""
    if measure in ("codes_in_use", "quantizer_parameters") and panel.dataLim.y0 > 0:
        panel.set_yscale("log")
        plain(panel.yaxis)
    elif measure == "test_mse":
        scale_errors(panel)


def epochs(about: Mapping[str, Any], rows: Sequence[Row]) -> Drawing:
    """Validation error per epoch, mean spacing per epoch, and one against the other."""
    rows = [row for row in rows if not row.learning_rate_falls]
    spaced = [row for row in rows if "spacing_mean" in row.history]
    figure, axes = plt.subplots(1, 3 if spaced else 1, figsize=(WIDTH, 3.9), squeeze=False, layout="constrained")
    look = looks(rows)
    for row in rows:
        by_epoch(axes[0][0], row, "val_mse", look[row.name])
    axes[0][0].set(title="MSE on validation", xlabel="epoch")
    for row in spaced:
        by_epoch(axes[0][1], row, "spacing_mean", look[row.name])
        means = row.history.groupby("epoch")[["spacing_mean", "val_mse"]].mean()
        axes[0][2].plot(means["spacing_mean"], means["val_mse"], markersize=4, **look[row.name])
        axes[0][2].plot(*means.iloc[0], color="black", marker="x", linestyle="", markersize=8)
    if spaced:
        axes[0][1].set(title="mean spacing |b|", xlabel="epoch")
        axes[0][2].set(title="MSE on validation", xlabel="mean spacing |b|")
    for panel in axes[0][::2]:
        scale_errors(panel)
    names = [name(about, row) for row in rows]
    figure.legend(axes[0][0].get_lines()[: len(rows)], names, loc="outside lower center", ncols=2)
    return figure
