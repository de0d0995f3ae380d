"""Where the files of the stages lie: one place that knows the names of the folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import files
from pipeline.core.errors import UserError

NAME = re.compile(r"[A-Za-z0-9_]+")
"""Names of data sets, variants and sweeps, all of them: DVC puts them into paths and shell commands."""
ROW = re.compile(rf"{NAME.pattern}-{NAME.pattern}")


@dataclass(frozen=True)
class Paths:
    """The files of a project folder. Every stage takes one, so that it can read and write anywhere.

    Args:
        root: the folder that holds params.yaml; by default the working directory.
    """

    root: Path = Path()

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def checkpoints(self) -> Path:
        """Unfinished work of a killed training, and the locks."""
        return self.root / ".checkpoints"

    @property
    def settings(self) -> Path:
        """What `plan` writes and the other stages read."""
        return self.root / "reports" / "settings"

    @property
    def plan(self) -> Path:
        return self.settings / "plan.yaml"

    @property
    def evaluate_settings(self) -> Path:
        return self.settings / "evaluate.yaml"

    def row_settings(self, row: str) -> Path:
        return self.settings / f"{row}.yaml"

    def dataset_settings(self, dataset: str) -> Path:
        """What a data set's download and preparation depend on."""
        return self.settings / "data" / f"{dataset}.yaml"

    def raw(self, dataset: str) -> Path:
        return self.root / "data" / "raw" / dataset

    def prepared(self, dataset: str) -> Path:
        return self.root / "data" / "prepared" / dataset

    def model(self, row: str) -> Path:
        return self.root / "models" / row

    def weights(self, row: str, seed: int) -> Path:
        return self.model(row) / f"seed-{seed}.safetensors"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def logs(self) -> Path:
        """What the stages of a row print when rows run side by side."""
        return self.reports / "logs"

    @property
    def report(self) -> Path:
        """The report as markdown."""
        return self.reports / "report.md"

    @property
    def page(self) -> Path:
        """The report as one HTML file."""
        return self.reports / "report.html"

    @property
    def figures(self) -> Path:
        return self.reports / "figures"

    @property
    def metrics(self) -> Path:
        """A few means of every row, for `dvc metrics`."""
        return self.reports / "metrics.json"

    @property
    def decisions(self) -> Path:
        """What was decided of every claim."""
        return self.reports / "decisions.json"

    @property
    def all_measures(self) -> Path:
        """A line per row, seed and measure."""
        return self.reports / "all_measures.csv"

    @property
    def compared(self) -> Path:
        """What changed since another report."""
        return self.reports / "compared.md"

    @property
    def plots(self) -> Path:
        """What `dvc plots` draws beside the learning curves: see dvc.yaml."""
        return self.reports / "plots.csv"

    @property
    def reference(self) -> Path:
        """Reports that are kept in git."""
        return self.reports / "reference"

    def history(self, row: str) -> Path:
        """A line per seed and epoch."""
        return self.reports / "history" / f"{row}.csv"

    def measured(self, row: str) -> Path:
        """The measures of every seed, as JSON."""
        return self.reports / "runs" / f"{row}.json"

    def arrays(self, row: str) -> Path:
        """Pictures and histograms, as NumPy arrays."""
        return self.reports / "runs" / f"{row}.npz"

    def benchmark(self, part: str) -> Path:
        """What a part of the benchmark measured, as JSON."""
        return self.reports / "benchmark" / f"{part}.json"


def read_settings(row: str, paths: Paths = Paths()) -> dict[str, Any]:
    """The settings of a row as `plan` wrote them.

    Raises:
        UserError: there is no such row in the plan.
    """
    if not ROW.fullmatch(row):
        raise UserError(f"{row!r} names no row; write <dataset>-<variant>, each of letters, digits and _.")
    path = paths.row_settings(row)
    if not path.is_file():
        raise UserError(f"{path} is not there; name a row of the grid, as <dataset>-<variant>, after `dvc repro plan`.")
    settings: dict[str, Any] = files.read_yaml(path)
    return settings
