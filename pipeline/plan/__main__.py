"""Write down what exactly each row and each data set is, and check all of params.yaml before anything is spent.

    params.yaml → reports/settings/<row>.yaml          what the row's training depends on
                  reports/settings/data/<dataset>.yaml what the data set's download and preparation depend on
                  reports/settings/evaluate.yaml       what measuring depends on
                  reports/settings/sweeps/<dataset>-<sweep>/<row>.yaml   the same for the rows of a sweep
                  reports/settings/plan.yaml           rows in their order, and which parameters were changed

Each file also holds digests of the source files that its stage uses: a stage runs again when its settings or its code
changed, and never because of another row's. `python -m pipeline.plan --check` checks and writes nothing.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import datasets
from pipeline.core import cli, code_digests, files
from pipeline.plan import config

SETTINGS = Path("reports/settings")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="check params.yaml and write nothing")
    only_check = parser.parse_args().check
    params = config.read_params()
    rows = config.rows(params)
    if only_check:
        return
    with files.replacing(SETTINGS) as folder:
        folder.mkdir()
        _write(folder, params, rows)
    cli.log.info("planned %d rows in %s", len(rows), SETTINGS)


def _write(folder: Path, params: dict[str, Any], rows: list[config.Row]) -> None:
    grid = config.grid(params)
    for row in rows:
        _write_row(folder, row)
    sweeps: dict[str, Any] = {name: {**config.sweep(params, name).model_dump(), "rows": []} for name in grid.sweeps}
    for dataset, name in itertools.product(grid.datasets, grid.sweeps):
        for one in config.swept(params, dataset, name, grid.seeds):
            _write_row(folder / "sweeps" / f"{dataset}-{name}", one)
            sweeps[name]["rows"].append(one.name)
    for name in grid.datasets:
        code = code_digests.digests("pipeline.preprocess", f"pipeline.datasets.{name}")
        content = {"dataset": name, "settings": config.data(params, name), "code": code}
        files.write_yaml(folder / "data" / f"{name}.yaml", content)
        wanted = datasets.find(name)(**config.data(params, name)).identity()
        files.write_yaml(folder / "download" / f"{name}.yaml", wanted, f"What the download of {name} depends on.")
    measuring = {**config.evaluate(params), "code": code_digests.digests("pipeline.evaluate")}
    files.write_yaml(folder / "evaluate.yaml", measuring)
    plan = {"rows": [row.name for row in rows], **grid.model_dump(), "sweeps": sweeps, "changed": changed(params)}
    files.write_yaml(folder / "plan.yaml", plan)


def _write_row(folder: Path, row: config.Row) -> None:
    files.write_yaml(
        folder / f"{row.name}.yaml",
        {**asdict(row), "code": _code(row.quantizer["name"])},
        f"What the training of {row.name} depends on. Written by `python -m pipeline.plan` from params.yaml.",
    )


@functools.cache  # many rows have one quantizer
def _code(quantizer: str) -> dict[str, str]:
    return code_digests.digests("pipeline.train", f"pipeline.quantizers.{quantizer}")


def changed(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters whose values differ from those of params.yaml as committed, as dotted key → value."""
    show = subprocess.run(["git", "show", f"HEAD:./{config.PARAMS}"], capture_output=True, text=True, check=False)
    if show.returncode:
        return {}
    from ruamel.yaml import YAML

    before, now = _flat(YAML(typ="safe").load(show.stdout)), _flat(params)
    return {key: now.get(key) for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)}


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {key: value}
    return {k: v for name, part in value.items() for k, v in _flat(part, f"{key}.{name}" if key else str(name)).items()}


if __name__ == "__main__":
    cli.run(main)
