"""Checking all of params.yaml before anything is spent. Gives the rows that it asks for."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, create_model

from pipeline import datasets, quantizers
from pipeline.benchmark import part_names
from pipeline.core.errors import UserError
from pipeline.core.paths import NAME
from pipeline.core.registry import settings_of
from pipeline.core.schema import Section, check, did_you_mean
from pipeline.datasets import Dataset
from pipeline.metrics import MEASURES
from pipeline.plan import config
from pipeline.plan.config import CHANGED, File, Grid, Params, Row


@dataclass(frozen=True)
class Plan:
    """What params.yaml asks for.

    Attributes:
        rows: the grid's, in its order.
        sweep_rows: those of grid.sweeps.
        data: the settings of the grid's data sets.
        datasets: the grid's data sets.
        unused: a line on the parameters that no row takes; empty if there are none.
    """

    file: File
    rows: list[Row]
    sweep_rows: list[Row]
    data: dict[str, dict[str, Any]]
    datasets: dict[str, Dataset]
    unused: str


def plan(params: Params, path: Path = config.PARAMS) -> Plan:
    """Check all of params.yaml, also what the grid leaves out.

    Args:
        path: of the file, for the sentence.

    Raises:
        UserError: the first thing that is wrong.
    """
    try:
        check_names(params)
        file = check(File, params, "params.yaml")
        check_defaults(params)
        check_references(params, file.grid)
        return _plan(params, file)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _plan(params: Params, file: File) -> Plan:
    grid, swept = file.grid, config.sweep_values(params)
    row = functools.partial(config.row, params, seeds=grid.seeds)
    data = {name: config.data(params, name) for name in dict.fromkeys([*grid.datasets, *params["datasets"]])}
    for dataset in data:  # also the rows that the grid leaves out
        for variant in params["variants"]:
            row(dataset, variant)
    sweep_rows = {(d, name): row(d, name, swept=value) for d in grid.datasets for name, value in swept.items()}
    rows = [row(dataset, variant) for dataset in grid.datasets for variant in grid.variants]
    listed = [sweep_rows[dataset, name] for dataset in grid.datasets for name in grid.sweeps]
    check_quantizers([*rows, *listed])
    built = build_datasets(data)
    check_images(params, [*rows, *listed], built)
    return Plan(
        file=file,
        rows=rows,
        sweep_rows=listed,
        data={name: data[name] for name in grid.datasets},
        datasets={name: built[name] for name in grid.datasets},
        unused=unused(params, rows, data),
    )


def check_names(params: Params) -> None:
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


def check_defaults(params: Params) -> None:
    """Check that every key of `quantizer` and `data` is a setting of some quantizer or data set.

    Raises:
        UserError: it is not.
    """
    mirror = Annotated[Any, AfterValidator(_mirror)]
    packages: dict[str, tuple[Any, dict[str, Any]]] = {
        "quantizer": (quantizers, {"name": Any}),
        "data": (datasets, {"mirror": mirror}),
    }
    for section, (package, also) in packages.items():
        settings = sorted({key for name in package.names() for key in settings_of(package.find(name)).model_fields})
        fields: dict[str, Any] = {key: (kind, None) for key, kind in (also | dict.fromkeys(settings, Any)).items()}
        keys = {key: f"{section}.{key}" for key in params[section]}
        check(create_model(section, __base__=Section, **fields), params[section], section, keys)


def _mirror(value: Any) -> Any:
    if not isinstance(value, str | None):
        raise ValueError("be a folder, a URL or null")
    return value


def check_references(params: Params, grid: Grid) -> None:
    """Check that whatever is named is there, and that a list of the grid names nothing twice.

    Raises:
        UserError: it is not.
    """
    variants = list(params["variants"])
    _require("datasets", params["datasets"], datasets.names())
    _require("grid.datasets", grid.datasets, datasets.names())
    _require("grid.variants", grid.variants, variants)
    _require("grid.benchmark", grid.benchmark, part_names())
    settings = [f"{section}.{key}" for section in CHANGED for key in params[section]]
    for name, sweep in params["sweeps"].items():
        _require(f"sweeps.{name}.variants", sweep["variants"], variants)
        _require(f"sweeps.{name}.measures", sweep.get("measures", []), [measure.key for measure in MEASURES])
        if sweep["setting"] not in settings:
            raise UserError(
                f"sweeps.{name}.setting is {sweep['setting']!r}{did_you_mean(sweep['setting'], settings)}, "
                f"but should be a key of {', '.join(CHANGED)}, as quantizer.gamma."
            )
    check_sweep_rows(params, grid.sweeps)
    for key, chosen in grid.model_dump().items():
        if len(set(chosen)) != len(chosen):
            raise UserError(f"grid.{key} is {chosen}, but should name each one once.")


def check_sweep_rows(params: Params, names: list[str]) -> None:
    """Check that grid.sweeps names rows that the sweeps can make.

    Raises:
        UserError: it does not.
    """
    rows = config.sweep_values(params)
    for name in names:
        if name in params["sweeps"]:
            made = ", ".join(row for row, value in rows.items() if value.sweep == name)
            raise UserError(
                f"grid.sweeps names the sweep {name!r}, but should name rows of it: {made}; "
                f"`make sweeps SWEEPS={name}` writes them."
            )
        if name not in rows:
            raise UserError(
                f"grid.sweeps names {name!r}{did_you_mean(name, rows)}, which no sweep makes; "
                "`make sweeps` writes the rows of all sweeps."
            )


def sweep_rows(params: Params, sweeps: Sequence[str]) -> list[str]:
    """The rows of these sweeps, or of all where none is named.

    Raises:
        UserError: there is no such sweep.
    """
    _require("--sweeps", sweeps, list(params["sweeps"]))
    return [row for row, value in config.sweep_values(params).items() if value.sweep in (sweeps or params["sweeps"])]


def _require(place: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{place} names {name!r}{did_you_mean(name, known)}, but there is {', '.join(known)}.")


def check_quantizers(rows: Iterable[Row]) -> None:
    """Build every quantizer, which costs little beside a training, so that it refuses its settings now.

    Raises:
        UserError: settings that are right by themselves do not fit together.
    """
    built = set()
    for row in rows:
        settings = {key: value for key, value in row.quantizer.items() if key != "name"}
        key = json.dumps([row.quantizer, row.model["dim"]])
        if key not in built:
            built.add(key)
            place = f"sweeps.{row.sweep['name']}" if row.sweep else f"variants.{row.variant}"
            with at_place(f"{place}.quantizer"):
                quantizers.find(row.quantizer["name"])(row.model["dim"], **settings)


def build_datasets(data: Mapping[str, dict[str, Any]]) -> dict[str, Dataset]:
    """The data sets by their settings.

    Raises:
        UserError: settings that are right by themselves do not fit together.
    """
    built = {}
    for name, settings in data.items():
        with at_place(f"datasets.{name}.data"):
            built[name] = datasets.find(name)(**settings)
    return built


def check_images(params: Params, rows: Iterable[Row], built: Mapping[str, Dataset]) -> None:
    """Check that pictures can be halved as often as a row's autoencoder does, where their size is known beforehand.

    Raises:
        UserError: they cannot.
    """
    for row in rows:
        shape, widths = built[row.dataset].image_shape, row.model["hidden"]
        if shape and any(side % 2 ** len(widths) for side in shape):
            swept = config.sweep_values(params)[row.variant] if row.sweep else None
            key = config.merge_row(params, row.dataset, row.variant, swept)["model"].stated["hidden"][-1]
            raise UserError(
                f"{key} is {widths}, each of which halves height and width, but {row.dataset} has pictures of "
                f"{shape[0]}×{shape[1]}."
            )


@contextlib.contextmanager
def at_place(place: str) -> Iterator[None]:
    """Begin the sentences of code that does not know params.yaml with the place there."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def unused(params: Params, rows: Iterable[Row], data: Mapping[str, dict[str, Any]]) -> str:
    """A line on the parameters that no row takes, since other places state their own; empty if there are none."""
    taken: set[str] = set()
    places: dict[str, list[str]] = {}  # key → the places that state it in its stead
    for row in rows:
        settings = {"data": data[row.dataset], **{section: vars(row)[section] for section in CHANGED}}
        sections = config.merge_row(params, row.dataset, row.variant)
        sections["data"] = config.merge(params, "data", [f"datasets.{row.dataset}"])
        for section, merged in sections.items():
            for key in merged.stated.keys() & settings[section].keys():
                *others, last = merged.stated[key]
                taken.add(last)
                for other in others:
                    places.setdefault(other, []).append(last.removesuffix(f".{section}.{key}"))
    keys: dict[str, list[str]] = {}  # the same the other way round
    for key in sorted(places.keys() - taken):
        first, *more = dict.fromkeys(places[key])
        keys.setdefault(f"{first} and {len(more)} more state" if more else f"{first} states", []).append(key)
    return "; ".join(
        f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} taken by no row, since {which} its own"
        for which, names in keys.items()
    )
