"""The results of a run, as the plan lists them. A row that is missing or stale is an error, never left out.

What was measured is one long table, `Results.table`: data set, variant, seed, measure, value. What a measure is
called, how it is written and which way it is better says pipeline/metrics, through the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline import papers
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths

CHOSEN = "chosen_"  # chosen_<N>x<D>: a codebook's share in the choices of an epoch


class Label(NamedTuple):
    """A variant as tables and figures show it."""

    title: str
    meaning: str
    colour: str


@dataclass(frozen=True)
class Measure:
    """A measure as tables and figures show it; see `pipeline.metrics.Measure`, from which the plan copies it."""

    key: str
    title: str
    unit: str = ""
    scale: float = 1.0
    decimals: int | None = None
    better: str | None = None
    split: str | None = None
    published: str | None = None

    @property
    def head(self) -> str:
        """The title with the unit, for a column or an axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


@dataclass(frozen=True)
class Row:
    """One data set with one variant: its settings and what was measured.

    Attributes:
        label: how the variant is shown; for a row of a sweep the label of the variant that is swept.
        measured: a line per seed, which is the index; a column per measure, NaN where it means nothing.
        history: one line per seed and epoch.
        pictures: `originals` (n, H, W, C), `reconstructions` (seeds, n, H, W, C), `usage` (seeds, codes).
        trace: what the quantizer recorded within epochs, a line per seed and step; empty for most.
        images: `train`: how many a seed was trained on; `measured`: how many of each split were measured.
        measures: how the measures are shown.
        selection: per seed, class of images → codebook → its share of the choices; empty for most.
    """

    name: str
    dataset: str
    variant: str
    label: Label
    settings: dict[str, Any]
    environment: dict[str, Any]
    measured: pd.DataFrame
    history: pd.DataFrame
    pictures: dict[str, np.ndarray]
    trace: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: dict[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    selection: list[dict[str, dict[str, float]]] = field(default_factory=list)

    @property
    def title(self) -> str:
        return self.label.title

    @property
    def colour(self) -> str:
        return self.label.colour

    @property
    def quantizer(self) -> str:
        return str(self.settings["quantizer"]["name"])

    @property
    def seeds(self) -> list[int]:
        return [int(seed) for seed in self.measured.index]

    @property
    def stage(self) -> str:
        """The DVC stage that measures the row again."""
        return stage(self.name, self.settings)

    @property
    def learning_rate_falls(self) -> bool:
        """Whether the learning rate falls from epoch to epoch: such rows are never ranked against the others."""
        return float(self.settings["train"]["lr_decay"]) != 1.0

    def by_seed(self, measure: str) -> pd.Series[float]:
        """Seed → what it measured; seeds for which the measure means nothing are left out."""
        return self.measured[measure].dropna() if measure in self.measured else pd.Series(dtype=float)

    def values(self, measure: str) -> list[float]:
        """The same without the seeds."""
        return [float(value) for value in self.by_seed(measure)]

    def measure(self, key: str) -> Measure:
        """How a measure is shown; one that is no measure of the plan, but a column of the history, by its key."""
        return self.measures.get(key) or Measure(key, key.replace("_", " "))


class Group(NamedTuple):
    """Rows that may be compared with one another."""

    title: str
    note: str
    rows: list[Row]


@dataclass(frozen=True)
class Results:
    """Everything the report is about.

    Attributes:
        rows: the rows of the grid in the plan's order.
        swept: the rows of sweeps; apart, since they train otherwise.
        about: data set → its description, as `preprocess` wrote it.
        benchmark: part → what it measured, for the parts that the plan lists.
    """

    plan: dict[str, Any]
    rows: dict[str, Row]
    about: dict[str, dict[str, Any]]
    papers: dict[str, dict[str, Any]]
    paths: Paths = Paths()
    benchmark: dict[str, dict[str, Any]] = field(default_factory=dict)
    swept: dict[str, Row] = field(default_factory=dict)

    @property
    def measures(self) -> dict[str, Measure]:
        """Key → how a measure is shown, in the order of pipeline/metrics."""
        return {stated["key"]: Measure(**stated) for stated in self.plan["measures"]}

    @cached_property
    def table(self) -> pd.DataFrame:
        """Everything that was measured: dataset, variant, seed, measure, value, in the order of the plan."""
        parts = []
        for row in (*self.rows.values(), *self.swept.values()):
            long = row.measured.melt(var_name="measure", ignore_index=False).dropna().reset_index(names="seed")
            parts.append(long.assign(dataset=row.dataset, variant=row.variant))
        return pd.concat(parts, ignore_index=True)[["dataset", "variant", "seed", "measure", "value"]]

    def title(self, dataset: str) -> str:
        """A data set's name in a table or figure: its title up to a colon."""
        return str(self.about[dataset]["title"]).partition(":")[0]

    def of(self, dataset: str) -> list[Row]:
        """The rows of a data set in the order of the plan."""
        return [row for row in self.rows.values() if row.dataset == dataset]

    def by_variant(self, dataset: str) -> dict[str, Row]:
        """Variant → its row on a data set."""
        return {row.variant: row for row in self.of(dataset)}

    def swept_of(self, dataset: str) -> list[Row]:
        """The rows of sweeps on a data set."""
        return [row for row in self.swept.values() if row.dataset == dataset]


def read_results(paths: Paths = Paths()) -> Results:
    """Read all that the plan names.

    Raises:
        UserError: a file is missing, or a row was made with other settings than those that stand now.
    """
    plan = files.read_yaml(present(paths.plan, "dvc repro plan"))
    rows = {name: read_row(paths, plan, name) for name in plan["rows"]}
    swept = {name: read_row(paths, plan, name) for sweep in plan["sweeps"].values() for name in sweep["rows"]}
    about = {name: read_about(paths, name) for name in plan["datasets"]}
    benchmark = {
        part: files.read_json(present(paths.benchmark(part), f"dvc repro benchmark@{part}"))
        for part in plan["benchmark"]
    }
    stated = papers.read(papers.Known([measure["key"] for measure in plan["measures"]]))
    return Results(plan, rows, about, stated, paths, benchmark, swept)


def read_row(paths: Paths, plan: Mapping[str, Any], name: str) -> Row:
    """Read one row's settings, measures, history and pictures.

    Raises:
        UserError: one of its files is missing, or the row is stale.
    """
    settings = files.read_yaml(present(paths.row_settings(name), "dvc repro plan"))
    command = f"dvc repro {stage(name, settings)}"
    run = files.read_json(present(paths.measured(name), command))
    check_current(name, run, settings, command)
    history = pd.read_csv(present(paths.history(name), command))
    with np.load(present(paths.arrays(name), command)) as arrays:
        pictures = {key: arrays[key] for key in arrays.files}
    return Row(
        name=name,
        dataset=settings["dataset"],
        variant=settings["variant"],
        label=Label(**plan["labels"][settings.get("sweep", settings)["variant"]]),
        settings=settings,
        environment=run["environment"],
        measured=per_seed(run["seeds"]),
        history=history,
        pictures=pictures,
        trace=pd.DataFrame(run["trace"]),
        images=run["images"],
        measures={stated["key"]: Measure(**stated) for stated in plan["measures"]},
        selection=[seed["selection"] for seed in run["seeds"] if seed.get("selection")],
    )


def per_seed(seeds: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What every seed of a run says in numbers: a line per seed, a column per measure."""
    measures = [key for key in dict.fromkeys(key for seed in seeds for key in seed) if key != "seed"]
    numbers = {key: [seed.get(key) for seed in seeds] for key in measures}
    numbers = {key: values for key, values in numbers.items() if all(is_number(value) for value in values)}
    return pd.DataFrame(numbers, index=[seed["seed"] for seed in seeds], dtype=float)


def is_number(value: Any) -> bool:
    """A number, or nothing where one might stand."""
    return value is None or isinstance(value, int | float)


def stage(row: str, settings: Mapping[str, Any]) -> str:
    """The DVC stage that measures a row of the grid or of a sweep."""
    return f"{'evaluate_sweep' if 'sweep' in settings else 'evaluate'}@{row}"


def check_current(name: str, run: dict[str, Any], settings: dict[str, Any], command: str) -> None:
    """Compare what a row was made with to what the plan says now.

    Raises:
        UserError: they differ; the sentence names the row and the first key that does.
    """
    if run["settings"] != settings:
        key, made, now = difference(run["settings"], settings)
        raise UserError(
            f"row {name!r} is stale: {key} is {now!r} in reports/settings/{name}.yaml, "
            f"but reports/runs/{name}.json was made with {made!r}; run `{command}`."
        )
    seeds = [seed["seed"] for seed in run["seeds"]]
    if seeds != settings["seeds"]:
        raise UserError(
            f"row {name!r} has results for seeds {seeds}, but its settings say {settings['seeds']}; run `{command}`."
        )


def difference(made: Any, now: Any, key: str = "") -> tuple[str, Any, Any]:
    """The dotted name of the first key whose values differ, and both values (None where there is none)."""
    if isinstance(made, dict) and isinstance(now, dict):
        for name in [*now, *made]:
            if made.get(name) != now.get(name):
                return difference(made.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    return key, made, now


def read_about(paths: Paths, dataset: str) -> dict[str, Any]:
    path = paths.prepared(dataset) / "about.yaml"
    about: dict[str, Any] = files.read_yaml(present(path, f"dvc repro preprocess@{dataset}"))
    return about


def present(path: Path, command: str) -> Path:
    """The path itself.

    Raises:
        UserError: there is no such file; the sentence says what makes it.
    """
    if not path.is_file():
        raise UserError(f"{path.name} is missing (looked for {path}); run `{command}`.")
    return path


def groups(results: Results, dataset: str) -> list[Group]:
    """A data set's rows in groups within which errors may be ranked; empty groups are left out."""
    published, balance = results.papers["ll_vq_vae"]["models"], results.papers["balance"]["models"]
    falling = [row for row in results.of(dataset) if row.learning_rate_falls]
    constant = [row for row in results.of(dataset) if not row.learning_rate_falls]
    epochs = "The learning rate falls as in the authors' code"
    if all(row.settings["train"]["lr_decay"] == 0 for row in falling):
        epochs = "The learning rate is 0 after the first epoch, as in the authors' code"
    steady = "These rows train at full rate to the end; not to be ranked against rows whose learning rate falls."
    controls = f"{epochs}; the paper has no such rows."
    every = [
        Group("As published", f"{epochs}.", [row for row in falling if row.variant in published]),
        Group("Controls", controls, [row for row in falling if row.variant not in published]),
        Group("Constant learning rate", steady, [row for row in constant if row.variant not in balance]),
        Group("Codes against dimensions", steady, [row for row in constant if row.variant in balance]),
    ]
    return [group for group in every if group.rows]
