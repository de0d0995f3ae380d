"""The results of a run, as the plan lists them. A row that is missing or stale is an error, never left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import papers
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.report import labels
from pipeline.report.labels import Label, Measure

CHOSEN = "chosen_"  # chosen_<N>x<D>: a codebook's share in the choices of an epoch


@dataclass(frozen=True)
class Row:
    """One data set with one variant: its settings and what was measured.

    Attributes:
        label: how the variant is shown; for a row of a sweep the label of the variant that is swept.
        seeds: one dictionary of measures per seed.
        history: one line per seed and epoch.
        pictures: `originals` (n, H, W, C), `reconstructions` (seeds, n, H, W, C), `usage` (seeds, codes).
        trace: what the quantizer recorded within epochs, a line per seed and step; empty for most.
        images: `train`: how many a seed was trained on; `measured`: how many of each split were measured.
        measures: how the measures are shown.
    """

    name: str
    dataset: str
    variant: str
    label: Label
    settings: dict[str, Any]
    environment: dict[str, Any]
    seeds: list[dict[str, Any]]
    history: pd.DataFrame
    pictures: dict[str, np.ndarray]
    trace: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: dict[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)

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
    def stage(self) -> str:
        """The DVC stage that measures the row again."""
        return stage(self.name, self.settings)

    @property
    def learning_rate_falls(self) -> bool:
        """Whether the learning rate falls from epoch to epoch: such rows are never ranked against the others."""
        return float(self.settings["train"]["lr_decay"]) != 1.0

    def values(self, measure: str) -> list[float]:
        """What each seed measured; seeds for which the measure means nothing are left out."""
        numbers = [seed.get(measure) for seed in self.seeds]
        return [float(number) for number in numbers if isinstance(number, int | float)]

    def measure(self, key: str) -> Measure:
        """How a measure is shown; one that is no measure of the plan, but a column of the history, by its key."""
        return self.measures.get(key) or Measure(key, key.replace("_", " "))


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

    def title(self, dataset: str) -> str:
        """A data set's name in a table or figure: its title up to a colon."""
        return str(self.about[dataset]["title"]).partition(":")[0]

    def of(self, dataset: str) -> list[Row]:
        """The rows of a data set in the order of the plan."""
        return [row for row in self.rows.values() if row.dataset == dataset]

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
        label=labels.labels(plan)[settings.get("sweep", settings)["variant"]],
        settings=settings,
        environment=run["environment"],
        seeds=run["seeds"],
        history=history,
        pictures=pictures,
        trace=pd.DataFrame(run["trace"]),
        images=run["images"],
        measures=labels.measures(plan),
    )


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
