"""The report's tables, as markdown that lines up in plain text too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tabulate import tabulate

from pipeline.report import labels, summary
from pipeline.report.labels import Measure
from pipeline.report.read import Results, Row
from pipeline.report.summary import NONE


class Group(NamedTuple):
    """Rows that may be compared with one another."""

    title: str
    note: str
    rows: list[Row]


ERRORS, CODES, TIMES = ("val_mse", "test_mse"), ("codes_in_use",), ("seconds",)
FIRST = (*ERRORS, *CODES, *TIMES)
"""The measures of the first table; all others of the plan stand below it."""
WIDEST = 8  # columns of measures in one table


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """A GitHub table: the first `left` columns flush left, the others flush right, so that digits stand in line.

    A title from params.yaml cannot end its cell, nor become HTML.
    """
    align = ["left" if column < left else "right" for column in range(len(heads))]
    cells = [[text.replace("|", "\\|").replace("<", "&lt;") for text in line] for line in (heads, *lines)]
    return tabulate(cells[1:], headers=cells[0], tablefmt="pipe", colalign=align, disable_numparse=True)


def link(row: Row) -> str:
    """The row's title, which leads to its settings file (see `targets`)."""
    return f"[{row.title}][{row.name}]"


def targets(results: Results) -> str:
    """Where the links of all rows lead."""
    return "\n".join(f"[{name}]: settings/{name}.yaml" for name in (*results.rows, *results.swept))


def groups(results: Results, dataset: str) -> list[Group]:
    """A data set's rows in groups within which errors may be ranked; empty groups are left out."""
    published = set(results.papers["ll_vq_vae"]["models"])
    balance = set(results.papers["balance"]["models"])
    rows = results.of(dataset)
    decaying = [row for row in rows if row.learning_rate_falls]
    constant = [row for row in rows if not row.learning_rate_falls]
    epochs = "The learning rate falls as in the authors' code"
    if all(row.settings["train"]["lr_decay"] == 0 for row in decaying):
        epochs = "The learning rate is 0 after the first epoch, as in the authors' code"
    steady = "These rows train at full rate to the end; not to be ranked against rows whose learning rate falls."
    every = [
        Group("As published", f"{epochs}.", [row for row in decaying if row.variant in published]),
        Group(
            "Controls",
            f"{epochs}; the paper has no such rows.",
            [row for row in decaying if row.variant not in published],
        ),
        Group("Constant learning rate", steady, [row for row in constant if row.variant not in balance]),
        Group("Codes against dimensions", steady, [row for row in constant if row.variant in balance]),
    ]
    return [group for group in every if group.rows]


def measured(rows: Sequence[Row], measures: Sequence[Measure]) -> list[list[str]]:
    """One list per measure: `mean ± std` of every row, with the same decimals all down the column."""
    columns = []
    for measure in measures:
        summaries = [summary.of(row, measure.key) for row in rows]
        means = [measure.scale * mean.mean for mean in summaries if mean]
        places = summary.decimals(means) if measure.decimals is None else measure.decimals
        columns.append([summary.write(line, places, measure.scale) for line in summaries])
    return columns


def published(results: Results, dataset: str, rows: Sequence[Row], measure: str) -> list[str]:
    """A column of the paper's numbers for a data set."""
    numbers = results.papers["ll_vq_vae"]["results"][dataset]["rows"]
    return [summary.plain(numbers.get(row.variant, {}).get(measure)) for row in rows]


def recounted(results: Results, dataset: str, rows: Sequence[Row]) -> list[str]:
    counts = results.papers["ll_vq_vae"]["recount"][dataset]
    return [summary.plain(counts.get(row.variant)) for row in rows]


def paper_form(results: Results, dataset: str, group: Group) -> str:
    """The paper's Table 5: error, embeddings, duration; published beside measured where there are published numbers."""
    rows, paper = group.rows, results.papers["ll_vq_vae"]
    numbers = paper["results"].get(dataset, {"rows": {}, "duration_unit": "s"})
    unit = numbers["duration_unit"]
    beside = any(row.variant in numbers["rows"] for row in rows) and group.title == "As published"
    columns: list[tuple[str, list[str]]] = [("model", [link(row) for row in rows])]
    kinds = {
        "mse": ("MSE, paper (split not said)", ERRORS),
        "codes": ("codes, paper", CODES),
        "duration": (f"time, paper ({paper['hardware_short']}), {unit}", TIMES),
    }
    for key, (head, ours) in kinds.items():
        if beside:
            columns.append((head, published(results, dataset, rows, key)))
        if beside and key == "codes":
            columns.append(("recounted", recounted(results, dataset, rows)))
        measures = [rows[0].measure(name) for name in ours]
        if key == "duration":
            measures = [in_unit(measure, unit) for measure in measures]
        cells = measured(rows, measures)
        columns += list(zip([measure.head for measure in measures], cells, strict=True))
    columns.append(("n", [str(len(row.seeds)) for row in rows]))
    columns.append(("`dvc repro …`", [f"`{row.stage}`" for row in rows]))
    return stand(columns)


def in_unit(seconds: Measure, unit: str) -> Measure:
    """A measure of time that tells it was taken here, in the unit of the paper."""
    here = seconds._replace(title=f"{seconds.title} here")
    return here._replace(unit=unit, scale=1 / 60, decimals=None) if unit == "min" else here


def further(results: Results, rows: Sequence[Row]) -> list[str]:
    """All measures of the plan that the first table leaves out, split by split; columns without any value go."""
    measures = further_measures(results)
    cells = zip(measures, measured(rows, measures), strict=True)
    kept = [(measure.head, column) for measure, column in cells if set(column) != {NONE}]
    starts = range(0, len(kept), WIDEST)
    return [stand([("model", [link(row) for row in rows]), *kept[start : start + WIDEST]]) for start in starts]


def further_measures(results: Results) -> list[Measure]:
    """The measures of the plan that the first table leaves out, in the order of `SPLITS`."""
    measures = [measure for measure in labels.measures(results.plan).values() if measure.key not in FIRST]
    return sorted(measures, key=lambda measure: list(SPLITS).index(measure.split))


def further_splits(results: Results) -> str:
    """On which images the further measures are taken, as a list."""
    lines = []
    for split, images in SPLITS.items():
        titles = [measure.title for measure in further_measures(results) if measure.split == split]
        lines += [f"- {images}: {'; '.join(titles)}."] if titles else []
    return "\n".join(lines)


SPLITS = {
    "test": "On the test images",
    "val": "On the validation images",
    "train+val": "On training and validation images together",
    "train": "On the training images",
    None: "Of the training and the model",
}


def settings(rows: Sequence[Row]) -> list[str]:
    """What a data set's rows were trained with: what they share, and below it where a row differs from the others.

    A value is shared if more than half of the rows that have the setting have it so.
    """
    used = {row.variant: flat(row.settings) for row in rows}
    shared = shared_settings(list(used.values()))
    lines: dict[str, dict[str, Any]] = {}
    for key, value in shared.items():
        owners = [row.quantizer for row in rows if key in used[row.variant]]
        part, _, name = key.partition(".")
        head = part if len(owners) == len(rows) else f"{part}: {', '.join(dict.fromkeys(owners))}"
        lines.setdefault(head, {})[name] = value
    blocks = [table(["", "shared"], [[head, listed(stated)] for head, stated in lines.items()], left=2)]
    differing: dict[str, list[str]] = {}
    for variant, stated in used.items():
        own = {key: value for key, value in stated.items() if key not in shared or shared[key] != value}
        if own:
            differing.setdefault(listed(own), []).append(f"`{variant}`")
    if differing:
        body = [[", ".join(variants), own] for own, variants in differing.items()]
        blocks.append(table(["variant", "differs in"], body, left=2))
    return blocks


def shared_settings(used: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Key → the value that more than half of those have that have the key."""
    shared = {}
    for key in dict.fromkeys(key for stated in used for key in stated):
        values = [stated[key] for stated in used if key in stated]
        usual = max(values, key=values.count)
        if values.count(usual) > len(values) / 2:
            shared[key] = usual
    return shared


SECTIONS = ("model", "train", "quantizer")


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key → value; without the quantizer's name, which the table of the rows shows."""
    pairs = {f"{part}.{key}": value for part in SECTIONS for key, value in settings[part].items()}
    return {key: value for key, value in pairs.items() if key != "quantizer.name"}


def listed(settings: Mapping[str, Any]) -> str:
    """Settings in one line, values as in YAML."""
    return ", ".join(f"`{key}` = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items())


def stand(columns: Sequence[tuple[str, list[str]]]) -> str:
    """A table from its columns."""
    lines = [list(line) for line in zip(*(cells for _, cells in columns), strict=True)]
    return table([head for head, _ in columns], lines)


def meanings(results: Results) -> str:
    """Every variant of the plan in a few words."""
    rows = {row.variant: row for row in results.rows.values()}
    lines = [[row.title, f"`{variant}`", row.quantizer, row.label.meaning] for variant, row in rows.items()]
    return table(["model", "name in params.yaml", "quantizer", "what it is"], lines, left=4)


def run_command(dataset: str, variants: Sequence[str] = ()) -> str:
    """How to run a data set that was not run."""
    chosen = f" -S 'grid.variants=[{','.join(variants)}]'" if variants else ""
    return f"`dvc exp run -S 'grid.datasets=[{dataset}]'{chosen}`"


def provenance(results: Results) -> str:
    """Commit, date, versions and hardware; where rows differ, every value with the number of its rows."""
    lines = [[label, across_rows(results, keys)] for label, keys in PROVENANCE.items()]
    dates = sorted(str(row.environment["date"]) for row in results.rows.values())
    lines.insert(1, ["measured", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"])
    lines.append(["seeds", ", ".join(str(seed) for seed in results.plan["seeds"])])
    return table(["", ""], lines, left=2)


PROVENANCE = {
    "code at commit": ("commit", "dirty"),
    "Python": ("python",),
    "PyTorch": ("torch",),
    "hardware": ("device", "threads"),
    "platform": ("platform",),
}


def trail(results: Results) -> str:
    """Every row with its settings file, the code's commit, when it was trained, and the command that makes it again."""
    lines = [
        [
            f"[`{name}`][{name}]",
            environment(row.environment, ("commit", "dirty")),
            str(row.environment["date"]),
            str(len(row.seeds)),
            f"`dvc repro {row.stage}`",
        ]
        for name, row in {**results.rows, **results.swept}.items()
    ]
    return table(["row, with its settings", "code at commit", "trained", "n", "command"], lines, left=5)


def across_rows(results: Results, keys: Sequence[str]) -> str:
    """What the rows' environments say, each value once; with counts of rows where there are several."""
    texts = [environment(row.environment, keys) for row in results.rows.values()]
    counts = {text: texts.count(text) for text in dict.fromkeys(texts)}
    if len(counts) == 1:
        return texts[0]
    return "; ".join(f"{text} ({count} of {len(texts)} rows)" for text, count in counts.items())


def environment(stated: dict[str, Any], keys: Sequence[str]) -> str:
    if keys[0] == "commit":
        if stated["commit"] is None:
            return "not under git"
        return f"`{str(stated['commit'])[:10]}`" + (" with uncommitted changes" if stated["dirty"] else ", clean")
    if keys[0] == "device":
        return f"{stated['device']}, {stated['threads']} thread{'s' if stated['threads'] > 1 else ''}"
    return str(stated[keys[0]])
