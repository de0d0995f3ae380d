"""The report's tables, as markdown that lines up in plain text too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tabulate import tabulate

from pipeline.report import summary, words
from pipeline.report.read import Results, Row
from pipeline.report.summary import NONE


class Column(NamedTuple):
    """A measured column: its head with the unit, the measure's key, a factor, and decimals (None: three digits)."""

    head: str
    measure: str
    scale: float = 1.0
    places: int | None = None


class Group(NamedTuple):
    """Rows that may be compared with one another."""

    title: str
    note: str
    rows: list[Row]


ERRORS = [Column("MSE, val", "val_mse"), Column("MSE, test", "test_mse")]
CODES = [Column("codes in use", "codes_in_use", places=0)]
TIMES = {"s": [Column("time here, s", "seconds")], "min": [Column("time here, min", "seconds", 1 / 60)]}
FURTHER = [
    [
        Column("utilization, %", "utilization", 100.0, 1),
        Column("perplexity", "perplexity", places=1),
        Column("bits / latent", "bits_per_latent", places=2),
        Column("at most", "bits_per_latent_by_dimension", places=2),
        Column("bits / pixel", "bits_per_pixel", places=2),
        Column("codes, test", "codes_in_use_test", places=0),
        Column("dead codes", "dead_codes", places=0),
        Column("active dim.", "active_dimensions", places=1),
    ],
    [
        Column("PSNR, dB", "test_psnr", places=2),
        Column("quantization loss", "quantization_loss"),
        Column("gradient gap", "gradient_gap", places=3),
        Column("parameters", "quantizer_parameters", places=0),
        Column("first epoch, s", "seconds_first_epoch"),
        Column("memory, MB", "peak_memory_mb", places=0),
    ],
]


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """A GitHub table: the first `left` columns flush left, the others flush right, so that digits stand in line."""
    align = ["left" if column < left else "right" for column in range(len(heads))]
    return tabulate(lines, headers=heads, tablefmt="pipe", colalign=align, disable_numparse=True)


def link(row: Row) -> str:
    """The row's title, which leads to its settings file (see `targets`)."""
    return f"[{words.title(row.variant)}][{row.name}]"


def targets(results: Results) -> str:
    """Where the links of all rows lead."""
    return "\n".join(f"[{name}]: settings/{name}.yaml" for name in results.rows)


def groups(results: Results, dataset: str) -> list[Group]:
    """A data set's rows in groups within which errors may be ranked; empty groups are left out."""
    published = set(results.papers["ll_vq_vae"]["models"])
    balance = set(results.papers["balance"]["models"])
    rows = results.of(dataset)
    decaying = [row for row in rows if row.rate_decays]
    constant = [row for row in rows if not row.rate_decays]
    epochs = "The learning rate falls as in the authors' code"
    if all(row.settings["train"]["lr_decay"] == 0 for row in decaying):
        epochs = "The learning rate is 0 after the first epoch, as in the authors' code"
    steady = "These rows train at full rate to the end; not to be ranked against rows whose learning rate falls."
    found = [
        Group("As published", f"{epochs}.", [row for row in decaying if row.variant in published]),
        Group(
            "Controls",
            f"{epochs}; the paper has no such rows.",
            [row for row in decaying if row.variant not in published],
        ),
        Group("Constant learning rate", steady, [row for row in constant if row.variant not in balance]),
        Group("Codes against dimensions", steady, [row for row in constant if row.variant in balance]),
    ]
    return [group for group in found if group.rows]


def measured(rows: Sequence[Row], columns: Sequence[Column]) -> list[list[str]]:
    """One list per column: `mean ± std` of every row, with the same decimals all down the column."""
    cells = []
    for column in columns:
        found = [summary.of(row, column.measure) for row in rows]
        means = [column.scale * one.mean for one in found if one]
        places = summary.decimals(means) if column.places is None else column.places
        cells.append([summary.write(one, places, column.scale) for one in found])
    return cells


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
        "duration": (f"time, paper ({paper['hardware_short']}), {unit}", TIMES[unit]),
    }
    for measure, (head, ours) in kinds.items():
        if beside:
            columns.append((head, published(results, dataset, rows, measure)))
        if beside and measure == "codes":
            columns.append(("recounted", recounted(results, dataset, rows)))
        columns += [(column.head, cells) for column, cells in zip(ours, measured(rows, ours), strict=True)]
    columns.append(("n", [str(len(row.seeds)) for row in rows]))
    columns.append(("`dvc repro …`", [f"`evaluate@{row.name}`" for row in rows]))
    return stand(columns)


def further(group: Group) -> list[str]:
    """Two tables of the other measures; columns without any value in this group are left out."""
    found = []
    for columns in FURTHER:
        cells = measured(group.rows, columns)
        kept = [(column.head, one) for column, one in zip(columns, cells, strict=True) if set(one) != {NONE}]
        if kept:
            found.append(stand([("model", [link(row) for row in group.rows]), *kept]))
    return found


def stand(columns: Sequence[tuple[str, list[str]]]) -> str:
    """A table from its columns."""
    lines = [list(line) for line in zip(*(cells for _, cells in columns), strict=True)]
    return table([head for head, _ in columns], lines)


def meanings(results: Results) -> str:
    """Every variant of the plan in a few words."""
    settings = {row.variant: row.settings for row in results.rows.values()}
    lines = [
        [words.title(variant), f"`{variant}`", str(settings[variant]["quantizer"]["name"]), words.meaning(variant)]
        for variant in results.plan["variants"]
        if variant in settings
    ]
    return table(["model", "name in params.yaml", "quantizer", "what it is"], lines, left=4)


def run_command(dataset: str, variants: Sequence[str] = ()) -> str:
    """How to run a data set that was not run."""
    chosen = f" -S 'grid.variants=[{','.join(variants)}]'" if variants else ""
    return f"`dvc exp run -S 'grid.datasets=[{dataset}]'{chosen}`"


def provenance(results: Results) -> str:
    """Commit, date, versions, hardware and changed parameters; where rows differ, every value with its rows' number."""
    lines = [[label, both(results, keys)] for label, keys in PROVENANCE.items()]
    dates = sorted(str(row.environment["date"]) for row in results.rows.values())
    lines.insert(1, ["measured", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"])
    lines.append(["seeds", ", ".join(str(seed) for seed in results.plan["seeds"])])
    changed = results.plan["changed"]
    told = "; ".join(f"`{key}` = `{value}`" for key, value in changed.items()) or "none"
    lines.append(["parameters that differ from the defaults", told])
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
            f"`dvc repro evaluate@{name}`",
        ]
        for name, row in results.rows.items()
    ]
    return table(["row, with its settings", "code at commit", "trained", "n", "command"], lines, left=5)


def both(results: Results, keys: Sequence[str]) -> str:
    """What the rows' environments say, each value once; with counts of rows where there are several."""
    told = [environment(row.environment, keys) for row in results.rows.values()]
    counts = {text: told.count(text) for text in dict.fromkeys(told)}
    if len(counts) == 1:
        return told[0]
    return "; ".join(f"{text} ({count} of {len(told)} rows)" for text, count in counts.items())


def environment(found: dict[str, Any], keys: Sequence[str]) -> str:
    if keys[0] == "commit":
        if found["commit"] is None:
            return "not under git"
        return f"`{str(found['commit'])[:10]}`" + (" with uncommitted changes" if found["dirty"] else ", clean")
    if keys[0] == "device":
        return f"{found['device']}, {found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    return str(found[keys[0]])
