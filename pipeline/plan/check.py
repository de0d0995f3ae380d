"""Checking all of params.yaml, and the papers' files, before anything is spent. Gives the rows that it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, create_model

from pipeline import datasets, papers, quantizers
from pipeline.benchmark import part_names
from pipeline.core.errors import UserError, at_place
from pipeline.core.paths import NAME
from pipeline.core.registry import settings_of
from pipeline.core.schema import Section, check, did_you_mean, require
from pipeline.datasets import Dataset
from pipeline.metrics import MEASURES
from pipeline.plan import config
from pipeline.plan.config import CHANGED, File, Row


@dataclass(frozen=True)
class Plan:
    """What params.yaml asks for.

    Attributes:
        rows: the grid's, in its order.
        sweep_rows: those of grid.sweeps.
        data: the settings of the grid's data sets.
        datasets: the grid's data sets.
    """

    file: File
    rows: list[Row]
    sweep_rows: list[Row]
    data: dict[str, dict[str, Any]]
    datasets: dict[str, Dataset]


def plan(params: dict[str, Any], path: Path = config.PARAMS) -> Plan:
    """Check all of params.yaml, also what the grid leaves out.

    Args:
        path: of the file, for the sentence.

    Raises:
        UserError: the first thing that is wrong.
    """
    with at_place(path):
        check_names(params)
        file = check(File, params, "params.yaml")
        check_defaults(file)
        check_references(file)
        grid = file.grid
        data = {name: config.data(file, name) for name in dict.fromkeys([*grid.datasets, *file.datasets])}
        variants = [*file.variants, *file.sweep_rows]
        every = {(dataset, variant): config.row(file, dataset, variant) for dataset in data for variant in variants}
        rows = [every[dataset, variant] for dataset in grid.datasets for variant in grid.variants]
        sweep_rows = [every[dataset, variant] for dataset in grid.datasets for variant in grid.sweeps]
        check_quantizers([*rows, *sweep_rows])
        built: dict[str, Dataset] = {}
        for name, settings in data.items():
            with at_place(f"datasets.{name}.data"):
                built[name] = datasets.find(name)(**settings)
        check_images(file, [*rows, *sweep_rows], built)
    papers.read(known_names(file))
    return Plan(
        file=file,
        rows=rows,
        sweep_rows=sweep_rows,
        data={name: data[name] for name in grid.datasets},
        datasets={name: built[name] for name in grid.datasets},
    )


def check_names(params: dict[str, Any]) -> None:
    """Check every name that DVC puts into a path or a shell command.

    Raises:
        UserError: a name is not made of letters, digits and _.
    """
    places: dict[str, Any] = {section: params.get(section) for section in ("datasets", "variants", "sweeps")}
    grid = params.get("grid")
    if isinstance(grid, dict):
        places |= {f"grid.{key}": grid.get(key) for key in ("datasets", "variants", "sweeps", "benchmark")}
    for place, names in places.items():
        for name in names if isinstance(names, list | dict) else []:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                hint = f" (write {str(name)!r})" if isinstance(name, int) else ""
                raise UserError(f"{place} has {name!r}, but a name is a text of letters, digits and _{hint}.")


def check_defaults(file: File) -> None:
    """Check that every key of `quantizer` and `data` is a setting of some quantizer or data set.

    Raises:
        UserError: it is not.
    """
    mirror = Annotated[Any, AfterValidator(_mirror)]
    sections: dict[str, tuple[Any, dict[str, Any]]] = {
        "quantizer": (quantizers, {"name": (Any, None)}),
        "data": (datasets, {"mirror": (mirror, None)}),
    }
    for section, (package, fields) in sections.items():
        for name in package.names():
            fields |= dict.fromkeys(settings_of(package.find(name)).model_fields, (Any, None))
        stated = getattr(file, section)
        check(create_model(section, __base__=Section, **fields), stated, section, {k: f"{section}.{k}" for k in stated})


def _mirror(value: Any) -> Any:
    if not isinstance(value, str | None):
        raise ValueError("be a folder, a URL or null")
    return value


def check_references(file: File) -> None:
    """Check that whatever is named is there, and that a list of the grid names nothing twice.

    Raises:
        UserError: it is not.
    """
    require("datasets", file.datasets, datasets.names())
    require("grid.datasets", file.grid.datasets, datasets.names())
    require("grid.variants", file.grid.variants, file.variants)
    require("grid.benchmark", file.grid.benchmark, part_names())
    settings = setting_names(file)
    for name, sweep in file.sweeps.items():
        require(f"sweeps.{name}.variants", sweep.variants, file.variants)
        require(f"sweeps.{name}.measures", sweep.measures, [measure.key for measure in MEASURES])
        if sweep.setting not in settings:
            raise UserError(
                f"sweeps.{name}.setting is {sweep.setting!r}{did_you_mean(sweep.setting, settings)}, "
                f"but should be a key of {', '.join(CHANGED)}, as quantizer.gamma."
            )
    check_sweep_rows(file)
    for key, chosen in file.grid:
        if len(set(chosen)) != len(chosen):
            raise UserError(f"grid.{key} is {chosen}, but should name each one once.")


def known_names(file: File) -> papers.Known:
    """What the papers' files may name."""
    return papers.Known(
        variants=[*file.variants, *file.sweep_rows],
        measures=[measure.key for measure in MEASURES],
        settings=setting_names(file),
        datasets=datasets.names(),
    )


def setting_names(file: File) -> list[str]:
    return [f"{section}.{key}" for section in CHANGED for key in dict(getattr(file, section))]


def check_sweep_rows(file: File) -> None:
    """Check that grid.sweeps names rows that the sweeps can make.

    Raises:
        UserError: it does not.
    """
    for name in file.grid.sweeps:
        if name in file.sweeps:
            made = ", ".join(row for row, sweep in file.sweep_rows.items() if sweep["name"] == name)
            raise UserError(
                f"grid.sweeps names the sweep {name!r}, but should name rows of it: {made}; "
                f"`make sweeps SWEEPS={name}` writes them."
            )
        if name not in file.sweep_rows:
            raise UserError(
                f"grid.sweeps names {name!r}{did_you_mean(name, file.sweep_rows)}, which no sweep makes; "
                "`make sweeps` writes the rows of all sweeps."
            )


def check_quantizers(rows: Iterable[Row]) -> None:
    """Build every quantizer, which costs little beside a training, so that it refuses its settings now.

    Raises:
        UserError: settings that are right by themselves do not fit together.
    """
    for row in {json.dumps([row.quantizer, row.model["dim"]]): row for row in rows}.values():
        place = f"sweeps.{row.sweep['name']}" if row.sweep else f"variants.{row.variant}"
        settings = {key: value for key, value in row.quantizer.items() if key != "name"}
        with at_place(f"{place}.quantizer"):
            quantizers.find(row.quantizer["name"])(row.model["dim"], **settings)


def check_images(file: File, rows: Iterable[Row], built: Mapping[str, Dataset]) -> None:
    """Check that pictures can be halved as often as a row's autoencoder does, where their size is known beforehand.

    Raises:
        UserError: they cannot.
    """
    for row in rows:
        shape, widths = built[row.dataset].image_shape, row.model["hidden"]
        if shape and any(side % 2 ** len(widths) for side in shape):
            *_, place = config.stated(file, "model", row.dataset, row.variant)["hidden"]
            raise UserError(
                f"{place} is {widths}, each of which halves height and width, but {row.dataset} has pictures of "
                f"{shape[0]}×{shape[1]}."
            )


def unused(plan: Plan) -> list[str]:
    """Sentences on the parameters that no row takes, since other places state their own."""
    taken: set[str] = set()
    places: dict[str, list[str]] = {}  # parameter → the places that state it in its stead
    for row in plan.rows:
        for section in (*CHANGED, "data"):
            settings = plan.data[row.dataset] if section == "data" else getattr(row, section)
            for key, found in config.stated(plan.file, section, row.dataset, row.variant).items():
                if key in settings:
                    *others, last = found
                    taken.add(last)
                    for other in others:
                        places.setdefault(other, []).append(last.removesuffix(f".{section}.{key}"))
    keys: dict[str, list[str]] = {}  # who states its own → the parameters
    for key in sorted(places.keys() - taken):
        first, *more = dict.fromkeys(places[key])
        keys.setdefault(f"{first} and {len(more)} more state" if more else f"{first} states", []).append(key)
    return [
        f"no row takes {' or '.join([', '.join(some), last] if some else [last])}, since {stated} its own"
        for stated, (*some, last) in keys.items()
    ]
