"""The results of a run, as the plan lists them. A row that is missing or stale is an error, never a gap."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core import files
from pipeline.core.errors import UserError

PREPARED = Path("data/prepared")
PER_EPOCH = ("quantization_loss", "gradient_gap")
FIRST_EPOCH = "seconds_first_epoch"
CHOSEN = "chosen_"  # chosen_<N>x<D>: a codebook's share in the choices of an epoch
PAPERS = Path(__file__).parent.parent / "papers"


@dataclass(frozen=True)
class Row:
    """One data set with one variant: its settings and what was measured.

    Attributes:
        seeds: one dictionary of measures per seed.
        history: one line per seed and epoch.
        pictures: `originals` (n, H, W, C), `reconstructions` (seeds, n, H, W, C), `usage` (seeds, codes).
        trace: what the quantizer said of itself within epochs, a line per seed and step; empty for most.
    """

    name: str
    dataset: str
    variant: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    seeds: list[dict[str, Any]]
    history: pd.DataFrame
    pictures: dict[str, np.ndarray]
    trace: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def quantizer(self) -> str:
        return str(self.settings["quantizer"]["name"])

    @property
    def rate_decays(self) -> bool:
        """Whether the learning rate falls from epoch to epoch: such rows are never ranked against the others."""
        return float(self.settings["train"].get("lr_decay", 1.0)) != 1.0

    def values(self, measure: str) -> list[float]:
        """What each seed measured; seeds for which the measure means nothing are left out."""
        found = [seed.get(measure) for seed in self.seeds]
        return [float(one) for one in found if isinstance(one, (int, float))]


@dataclass(frozen=True)
class Results:
    """Everything the report speaks about.

    Attributes:
        swept: the rows of sweeps that were run; apart, since they train otherwise and may be missing.
        stale: rows of sweeps that were run with other settings than those that stand now, and what differs.
    """

    plan: dict[str, Any]
    rows: dict[str, Row]
    about: dict[str, dict[str, Any]]
    papers: dict[str, dict[str, Any]]
    prepared: Path
    benchmark: dict[str, Any] | None = None
    swept: dict[str, Row] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)

    def title(self, dataset: str) -> str:
        """A data set's name in a table or figure: its title up to a colon."""
        return str(self.about[dataset]["title"]).partition(":")[0]

    def of(self, dataset: str) -> list[Row]:
        """The rows of a data set in the order of the plan."""
        return [row for row in self.rows.values() if row.dataset == dataset]

    def swept_of(self, dataset: str) -> list[Row]:
        """The rows of sweeps on a data set, as far as they were run."""
        return [row for row in self.swept.values() if row.dataset == dataset]


def read_results(root: Path) -> Results:
    """Read all that the plan in `root`/reports/settings names.

    Raises:
        UserError: a file is missing, or a row was made with other settings than those that stand now.
    """
    plan = files.read_yaml(present(root / "reports/settings/plan.yaml", "dvc repro plan"))
    rows = {name: read_row(root, name) for name in plan["rows"]}
    about = {name: read_about(root, name) for name in plan["datasets"]}
    measured = root / "reports/benchmark.json"
    benchmark = files.read_json(measured) if measured.is_file() else None
    swept, stale = read_sweeps(root, plan)
    return Results(plan, rows, about, read_papers(), root / PREPARED, benchmark, swept, stale)


def read_row(root: Path, name: str) -> Row:
    """Read one row's settings, measures, history and pictures.

    Raises:
        UserError: one of its files is missing, or the row is stale.
    """
    command = f"dvc repro evaluate@{name}"
    settings = files.read_yaml(present(root / f"reports/settings/{name}.yaml", "dvc repro plan"))
    run = files.read_json(present(root / f"reports/runs/{name}.json", command))
    refuse_stale(name, run, settings)
    history = pd.read_csv(present(root / f"reports/history/{name}.csv", command))
    with np.load(present(root / f"reports/runs/{name}.npz", command)) as arrays:
        pictures = {key: arrays[key] for key in arrays.files}
    add_selection(history)
    seeds = [
        {**seed, **last_epoch(history, seed["seed"]), **first_epoch(history, seed["seed"])} for seed in run["seeds"]
    ]
    names = name, settings["dataset"], settings["variant"]
    return Row(*names, settings, run["environment"], seeds, history, pictures, pd.DataFrame(run.get("trace", [])))


def read_sweeps(root: Path, plan: dict[str, Any]) -> tuple[dict[str, Row], dict[str, str]]:
    """The rows of sweeps that were run, and of those that are stale what differs; the others may wait for ever."""
    rows, stale = {}, {}
    for sweep, about in plan.get("sweeps", {}).items():
        for name in about["rows"]:
            folder = f"{name.partition('-')[0]}-{sweep}"
            if not (root / "sweeps/results" / folder / f"reports/runs/{name}.json").is_file():
                continue
            now = files.read_yaml(present(root / f"reports/settings/sweeps/{folder}/{name}.yaml", "dvc repro plan"))
            row = read_row(root / "sweeps/results" / folder, name)
            if row.settings == now:
                rows[name] = row
            else:
                stale[name] = "{} was {!r} and is {!r}".format(*difference(row.settings, now))
    return rows, stale


def last_epoch(history: pd.DataFrame, seed: int) -> dict[str, float]:
    """What a seed's last epoch says of measures that are taken per epoch."""
    last = history[history["seed"] == seed].iloc[-1]
    return {measure: float(last[measure]) for measure in PER_EPOCH if measure in history and pd.notna(last[measure])}


def first_epoch(history: pd.DataFrame, seed: int) -> dict[str, float]:
    """How long a seed's first epoch took: in it every row trains, whatever later ones leave out."""
    found = history[(history["seed"] == seed) & (history["epoch"] == 1)]
    return {FIRST_EPOCH: float(found["seconds"].iloc[0])} if "seconds" in found and len(found) else {}


def add_selection(history: pd.DataFrame) -> None:
    """For a quantizer that chooses among codebooks [N, D]: the mean log2 N of its choices, as a column."""
    shares = {name: name.removeprefix(CHOSEN).split("x")[0] for name in map(str, history) if name.startswith(CHOSEN)}
    if shares:
        sizes = [history[name] * math.log2(int(codes)) for name, codes in shares.items()]
        history["selected_log2_codes"] = sum(sizes[1:], sizes[0])


def refuse_stale(name: str, run: dict[str, Any], settings: dict[str, Any]) -> None:
    """Compare what a row was made with to what the plan says now.

    Raises:
        UserError: they differ; the sentence names the row and the first key that does.
    """
    command = f"run `dvc repro evaluate@{name}`"
    if run["settings"] != settings:
        key, made, now = difference(run["settings"], settings)
        raise UserError(
            f"row {name!r} is stale: {key} is {now!r} in reports/settings/{name}.yaml, "
            f"but reports/runs/{name}.json was made with {made!r}; {command}."
        )
    seeds = [seed["seed"] for seed in run["seeds"]]
    if seeds != settings["seeds"]:
        raise UserError(
            f"row {name!r} has results for seeds {seeds}, but its settings say {settings['seeds']}; {command}."
        )


def difference(made: Any, now: Any, key: str = "") -> tuple[str, Any, Any]:
    """The dotted name of the first key whose values differ, and both values (None where there is none)."""
    if isinstance(made, dict) and isinstance(now, dict):
        for name in [*now, *made]:
            if made.get(name) != now.get(name):
                return difference(made.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    return key, made, now


def read_about(root: Path, dataset: str) -> dict[str, Any]:
    path = root / PREPARED / dataset / "about.yaml"
    about: dict[str, Any] = files.read_yaml(present(path, f"dvc repro preprocess@{dataset}"))
    return about


def read_papers() -> dict[str, dict[str, Any]]:
    """The papers' published numbers and claims, by the name of their file."""
    return {path.stem: files.read_yaml(path) for path in sorted(PAPERS.glob("*.yaml"))}


def present(path: Path, command: str) -> Path:
    """The path itself.

    Raises:
        UserError: there is no such file; the sentence says what makes it.
    """
    if not path.is_file():
        raise UserError(f"{path.name} is missing (looked for {path}); run `{command}`.")
    return path
