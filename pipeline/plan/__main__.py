"""Write down what exactly each row and each data set is, and check all of params.yaml before anything is spent.

    params.yaml → reports/settings/<row>.yaml               what the row's training depends on
                  reports/settings/evaluate.yaml            what measuring depends on
                  reports/settings/download/<dataset>.yaml  what downloading a data set depends on
                  reports/settings/data/<dataset>.yaml      what preparing it depends on
                  reports/settings/benchmark/<part>.yaml    what a part of the benchmark depends on
                  reports/settings/plan.yaml                what the report shows, in its order

A stage runs again when its settings file changes. The file holds the settings that the stage uses and digests of the
source files that its numbers rest on, and nothing of other rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import metrics, quantizers
from pipeline.benchmark import part_names
from pipeline.core import cli, files, registry
from pipeline.core.code_digests import digests
from pipeline.core.paths import Paths
from pipeline.core.schema import require
from pipeline.plan import check, config, edit
from pipeline.plan.check import Plan
from pipeline.plan.config import Grid, Variant


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.plan", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="check params.yaml and write nothing")
    parser.add_argument(
        "--sweeps", nargs="*", metavar="SWEEP", help="list all rows of these sweeps, or of all sweeps, in grid.sweeps"
    )
    parser.add_argument(
        "--benchmark", nargs="*", metavar="PART", help="list these parts, or all parts, in grid.benchmark"
    )
    parser.add_argument("--full", action="store_true", help="put what `full` lists in place of the grid")
    arguments, paths = parser.parse_args(), Paths()
    params = config.read_params(paths.params)
    if arguments.full:
        fill_grid(params, paths.params)
    elif arguments.sweeps is not None:
        list_in_grid(params, "sweeps", arguments.sweeps, paths.params)
    elif arguments.benchmark is not None:
        list_in_grid(params, "benchmark", arguments.benchmark, paths.params)
    else:
        plan = check.plan(params, paths.params)
        for sentence in check.unused(plan):
            cli.log.info("%s: %s.", paths.params, sentence)
        if not arguments.check:
            write(plan, paths)
            cli.log.info("planned %d rows in %s", len(plan.rows) + len(plan.sweep_rows), paths.settings)


def list_in_grid(params: dict[str, Any], key: str, chosen: Sequence[str], path: Path) -> None:
    """Write params.yaml with the rows of sweeps, or parts of the benchmark, at grid.`key`, if all of it is right.

    Args:
        params: what the file holds; changed likewise.
        chosen: sweeps or parts; all where none is named.

    Raises:
        UserError: it is not right; the file stays as it is.
    """
    if isinstance(params.get("grid"), dict):
        params["grid"][key] = []  # what it lists now need not be right
    file = check.plan(params, path).file
    names = chosen or part_names()
    if key == "sweeps":
        require("--sweeps", chosen, file.sweeps)
        names = [row for row, sweep in file.sweep_rows.items() if sweep["name"] in (chosen or file.sweeps)]
    _write_grid({**params, "grid": {**params["grid"], key: names}}, [key], path)
    cli.log.info("%s: names in grid.%s: %d", path, key, len(names))


def fill_grid(params: dict[str, Any], path: Path) -> None:
    """Write params.yaml with what `full` lists at `grid`, if all of it is right.

    Args:
        params: what the file holds.

    Raises:
        UserError: it is not right; the file stays as it is.
    """
    full = check.plan(params, path).file.full
    _write_grid({**params, "grid": full.model_dump()}, list(Grid.model_fields), path)
    rows = len(full.datasets) * (len(full.variants) + len(full.sweeps))
    cli.log.info("%s: rows in grid: %d, of %d seeds each", path, rows, len(full.seeds))


def _write_grid(params: dict[str, Any], keys: Sequence[str], path: Path) -> None:
    """Write what `params` has at these keys of `grid` into the file, once all of `params` is right."""
    check.plan(params, path)
    text = path.read_bytes().decode()
    for key in keys:
        text = edit.replace_list(text, "grid", key, params["grid"][key])
    with files.replacing(path) as beside:
        beside.write_bytes(text.encode())


def write(plan: Plan, paths: Paths) -> None:
    """Write all settings files; those of rows that are no longer planned go."""
    rows = [*plan.rows, *plan.sweep_rows]
    code = {
        name: digests("pipeline.train.loop", f"pipeline.quantizers.{name}", without=["pipeline.datasets"])
        for name in {row.quantizer["name"] for row in rows}
    }
    measuring = digests(
        "pipeline.evaluate",
        *(f"pipeline.metrics.{name}" for name in registry.names(metrics)),
        without=["pipeline.datasets"],
    )
    with files.replacing(paths.settings) as folder:
        folder.mkdir()
        for row in rows:
            stated = {key: value for key, value in asdict(row).items() if value is not None}
            comment = f"What the training of {row.name} depends on, written by `python -m pipeline.plan`."
            files.write_yaml(folder / f"{row.name}.yaml", {**stated, "code": code[row.quantizer["name"]]}, comment)
        files.write_yaml(folder / "evaluate.yaml", {**plan.file.evaluate.model_dump(), "code": measuring})
        for name, dataset in plan.datasets.items():
            preparing = digests("pipeline.preprocess", f"pipeline.datasets.{name}")
            content = {"dataset": name, "settings": plan.data[name], "code": preparing}
            files.write_yaml(folder / "data" / f"{name}.yaml", content)
            files.write_yaml(folder / "download" / f"{name}.yaml", dataset.identity())
        for part in plan.file.grid.benchmark:
            timing = {"code": digests("pipeline.benchmark.__main__", f"pipeline.benchmark.parts.{part}")}
            files.write_yaml(folder / "benchmark" / f"{part}.yaml", timing)
        files.write_yaml(folder / "plan.yaml", for_report(plan))


def for_report(plan: Plan) -> dict[str, Any]:
    """What the report shows, and what it calls it. A sweep without a title and symbol is called as its setting."""
    sweeps: dict[str, Any] = {}
    quantizer_of = {row.variant: row.quantizer["name"] for row in plan.rows}
    for row in plan.sweep_rows:
        made_from = plan.file.sweep_rows[row.variant]
        name = made_from["name"]
        if name not in sweeps:
            sweep = plan.file.sweeps[name]
            called = {"title": sweep.title or sweep.setting, "symbol": sweep.symbol or sweep.setting.split(".")[1]}
            sweeps[name] = {**sweep.model_dump(), **called, "rows": []}
        sweeps[name]["rows"].append(row.name)
        quantizer_of[made_from["variant"]] = row.quantizer["name"]
    return {
        "rows": [row.name for row in plan.rows],
        **plan.file.grid.model_dump(),
        "sweeps": sweeps,
        "labels": {variant: label(plan.file.variants[variant], name) for variant, name in quantizer_of.items()},
        "report": plan.file.report.model_dump(),
        "measures": [
            {key: value for key, value in vars(measure).items() if key != "compute"} for measure in metrics.MEASURES
        ],
    }


def label(variant: Variant, quantizer: str) -> dict[str, str]:
    """Title, meaning and colour of a variant: its own, or else its quantizer's."""
    cls = quantizers.find(quantizer)
    return {key: getattr(variant, key) or getattr(cls, key) for key in ("title", "meaning", "colour")}


if __name__ == "__main__":
    cli.run(main)
