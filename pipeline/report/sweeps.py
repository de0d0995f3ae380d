"""Sweeps, where they were run: a section, figures and a table for each, from rows kept apart from the grid's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from pipeline.report import summary, tables, words
from pipeline.report.drawing import WIDTH, Picture, by_epoch, looks, plain, scale_errors, tick
from pipeline.report.read import Results, Row
from pipeline.report.summary import NONE, Summary

AGAINST = "test_mse against codes_in_use"
SYMBOLS = {"num_codes": "K", "gamma": "γ", "init": "initial range", "heads": "heads", "epochs": "epochs"}
TITLES = {
    "num_codes": "The size of the codebook, K",
    "gamma": "The weight of the size loss, γ",
    "init": "Where the spacing begins",
    "heads": "Attention heads of the adaptive quantizer",
}
PANELS = {
    "num_codes": ("test_mse", "codes_in_use", "quantizer_parameters"),
    "gamma": ("test_mse", "codes_in_use", AGAINST),
    "init": ("test_mse", "codes_in_use", "active_dimensions"),
    "heads": ("test_mse", "selected_log2_codes", "seconds"),
}
SHORT = {"selected_log2_codes": "log₂ N of the chosen codebook", "seconds": "training time, s"}
USUAL = ("test_mse", "codes_in_use")
LONG = 10
"""From so many epochs on, rows at a constant learning rate are also drawn against the epoch."""

COLUMNS = [
    tables.Column("MSE, test", "test_mse"),
    tables.Column("codes in use", "codes_in_use", places=0),
    tables.Column("utilization, %", "utilization", 100.0, 1),
    tables.Column("bits / latent", "bits_per_latent", places=2),
    tables.Column("active dim.", "active_dimensions", places=1),
    tables.Column("parameters", "quantizer_parameters", places=0),
    tables.Column("time, s", "seconds", places=1),
]


def section(results: Results, pictures: Mapping[str, Picture]) -> list[str]:
    """Markdown paragraphs; none where no sweep was run."""
    parts = []
    for dataset, name, rows in found(results):
        key = results.plan["sweeps"][name]["setting"].partition(".")[2]
        title = "Many epochs" if long(rows) else TITLES.get(key, f"`{key}`")
        parts += [f"### {results.title(dataset)}: {title}", opening(results, dataset, name, rows)]
        parts += [pictures[one].markdown() for one in (f"{dataset}-sweep-{name}",) if one in pictures]
        parts += [turning(rows)] if long(rows) else []
        parts.append(table(rows))
        targets = [f"[{row.name}]: settings/sweeps/{dataset}-{name}/{row.name}.yaml" for row in rows]
        parts.append("\n".join(targets))
    if not parts and not results.stale:
        return []
    return ['<a id="sweeps"></a>\n\n## Sweeps', " ".join(OPENING.split()), *parts, *left_out(results)]


OPENING = """One setting takes several values, and all else stays as it is in the variant. Values, variants and what
else a sweep changes stand in `params.yaml` under `sweeps`; `make sweeps` runs them. Their trainings are shorter than
those above, so that their rows are compared with one another only."""


def found(results: Results) -> Iterator[tuple[str, str, list[Row]]]:
    """Data set, name and rows of every sweep that was run, as far as it was."""
    for dataset in results.plan["datasets"]:
        for name in results.plan.get("sweeps", {}):
            rows = [row for row in results.swept_of(dataset) if swept(row)["name"] == name]
            if rows:
                yield dataset, name, rows


def swept(row: Row) -> dict[str, Any]:
    """What the row's settings say of its sweep: name, variant, setting, value."""
    about: dict[str, Any] = row.settings["sweep"]
    return about


def long(rows: Sequence[Row]) -> bool:
    return any(not row.rate_decays and row.settings["train"]["epochs"] >= LONG for row in rows)


def opening(results: Results, dataset: str, name: str, rows: Sequence[Row]) -> str:
    """The swept setting, what else differs from the grid, where the numbers come from, and what makes them again."""
    about = results.plan["sweeps"][name]
    parts = {part: about[part] for part in ("model", "quantizer", "train")}
    changes = [f"`{part}.{key}` = {value}" for part, stated in parts.items() for key, value in stated.items()]
    told = f"`{about['setting']}` takes {', '.join(map(str, about['values']))}"
    told += f", with {', '.join(changes)}." if changes else "."
    places = dict.fromkeys(tables.environment(row.environment, ("device", "threads")) for row in rows)
    commits = dict.fromkeys(tables.environment(row.environment, ("commit", "dirty")) for row in rows)
    missing = len([one for one in about["rows"] if one.startswith(f"{dataset}-")]) - len(rows)
    gap = f" {missing} of its rows were not run." if missing else ""
    command = f"`dvc repro sweeps/dvc.yaml:sweep@{dataset}-{name}`"
    return f"{told}{gap} Measured on {'; '.join(places)}, code at commit {'; '.join(commits)}; again: {command}."


def left_out(results: Results) -> list[str]:
    """Rows that were run with other settings than those that stand now."""
    if not results.stale:
        return []
    name, why = next(iter(results.stale.items()))
    return [
        f"Left out are {len(results.stale)} rows of sweeps that were made with other settings than those that stand "
        f"now, as {name}: {why}. `make sweeps` makes them anew."
    ]


def table(rows: Sequence[Row]) -> str:
    """A line per row, which leads to its settings; columns without any value are left out."""
    heads = [f"[{name(row)}][{row.name}]" for row in rows]
    columns = [("model", heads), ("learning rate", ["falls" if row.rate_decays else "constant" for row in rows])]
    cells = tables.measured(rows, COLUMNS)
    columns += [(one.head, cell) for one, cell in zip(COLUMNS, cells, strict=True) if set(cell) != {NONE}]
    return tables.stand([*columns, ("n", [str(len(row.seeds)) for row in rows])])


def name(row: Row) -> str:
    about = swept(row)
    return f"{words.title(about['variant'])}, {symbol(row)} = {written(about['value'])}"


def symbol(row: Row) -> str:
    key = swept(row)["setting"].partition(".")[2]
    return SYMBOLS.get(key, key)


def written(value: Any) -> str:
    """A value on an axis or in a table."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{'−' if value < 0 else ''}{tick(abs(value)) if value else '0'}"
    return str(value)


def turning(rows: Sequence[Row]) -> str:
    """Of every row, where its error is lowest and how it ends."""
    told = []
    for row in rows:
        errors = row.history.groupby("epoch")["val_mse"].mean()
        best, last = int(errors.index[int(errors.argmin())]), int(errors.index[-1])
        end = f"{errors[last]:.3g} after the last, {last}" if last != best else "the last"
        line = f"{name(row)}: lowest error {errors[best]:.3g} after epoch {best}, {end}"
        if "spacing_mean" in row.history:
            spacing = row.history.groupby("epoch")["spacing_mean"].mean()
            line += f"; mean spacing {spacing[1]:.3g} after the first epoch, {spacing[best]:.3g}"
            line += f" at the lowest error, {spacing[last]:.3g} at the end" if last != best else " at the end"
        told.append(f"- {line}.")
    return "\n".join(told)


def draw(results: Results) -> Iterator[tuple[Figure, Picture]]:
    """A figure for every sweep that was run."""
    for dataset, sweep, rows in found(results):
        title = f"{results.title(dataset)}: {symbol(rows[0])}"
        if long(rows):
            yield epochs(rows), picture(dataset, sweep, rows, f"{title}, over many epochs", LONG_CAPTION)
        elif len({written(swept(row)["value"]) for row in rows}) > 1:
            yield panels(rows), picture(dataset, sweep, rows, f"{title} as a sweep", CAPTION)


CAPTION = """Mean and standard deviation over the seeds. Filled markers: the learning rate falls as published;
hollow: it is constant."""
LONG_CAPTION = """Mean over the seeds; the band runs from the smallest to the largest seed. On the right, each point is
an epoch; the line begins at the cross."""


def picture(dataset: str, sweep: str, rows: Sequence[Row], title: str, caption: str) -> Picture:
    about = swept(rows[0])
    values = ", ".join(dict.fromkeys(written(swept(row)["value"]) for row in rows))
    names = ", ".join(dict.fromkeys(words.title(swept(row)["variant"]) for row in rows))
    shown = "validation error and spacing per epoch" if long(rows) else ", ".join(measures(about["setting"], rows))
    alt = f"{shown}, for {symbol(rows[0])} = {values}; {names}."
    return Picture(f"{dataset}-sweep-{sweep}", title, alt[0].upper() + alt[1:], caption)


def measures(setting: str, rows: Sequence[Row]) -> list[str]:
    """The names of what is drawn for a setting, as far as it was measured."""
    return [label(one) for one in drawn(setting, rows)]


def drawn(setting: str, rows: Sequence[Row]) -> list[str]:
    wanted = PANELS.get(setting.partition(".")[2], USUAL)
    return [one for one in wanted if one == AGAINST or any(of(row, one) for row in rows)]


def label(measure: str) -> str:
    if measure == AGAINST:
        return "error against codes in use"
    if measure in SHORT:
        return SHORT[measure]
    return words.MEASURES[measure].name if measure in words.MEASURES else measure.replace("_", " ")


def of(row: Row, measure: str) -> Summary | None:
    """The summary of a measure; of one that is taken per epoch, after the last."""
    values = row.values(measure)
    if not values and measure in row.history:
        values = [float(one) for one in row.history.groupby("seed")[measure].last().dropna()]
    return summary.summarize(values)


def panels(rows: Sequence[Row]) -> Figure:
    """Measures side by side against the swept value, a line per variant."""
    kinds = drawn(swept(rows[0])["setting"], rows)
    lines = by_variant(rows)
    figure, axes = plt.subplots(1, len(kinds), figsize=(WIDTH, 3.9), squeeze=False, layout="constrained")
    look = looks([line[0] for line in lines.values()])
    places = positions(rows)
    for panel, measure in zip(axes[0], kinds, strict=True):
        for number, (variant, line) in enumerate(lines.items()):
            style = {**look[line[0].name], "label": words.title(variant), "capsize": 2, "markersize": 6}
            style |= {} if line[0].rate_decays else {"markerfacecolor": "white"}
            if measure == AGAINST:
                against(panel, line, places, style, "left" if number % 2 else "right")
            else:
                one_line(panel, line, measure, places, style)
        panel.set_title(label(measure))
        if measure != AGAINST:
            scale(panel, measure)
            value_axis(panel, places, symbol(rows[0]))
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
    numbers = [one for one in values.values() if isinstance(one, int | float) and one > 0]
    if len(numbers) == len(values):
        return {text: float(value) for text, value in values.items()}
    return {text: float(place) for place, text in enumerate(values)}


def value_axis(panel: Axes, places: Mapping[str, float], head: str) -> None:
    """A tick for each value, on a log axis where places are the values themselves."""
    ticks = sorted(places.items(), key=lambda one: one[1])
    if ticks[0][1] > 0:
        panel.set_xscale("log")
        panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks([place for _, place in ticks], [text for text, _ in ticks])
    panel.set_xlabel(head)


def one_line(
    panel: Axes, line: Sequence[Row], measure: str, places: Mapping[str, float], style: dict[str, Any]
) -> None:
    """A measure of a variant against the swept value."""
    points = sorted((places[written(swept(row)["value"])], one) for row in line if (one := of(row, measure)))
    means, spread = [one.mean for _, one in points], [one.std or 0.0 for _, one in points]
    panel.errorbar([place for place, _ in points], means, yerr=spread, **style)


def against(
    panel: Axes, line: Sequence[Row], places: Mapping[str, float], style: dict[str, Any], side: Literal["left", "right"]
) -> None:
    """Error against codes in use, each point with its value on this side of it."""
    beside: dict[str, Any] = {"xytext": (5 if side == "right" else -5, 0), "ha": "left" if side == "right" else "right"}
    style = {**style, "linestyle": "", "ecolor": to_rgba(style["color"], 0.3)}
    for row in sorted(line, key=lambda one: places[written(swept(one)["value"])]):
        error, codes = of(row, "test_mse"), of(row, "codes_in_use")
        if error is None or codes is None:
            continue
        panel.errorbar(codes.mean, error.mean, xerr=codes.std, yerr=error.std, **style)
        text, place = written(swept(row)["value"]), (codes.mean, error.mean)
        panel.annotate(text, place, textcoords="offset points", va="center", fontsize=8, color="#444444", **beside)
    panel.set(xscale="log", xlabel="codes in use", ylabel="MSE on test")
    panel.margins(x=0.2, y=0.15)
    plain(panel.xaxis, (1.0,))
    panel.locator_params(axis="x", numticks=4)


def scale(panel: Axes, measure: str) -> None:
    """Counts on a log axis, errors where they span enough."""
    low, high = panel.dataLim.intervaly
    if measure in ("codes_in_use", "quantizer_parameters") and low > 0:
        panel.set_yscale("log")
        plain(panel.yaxis, (1.0,) if high / low > 20 else (1.0, 2.0, 5.0))
    elif measure == "test_mse":
        scale_errors(panel)


def epochs(rows: Sequence[Row]) -> Figure:
    """Validation error per epoch, mean spacing per epoch, and one against the other."""
    rows = [row for row in rows if not row.rate_decays]
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
    figure.legend(axes[0][0].get_lines()[: len(rows)], [name(row) for row in rows], loc="outside lower center", ncols=2)
    return figure
