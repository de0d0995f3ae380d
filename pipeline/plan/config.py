"""params.yaml: reading, checking and merging it. A row is params.yaml, changed by its data set, then by its variant."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline import datasets, quantizers
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.core.registry import settings_of
from pipeline.core.schema import Section, check, optional

Item = TypeVar("Item")
Filled = Annotated[list[Item], Field(min_length=1)]
MayBeEmpty = Annotated[Item, BeforeValidator(lambda section: {} if section is None else section)]
PARAMS = Paths().params
Params = Mapping[str, Any]
"""params.yaml as it stands in the file."""
CHANGED = ("model", "quantizer", "train")
"""Sections that a data set, a variant or a sweep changes, and of which a row is made."""
NOT_IN_SETTINGS = ("mirror",)
"""Keys of `data` on which no result depends; a mirror's address may hold a password."""


def _matching(pattern: str, expected: str) -> AfterValidator:
    """A text that matches the whole pattern."""

    def matched(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"be {expected}")
        return text

    return AfterValidator(matched)


Line = Annotated[str, _matching(r"[^\n\r]*", "a single line")]


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
    device: Annotated[str, _matching(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda or cuda:<number>")]
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


ModelChanges, TrainChanges = optional(Model), optional(Train)


class Changes(Section):
    """What a data set, a variant or a sweep changes; it may leave out any key."""

    model: MayBeEmpty[ModelChanges] = Field({})  # type: ignore[valid-type]
    quantizer: MayBeEmpty[dict[str, Any]] = Field({})
    train: MayBeEmpty[TrainChanges] = Field({})  # type: ignore[valid-type]


class Dataset(Changes):
    data: MayBeEmpty[dict[str, Any]] = Field({})


class Variant(Changes):
    """Title, meaning and colour (#rrggbb) are its quantizer's where it states none."""

    title: Line = ""
    meaning: Line = ""
    colour: Annotated[str, _matching("#[0-9a-fA-F]{6}", "#rrggbb")] = ""


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


class File(Section):
    """The whole of params.yaml."""

    grid: Grid
    data: dict[str, Any]
    model: Model
    quantizer: dict[str, Any]
    train: Train
    evaluate: Evaluate
    datasets: dict[str, MayBeEmpty[Dataset]]
    variants: dict[str, MayBeEmpty[Variant]]
    sweeps: dict[str, Sweep]


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
    """Read params.yaml as YAML 1.2, in which 1e-05 is a number and `on` is text.

    Raises:
        UserError: not there, not UTF-8, not YAML, no sections.
    """
    from ruamel.yaml import YAML  # here, because a machine that only trains has no need of it
    from ruamel.yaml.error import YAMLError

    try:
        params = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not there; run this from the folder that holds it.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict):
        raise UserError(f"{path} holds no sections; expected are {', '.join(File.model_fields)}.")
    return params


@dataclass
class Merged:
    """A section merged from several places.

    Attributes:
        stated: key → its dotted name at every place that states it, of which the last one wins.
    """

    values: dict[str, Any]
    stated: dict[str, list[str]]

    def put(self, key: str, value: Any, dotted: str) -> None:
        self.values[key] = value
        self.stated.setdefault(key, []).append(dotted)

    def checked(self, schema: type[Section], name: str, ignored: Iterable[str] = ()) -> dict[str, Any]:
        """The values that the schema takes. Only defaults may be left over: what a place states must be taken.

        Raises:
            UserError: an unknown or missing key, a wrong type, a value out of range.
        """
        keys = {key: names[-1] for key, names in self.stated.items()}
        unused = {key for key in keys if key not in schema.model_fields and keys[key].count(".") == 1} | set(ignored)
        values = {key: value for key, value in self.values.items() if key not in unused}
        return check(schema, values, name, keys).model_dump()


def merge(params: Params, section: str, places: Iterable[str]) -> Merged:
    """The section with what each of `places`, e.g. `datasets.photos`, changes in it; the last one wins."""
    merged = Merged({}, {})
    for key, value in params[section].items():
        merged.put(key, value, f"{section}.{key}")
    for place in places:
        folder, name = place.split(".")
        for key, value in ((params[folder].get(name) or {}).get(section) or {}).items():
            merged.put(key, value, f"{place}.{section}.{key}")
    return merged


@dataclass(frozen=True)
class SweepValue:
    """What a row of a sweep is made from."""

    sweep: str
    variant: str
    setting: str
    index: int
    value: Any

    def about(self) -> dict[str, Any]:
        """What the row's settings say of it."""
        return {"name": self.sweep, "variant": self.variant, "setting": self.setting, "value": self.value}


def sweep_values(params: Params) -> dict[str, SweepValue]:
    """The rows that the sweeps can make: `<variant>_<sweep>_<value>` → what it is made from.

    Raises:
        UserError: a row has the name of a variant or of another row.
    """
    rows: dict[str, SweepValue] = {}
    for name, sweep in params["sweeps"].items():
        for variant, (index, value) in itertools.product(sweep["variants"], enumerate(sweep["values"])):
            row = sweep_row_name(variant, name, value)
            if row in rows or row in params["variants"]:
                raise UserError(f"sweeps.{name} makes a row {row!r}, but there is one of that name already.")
            rows[row] = SweepValue(name, variant, sweep["setting"], index, value)
    return rows


def sweep_row_name(variant: str, sweep: str, value: Any) -> str:
    """`<variant>_<sweep>_<value>` in letters, digits and _: lattice_gamma_0_001, lattice_gamma_minus_1."""
    if isinstance(value, float):
        value = format(Decimal(repr(value + 0.0)).normalize(), "f")  # -0.0 is 0
    text = re.sub(r"[^A-Za-z0-9]+", "_", str(value).replace("-", "minus_")).strip("_")
    return f"{variant}_{sweep}_{text}"


def merge_row(params: Params, dataset: str, variant: str, swept: SweepValue | None = None) -> dict[str, Merged]:
    """The sections that a row's training depends on; see `row`."""
    places = [f"datasets.{dataset}", f"variants.{swept.variant if swept else variant}"]
    if swept:
        places.append(f"sweeps.{swept.sweep}")
    sections = {section: merge(params, section, places) for section in CHANGED}
    if swept:
        section, key = swept.setting.split(".")
        sections[section].put(key, swept.value, f"sweeps.{swept.sweep}.values[{swept.index}]")
    return sections


def row(params: Params, dataset: str, variant: str, seeds: list[int], swept: SweepValue | None = None) -> Row:
    """The row of a data set and a variant, with the settings that it uses and no other.

    Args:
        variant: a variant, or the name of a sweep's row.
        swept: what the sweep's row is made from.

    Raises:
        UserError: a setting is unknown, missing, of a wrong type or out of range.
    """
    sections = merge_row(params, dataset, variant, swept)
    name = sections["quantizer"].values.get("name")
    if name not in quantizers.names():
        stated = sections["quantizer"].stated.get("name", [f"variants.{variant}.quantizer.name"])
        raise UserError(f"{stated[-1]} is {name!r}, but there is {', '.join(quantizers.names())}.")
    schema = settings_of(quantizers.find(name))
    if swept and swept.setting.startswith("quantizer.") and swept.setting.split(".")[1] not in schema.model_fields:
        raise UserError(
            f"sweeps.{swept.sweep}.setting is {swept.setting!r}, but the quantizer of {swept.variant}, {name}, "
            f"takes {', '.join(schema.model_fields)}."
        )
    return Row(
        dataset=dataset,
        variant=variant,
        seeds=seeds,
        model=sections["model"].checked(Model, "model"),
        quantizer={"name": name, **sections["quantizer"].checked(schema, name, ignored=["name"])},
        train=sections["train"].checked(Train, "train"),
        sweep=swept.about() if swept else None,
    )


def data(params: Params, dataset: str) -> dict[str, Any]:
    """The settings of a data set: what its class takes.

    Raises:
        UserError: a setting is unknown, missing, of a wrong type or out of range.
    """
    schema = settings_of(datasets.find(dataset))
    return merge(params, "data", [f"datasets.{dataset}"]).checked(schema, dataset, ignored=NOT_IN_SETTINGS)
