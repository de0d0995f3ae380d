"""params.yaml: reading, merging and checking it. A row is params.yaml, changed by its data set, then by its variant."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from pydantic_core import ErrorDetails

from pipeline import datasets, quantizers
from pipeline.core.errors import UserError
from pipeline.core.registry import Section, settings_of

PARAMS = Path("params.yaml")
SECTIONS = ("data", "model", "quantizer", "train", "evaluate")


class Grid(Section):
    """What `dvc repro` builds: every combination; and the sweeps that `make sweeps` builds."""

    datasets: Annotated[list[str], Field(min_length=1)]
    variants: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)]
    sweeps: Annotated[list[str], Field(min_length=1)]


class Sweep(Section):
    """One setting, several values: every one with every variant; and what the sweep changes besides, as a variant does.

    Attributes:
        setting: its dotted name, e.g. quantizer.gamma.
    """

    setting: str
    values: Annotated[list[Any], Field(min_length=1)]
    variants: Annotated[list[str], Field(min_length=1)]
    model: dict[str, Any] = Field(default_factory=dict)
    quantizer: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)


class Model(Section):
    """The autoencoder; see `pipeline.autoencoder`."""

    dim: PositiveInt
    hidden: Annotated[list[PositiveInt], Field(min_length=1)]
    residual_blocks: NonNegativeInt
    latent_activation: bool
    output_activation: bool


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("be auto, cpu, cuda or cuda:<number>")
    return name


class Train(Section):
    """One training; see `pipeline.train`."""

    epochs: PositiveInt
    batch_size: PositiveInt
    lr: PositiveFloat
    lr_decay: Annotated[float, Field(ge=0, le=1)]
    idle_gradients: bool
    max_images: PositiveInt | None
    flip: bool
    device: Annotated[str, AfterValidator(_device)]
    precision: Literal["float32", "tf32", "bfloat16"]
    compile: bool


class Evaluate(Section):
    """Measuring; see `pipeline.evaluate`."""

    batch_size: PositiveInt
    pictures: PositiveInt
    moving_batches: PositiveInt
    counting_memory: PositiveInt


SCHEMAS: dict[str, type[Section]] = {"model": Model, "train": Train, "evaluate": Evaluate}
COMMON_DATA = ("mirror",)
"""Keys of `data` that say how, not what: no result depends on them, and no settings file holds them."""


@dataclass(frozen=True)
class Row:
    """One line of the report: a data set with a variant, and everything its training depends on."""

    dataset: str
    variant: str
    seeds: list[int]
    model: dict[str, Any]
    quantizer: dict[str, Any]
    train: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.variant}"


@dataclass(frozen=True)
class Swept(Row):
    """A row of a sweep: what its variant is made from, and the value that one setting takes."""

    sweep: dict[str, Any]


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read params.yaml as YAML 1.2, in which 1e-05 is a number and `on` is text, and check its outer form.

    Raises:
        UserError: not there, not YAML, a section missing or unknown.
    """
    from ruamel.yaml import YAML  # here, because a machine that only trains has no need of it
    from ruamel.yaml.error import YAMLError

    try:
        params = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not there; run this from the folder that holds it.") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    expected = {"grid", *SECTIONS, "datasets", "variants", "sweeps"}
    if not isinstance(params, dict) or set(params) != expected:
        found = set(params) if isinstance(params, dict) else set()
        wrong = [f"{key!r} is missing" for key in sorted(expected - found)]
        wrong += [f"{key!r} is unknown{_meant(key, expected)}" for key in sorted(map(str, found - expected))]
        raise UserError(f"{path}: of its sections, {', '.join(wrong)}.")
    for section in expected:
        if not isinstance(params[section], dict):
            raise UserError(f"{path}: {section} is {params[section]!r}, but should be a section of keys.")
    return params


@dataclass(frozen=True)
class Layered:
    """A section merged from several places, remembering where each value stood."""

    values: dict[str, Any]
    origins: dict[str, str]
    path: Path

    def checked(self, schema: type[Section], who: str) -> dict[str, Any]:
        """The values, checked against a schema.

        Raises:
            UserError: an unknown key, a missing key, a wrong type, a value out of range.
        """
        try:
            return schema.model_validate(self.values).model_dump()
        except ValidationError as error:
            raise UserError(f"{self.path}: {self._sentence(error, schema, who)}") from None

    def _sentence(self, error: ValidationError, schema: type[Section], who: str) -> str:
        first = error.errors()[0]
        name = str(first["loc"][0])
        key = self.origins.get(name, name)
        if first["type"] == "extra_forbidden":
            return f"{key} is unknown{_meant(name, schema.model_fields)}; {who} takes {', '.join(schema.model_fields)}."
        if first["type"] == "missing":
            return f"{name} is missing; {who} takes {', '.join(schema.model_fields)}."
        same = [e for e in error.errors() if e["loc"][0] == name]  # one for each type that the value might have had
        should = " or ".join(dict.fromkeys(map(_should, same))).replace(" or be ", " or ")
        index = f"[{first['loc'][1]}]" if first["type"] != "too_short" and isinstance(self.values[name], list) else ""
        value = first["input"] if index else self.values[name]
        hint = f" (write [{value}])" if isinstance(value, str) and "valid list" in should else ""
        return f"{key}{index} is {value!r}, but should {should}{hint}."


def _should(error: ErrorDetails) -> str:
    if error["type"] == "too_short":
        return f"have at least {error['ctx']['min_length']} item"
    return error["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("should ")


def _meant(word: str, words: Any) -> str:
    near = difflib.get_close_matches(word, list(words), 1)
    return f" (is {near[0]!r} meant?)" if near else ""


def layered(params: Mapping[str, Any], section: str, places: list[str], path: Path = PARAMS) -> Layered:
    """Merge `section` with what each of `places`, e.g. `datasets.photos`, changes in it; the last one wins."""
    values: dict[str, Any] = dict(params[section])
    origins = {key: f"{section}.{key}" for key in values}
    for place in places:
        folder, name = place.split(".", 1)
        changes = (params[folder].get(name) or {}).get(section) or {}
        if not isinstance(changes, dict):
            raise UserError(f"{path}: {place}.{section} is {changes!r}, but should be a section of keys.")
        values |= changes
        origins |= {key: f"{place}.{section}.{key}" for key in changes}
    return Layered(values, origins, path)


def grid(params: Mapping[str, Any], path: Path = PARAMS) -> Grid:
    """The checked grid; every name in it is defined and no name stands twice.

    Raises:
        UserError: not a list, empty, an unknown data set or variant, a name or seed that stands twice.
    """
    checked = Grid(**layered(params, "grid", [], path).checked(Grid, "the grid"))
    there = {"datasets": datasets.names(), "variants": list(params["variants"]), "sweeps": list(params["sweeps"])}
    for kind, known in there.items():
        for name in getattr(checked, kind):
            if name not in known:
                raise UserError(
                    f"{path}: grid.{kind} names {name!r}{_meant(name, known)}, but there is {', '.join(known)}."
                )
    for kind in ("datasets", "variants", "seeds", "sweeps"):
        chosen = getattr(checked, kind)
        if len(set(chosen)) != len(chosen):
            raise UserError(f"{path}: grid.{kind} is {chosen}, but should name each one once.")
    return checked


def check_places(params: Mapping[str, Any], path: Path = PARAMS) -> None:
    """Check the names and sections under `datasets` and `variants`, and that every default is a setting of something.

    Raises:
        UserError: a data set without a file, a section that cannot be changed there, a default that nothing takes.
    """
    for name in params["datasets"]:
        if name not in datasets.names():
            raise UserError(f"{path}: datasets.{name} has no file; there is {', '.join(datasets.names())}.")
    for folder, allowed in (
        ("datasets", ("data", "model", "quantizer", "train")),
        ("variants", ("model", "quantizer", "train")),
    ):
        for name, changes in params[folder].items():
            if "-" in name:
                raise UserError(
                    f"{path}: {folder}.{name} should use _ in its name; - stands between data set and variant."
                )
            for section in changes or {}:
                if section not in allowed:
                    raise UserError(
                        f"{path}: {folder}.{name}.{section} is unknown; a place there is {', '.join(allowed)}."
                    )
    known = {"name"}.union(*(settings_of(quantizers.find(name)).model_fields for name in quantizers.names()))
    _all_known(params["quantizer"], known, "quantizer", path)
    taken = set(COMMON_DATA).union(*(settings_of(datasets.find(name)).model_fields for name in datasets.names()))
    _all_known(params["data"], taken, "data", path)


def _all_known(section: Mapping[str, Any], known: set[str], name: str, path: Path) -> None:
    for key in section:
        if key not in known:
            raise UserError(
                f"{path}: {name}.{key} is unknown{_meant(key, known)}; there is {', '.join(sorted(known))}."
            )


def chosen(merged: Layered, schema: type[Section], also: tuple[str, ...] = ()) -> Layered:
    """Leave out the defaults that this schema does not take; what a data set or variant states must be taken."""
    default = {key for key, origin in merged.origins.items() if origin.count(".") == 1}
    values = {
        k: v for k, v in merged.values.items() if k not in also and (k not in default or k in schema.model_fields)
    }
    return Layered(values, merged.origins, merged.path)


def row(params: Mapping[str, Any], dataset: str, variant: str, seeds: list[int], path: Path = PARAMS) -> Row:
    """The row of a data set and a variant, with the settings that it uses and no other.

    Raises:
        UserError: a setting is unknown, missing, of a wrong type or out of range.
    """
    places = [f"datasets.{dataset}", f"variants.{variant}"]
    return _row({name: layered(params, name, places, path) for name in SWEPT}, dataset, variant, seeds, path)


SWEPT = ("model", "quantizer", "train")
"""Sections of which a row is made, and whose settings a sweep varies."""


def _row(merged: dict[str, Layered], dataset: str, variant: str, seeds: list[int], path: Path) -> Row:
    parts = {name: merged[name].checked(SCHEMAS[name], name) for name in ("model", "train")}
    name = merged["quantizer"].values.get("name")
    if name not in quantizers.names():
        raise UserError(
            f"{path}: variants.{variant}.quantizer.name is {name!r}, but there is {', '.join(quantizers.names())}."
        )
    schema = settings_of(quantizers.find(name))
    settings = chosen(merged["quantizer"], schema, also=("name",)).checked(schema, name)
    return Row(dataset, variant, seeds, parts["model"], {"name": name, **settings}, parts["train"])


def sweep(params: Mapping[str, Any], name: str, path: Path = PARAMS) -> Sweep:
    """The checked definition of a sweep.

    Raises:
        UserError: a key or variant is unknown, a key is missing, the setting is not of a row, something stands twice.
    """
    stated = params["sweeps"][name]
    if not re.fullmatch(r"\w+", name):
        raise UserError(f"{path}: sweeps.{name} should use letters, digits and _ in its name.")
    if not isinstance(stated, dict):
        raise UserError(f"{path}: sweeps.{name} is {stated!r}, but should be a section of keys.")
    layer = Layered(stated, {key: f"sweeps.{name}.{key}" for key in stated}, path)
    checked = Sweep(**layer.checked(Sweep, "a sweep"))
    for variant in checked.variants:
        if variant not in params["variants"]:
            raise UserError(
                f"{path}: sweeps.{name}.variants names {variant!r}{_meant(variant, params['variants'])}, "
                f"but there is {', '.join(params['variants'])}."
            )
    settings = [f"{part}.{one}" for part in SWEPT for one in params[part]]
    if checked.setting not in settings:
        raise UserError(
            f"{path}: sweeps.{name}.setting is {checked.setting!r}{_meant(checked.setting, settings)}, but should be "
            f"a key of {', '.join(SWEPT)}, as quantizer.gamma."
        )
    names = [swept_name(*one) for one in itertools.product(checked.variants, [name], checked.values)]
    twice = next((one for one in names if names.count(one) > 1 or one in params["variants"]), None)
    if twice:
        raise UserError(f"{path}: sweeps.{name} makes a row {twice!r}, but there is one of that name already.")
    return checked


def swept_name(variant: str, sweep: str, value: Any) -> str:
    """`<variant>_<sweep>_<value>` in letters, digits and _: lattice_gamma_0_001, lattice_gamma_minus_1."""
    if isinstance(value, float):
        value = format(Decimal(repr(value + 0.0)).normalize(), "f")  # -0.0 is 0
    text = re.sub(r"\W+", "_", str(value).replace("-", "minus_")).strip("_")
    return f"{variant}_{sweep}_{text}"


def swept(params: Mapping[str, Any], dataset: str, name: str, seeds: list[int], path: Path = PARAMS) -> list[Swept]:
    """The rows of a sweep on a data set: variant by variant, each with all values.

    Raises:
        UserError: the sweep or a setting is unknown, missing, of a wrong type or out of range.
    """
    found = sweep(params, name, path)
    section, _, key = found.setting.partition(".")
    rows = []
    for variant, (place, value) in itertools.product(found.variants, enumerate(found.values)):
        places = [f"datasets.{dataset}", f"variants.{variant}", f"sweeps.{name}"]
        if section == "quantizer":
            _taken(params, variant, name, key, path)
        merged = {part: layered(params, part, places, path) for part in SWEPT}
        layer = merged[section]
        origins = {**layer.origins, key: f"sweeps.{name}.values[{place}]"}
        merged[section] = replace(layer, values={**layer.values, key: value}, origins=origins)
        made = _row(merged, dataset, swept_name(variant, name, value), seeds, path)
        about = {"name": name, "variant": variant, "setting": found.setting, "value": value}
        rows.append(Swept(**vars(made), sweep=about))
    return rows


def _taken(params: Mapping[str, Any], variant: str, sweep: str, key: str, path: Path) -> None:
    """Refuse a sweep over what the variant's quantizer does not have."""
    quantizer = layered(params, "quantizer", [f"variants.{variant}"], path).values.get("name")
    if quantizer not in quantizers.names():
        return  # told when the variant itself is checked
    fields = settings_of(quantizers.find(quantizer)).model_fields
    if key not in fields:
        raise UserError(
            f"{path}: sweeps.{sweep}.setting is 'quantizer.{key}', but the quantizer of {variant}, {quantizer}, "
            f"takes {', '.join(fields)}."
        )


def data(params: Mapping[str, Any], dataset: str, path: Path = PARAMS) -> dict[str, Any]:
    """The checked settings of a data set: what its class takes."""
    schema = settings_of(datasets.find(dataset))
    merged = layered(params, "data", [f"datasets.{dataset}"], path)
    return chosen(merged, schema, also=COMMON_DATA).checked(schema, dataset)


def evaluate(params: Mapping[str, Any], path: Path = PARAMS) -> dict[str, Any]:
    return layered(params, "evaluate", [], path).checked(Evaluate, "evaluate")


def rows(params: Mapping[str, Any], path: Path = PARAMS) -> list[Row]:
    """Check all of params.yaml, also what the grid leaves out, and give the grid's rows in its order.

    Raises:
        UserError: the first thing that is wrong.
    """
    check_places(params, path)
    wanted = grid(params, path)
    for section, schema in SCHEMAS.items():  # the defaults themselves, which a data set might hide
        layered(params, section, [], path).checked(schema, section)
    if not isinstance(params["data"].get("mirror"), str | None):
        raise UserError(f"{path}: data.mirror is {params['data']['mirror']!r}, but should be a folder, a URL or null.")
    for name in dict.fromkeys([*wanted.datasets, *params["datasets"]]):
        data(params, name, path)
        for variant in params["variants"]:
            row(params, name, variant, wanted.seeds, path)
    for dataset, name in itertools.product(wanted.datasets, params["sweeps"]):
        swept(params, dataset, name, wanted.seeds, path)
    return [row(params, d, v, wanted.seeds, path) for d in wanted.datasets for v in wanted.variants]
