"""params.yaml: reading, checking and merging it. A row is params.yaml, changed by its data set, then by its variant."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline import datasets, quantizers
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.core.registry import settings_of
from pipeline.core.schema import Section, check, matching

Item = TypeVar("Item")
Filled = Annotated[list[Item], Field(min_length=1)]
MayBeEmpty = Annotated[Item, BeforeValidator(lambda section: {} if section is None else section)]
Stated = dict[str, dict[str, Any]]
"""Key of a section → its dotted name at every place that states it → the value there; the last one wins."""
PARAMS = Paths().params
CHANGED = ("model", "quantizer", "train")
"""Sections that a data set, a variant or a sweep changes, and of which a row is made."""


Line = Annotated[str, matching(r"(?!.*\]\()[^\n\r|<`]*", "a single line without |, <, ` and ](")]
"""Text for the report's tables, headings and page, in which it is neither markup nor a link."""


class Grid(Section):
    """What `dvc repro` builds: every data set with every variant, the rows of sweeps, parts of the benchmark."""

    datasets: Filled[str]
    variants: Filled[str]
    seeds: Filled[Annotated[int, Field(ge=0, lt=2**63)]]
    sweeps: list[str]
    benchmark: list[str]


class Model(Section):
    """The autoencoder; see `pipeline.autoencoder`."""

    dim: PositiveInt
    hidden: Filled[PositiveInt]
    residual_blocks: NonNegativeInt
    latent_activation: bool
    output_activation: bool


class Train(Section):
    """One training; see `pipeline.train`."""

    renamed: ClassVar[dict[str, str]] = {"idle_gradients": "backprop_at_zero_lr"}
    epochs: PositiveInt
    batch_size: PositiveInt
    lr: PositiveFloat
    lr_decay: Annotated[float, Field(ge=0, le=1)]
    backprop_at_zero_lr: bool
    max_images: PositiveInt | None
    flip: bool
    device: Annotated[str, matching(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda or cuda:<number>")]
    threads: PositiveInt
    precision: Literal["float32", "tf32", "bfloat16"]
    compile: bool


class Evaluate(Section):
    """Measuring; see `pipeline.evaluate`."""

    batch_size: PositiveInt
    max_images: PositiveInt | None
    pictures: PositiveInt
    moving_batches: PositiveInt
    counting_memory: PositiveInt


class Changes(Section):
    """What a data set, a variant or a sweep changes. It may leave out any key, and is checked as part of each row."""

    model: MayBeEmpty[dict[str, Any]] = Field(default={})
    quantizer: MayBeEmpty[dict[str, Any]] = Field(default={})
    train: MayBeEmpty[dict[str, Any]] = Field(default={})


class Dataset(Changes):
    data: MayBeEmpty[dict[str, Any]] = Field(default={})


class Variant(Changes):
    """Title, meaning and colour (#rrggbb) are its quantizer's where it states none."""

    title: Line = ""
    meaning: Line = ""
    colour: Annotated[str, matching("#[0-9a-fA-F]{6}", "#rrggbb")] = ""


class Sweep(Changes):
    """One setting, several values, each with every variant.

    Attributes:
        setting: its dotted name, e.g. quantizer.gamma.
        symbol: short for the setting, in tables and figures.
        measures: keys of the measures that its figure shows.
    """

    setting: str
    values: Filled[Any]
    variants: Filled[str]
    title: Line = ""
    symbol: Line = ""
    measures: list[str] = Field(["test_mse", "codes_in_use"])


class Report(Section):
    """What the report judges by; see `pipeline.report.evidence.published`."""

    margin: PositiveFloat


class File(Section):
    """The whole of params.yaml."""

    grid: Grid
    data: dict[str, Any]
    model: Model
    quantizer: dict[str, Any]
    train: Train
    evaluate: Evaluate
    report: Report
    datasets: dict[str, MayBeEmpty[Dataset]]
    variants: dict[str, MayBeEmpty[Variant]]
    sweeps: dict[str, Sweep]

    @functools.cached_property
    def sweep_rows(self) -> dict[str, dict[str, Any]]:
        """The rows that the sweeps can make: `<variant>_<sweep>_<value>` → what it is made from, see `Row.sweep`.

        Raises:
            UserError: a row has the name of a variant or of another row.
        """
        rows: dict[str, dict[str, Any]] = {}
        for name, sweep in self.sweeps.items():
            for variant, value in itertools.product(sweep.variants, sweep.values):
                row = sweep_row_name(variant, name, value)
                if row in rows or row in self.variants:
                    raise UserError(f"sweeps.{name} makes a row {row!r}, but there is one of that name already.")
                rows[row] = {"name": name, "variant": variant, "setting": sweep.setting, "value": value}
        return rows


@dataclass(frozen=True)
class Row:
    """One line of the report: a data set with a variant, and everything its training depends on.

    Attributes:
        sweep: for a row of a sweep its name, the variant it is made from, the setting and its value.
    """

    dataset: str
    variant: str
    seeds: list[int]
    model: dict[str, Any]
    quantizer: dict[str, Any]
    train: dict[str, Any]
    sweep: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.variant}"


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read params.yaml.

    Raises:
        UserError: not there, not UTF-8, not YAML, no sections.
    """
    try:
        params = files.read_edited_yaml(path)
    except FileNotFoundError:
        raise UserError(f"{path} is not there; run this from the folder that holds it.") from None
    if not isinstance(params, dict):
        raise UserError(f"{path} holds no sections; expected are {', '.join(File.model_fields)}.")
    return params


def sweep_row_name(variant: str, sweep: str, value: Any) -> str:
    """`<variant>_<sweep>_<value>` in letters, digits and _: lattice_gamma_0_001, lattice_gamma_minus_1."""
    if isinstance(value, float):
        value = format(Decimal(repr(value + 0.0)).normalize(), "f")  # -0.0 is 0
    text = re.sub(r"[^A-Za-z0-9]+", "_", str(value).replace("-", "minus_")).strip("_")
    return f"{variant}_{sweep}_{text}"


def stated(file: File, section: str, dataset: str, variant: str = "") -> Stated:
    """What the file, then the data set, then the variant, then the sweep state in a section.

    Args:
        variant: a variant, or the name of a sweep's row; without one, what data sets state.
    """
    sweep = file.sweep_rows.get(variant)
    places: dict[str, Section] = {"": file, f"datasets.{dataset}.": file.datasets.get(dataset, Dataset())}
    if variant:
        variant = sweep["variant"] if sweep else variant
        places[f"variants.{variant}."] = file.variants[variant]
    if sweep:
        places[f"sweeps.{sweep['name']}."] = file.sweeps[sweep["name"]]
    found: Stated = {}
    for prefix, place in places.items():
        for key, value in dict(getattr(place, section, {})).items():
            found.setdefault(key, {})[f"{prefix}{section}.{key}"] = value
    if sweep and sweep["setting"].startswith(f"{section}."):
        index = file.sweeps[sweep["name"]].values.index(sweep["value"])
        key = sweep["setting"].removeprefix(f"{section}.")
        found.setdefault(key, {})[f"sweeps.{sweep['name']}.values[{index}]"] = sweep["value"]
    return found


def taken(found: Stated, schema: type[Section], name: str) -> dict[str, Any]:
    """The values that the schema takes. Only defaults may be left over: what another place states must be taken.

    Raises:
        UserError: an unknown or missing key, a wrong type, a value out of range.
    """
    values, names = {}, {}
    for key, places in found.items():
        *_, (dotted, value) = places.items()
        if key in schema.model_fields or dotted.count(".") > 1:
            values[key], names[key] = value, dotted
    return check(schema, values, name, names).model_dump()


def row(file: File, dataset: str, variant: str) -> Row:
    """The row of a data set and a variant, with the settings that it uses and no other.

    Args:
        variant: a variant, or the name of a sweep's row.

    Raises:
        UserError: a setting is unknown, missing, of a wrong type or out of range.
    """
    model, quantizer, train = (stated(file, section, dataset, variant) for section in CHANGED)
    *_, (place, name) = quantizer.pop("name", {f"variants.{variant}.quantizer.name": None}).items()
    if name not in quantizers.names():
        raise UserError(f"{place} is {name!r}, but there is {', '.join(quantizers.names())}.")
    schema = settings_of(quantizers.find(name))
    sweep = file.sweep_rows.get(variant)
    if sweep and sweep["setting"].removeprefix("quantizer.") in quantizer.keys() - schema.model_fields.keys():
        raise UserError(
            f"sweeps.{sweep['name']}.setting is {sweep['setting']!r}, but the quantizer of {sweep['variant']}, {name}, "
            f"takes {', '.join(schema.model_fields)}."
        )
    return Row(
        dataset=dataset,
        variant=variant,
        seeds=file.grid.seeds,
        model=taken(model, Model, "model"),
        quantizer={"name": name, **taken(quantizer, schema, name)},
        train=taken(train, Train, "train"),
        sweep=sweep,
    )


def data(file: File, dataset: str) -> dict[str, Any]:
    """The settings of a data set: what its class takes.

    Raises:
        UserError: a setting is unknown, missing, of a wrong type or out of range.
    """
    return taken(stated(file, "data", dataset), settings_of(datasets.find(dataset)), dataset)
