"""params.yaml: every wrong value gets one sentence that names the key, what it is and what it should be."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import UserError
from pipeline.plan import check, config


def put(params: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with one dotted key set."""
    changed = copy.deepcopy(params)
    *folders, last = key.split(".")
    place = changed
    for folder in folders:
        if place.get(folder) is None:
            place[folder] = {}
        place = place[folder]
    place[last] = value
    return changed


def row(params: dict[str, Any], dataset: str, variant: str) -> config.Row:
    return config.row(config.File.model_validate(params), dataset, variant)


WRONG = [
    ("quantizer.gama", 1.0, r"quantizer\.gama is unknown \(is 'gamma' meant\?\); quantizer takes .*num_codes"),
    ("quantizer.num_codes", -3, r"quantizer\.num_codes is -3, but should be greater than 0"),
    ("quantizer.num_codes", 8.5, r"quantizer\.num_codes is 8\.5, but should be a valid integer"),
    ("quantizer.num_codes", True, r"quantizer\.num_codes is True, but should be a valid integer"),
    ("quantizer.gamma", "big", r"quantizer\.gamma is 'big', but should be a valid number"),
    ("quantizer.gamma", float("nan"), r"quantizer\.gamma is nan, but should be a finite number"),
    ("quantizer.init", "wide", r"quantizer\.init is 'wide', but should be 'spaced' or 'unit' or a valid number"),
    ("quantizer.decay", 1.0, r"quantizer\.decay is 1\.0, but should be less than 1"),
    ("train.lr", 0, r"train\.lr is 0, but should be greater than 0"),
    ("train.lr", "1e-5x", r"train\.lr is '1e-5x', but should be a valid number"),
    ("train.lr_decay", 1.5, r"train\.lr_decay is 1\.5, but should be less than or equal to 1"),
    ("train.epoch", 3, r"train\.epoch is unknown \(is 'epochs' meant\?\); train takes epochs"),
    ("train.epochs", 0, r"train\.epochs is 0, but should be greater than 0"),
    ("train.device", "gpu", r"train\.device is 'gpu', but should be auto, cpu, cuda or cuda:<number>"),
    ("train.precision", "half", r"train\.precision is 'half', but should be 'float32', 'tf32' or 'bfloat16'"),
    ("model.hidden", 64, r"model\.hidden is 64, but should be a valid list"),
    ("model.hidden", [], r"model\.hidden is \[\], but should have at least 1 item"),
    ("model.hidden", [64, 0], r"model\.hidden\[1\] is 0, but should be greater than 0"),
    ("model.output_activation", "yes", r"model\.output_activation is 'yes', but should be a valid boolean"),
    ("evaluate.pictures", 0, r"evaluate\.pictures is 0, but should be greater than 0"),
    ("data.mirror", 3, r"data\.mirror is 3, but should be a folder, a URL or null"),
    ("datasets.photos.data.mirror", "a", r"datasets\.photos\.data\.mirror is unknown; photos takes"),
    ("data.miror", None, r"data\.miror is unknown \(is 'mirror' meant\?\)"),
    ("grid.datasets", "mnist", r"grid\.datasets is 'mnist', but should be a valid list \(write \[mnist\]\)"),
    ("grid.datasets", [], r"grid\.datasets is \[\], but should have at least 1 item"),
    ("grid.datasets", ["mnits"], r"grid\.datasets names 'mnits' \(is 'mnist' meant\?\), but there is"),
    ("grid.variants", ["latice"], r"grid\.variants names 'latice' \(is 'lattice' meant\?\), but there is vq, vq_ema"),
    ("full.variants", ["latice"], r"full\.variants names 'latice' \(is 'lattice' meant\?\), but there is vq, vq_ema"),
    ("full.seeds", [0, -1], r"full\.seeds\[1\] is -1, but should be greater than or equal to 0"),
    ("full.seeds", [1, 1], r"full\.seeds is \[1, 1\], but should name each one once"),
    ("grid.variants", [], r"grid\.variants is \[\], but should have at least 1 item"),
    ("grid.variants", ["vq", "vq"], r"grid\.variants is \['vq', 'vq'\], but should name each one once"),
    ("grid.seeds", [0, -1], r"grid\.seeds\[1\] is -1, but should be greater than or equal to 0"),
    ("grid.seeds", [1, 1], r"grid\.seeds is \[1, 1\], but should name each one once"),
    ("variants.lattice.quantizer.gama", 1, r"variants\.lattice\.quantizer\.gama is unknown.*lattice takes num_codes"),
    ("variants.vq.quantizer.gamma", 1.0, r"variants\.vq\.quantizer\.gamma is unknown; vq takes num_codes, beta"),
    ("variants.vq.quantizer.name", "vqq", r"variants\.vq\.quantizer\.name is 'vqq', but there is .*vq_ema"),
    (
        "variants.vq.trian",
        {},
        r"variants\.vq\.trian is unknown \(is 'train' meant\?\); vq takes model, quantizer, train",
    ),
    ("variants.vq.colour", "red", r"variants\.vq\.colour is 'red', but should be #rrggbb"),
    ("variants.vq.train", [1], r"variants\.vq\.train is \[1\], but should be a section of keys"),
    ("variants.vq.title", "a\nb", r"variants\.vq\.title is 'a\\nb', but should be a single line without \|, <, ` and"),
    ("variants.vq.meaning", "<b>", r"variants\.vq\.meaning is '<b>', but should be a single line without \|, <, ` and"),
    ("sweeps.gamma.symbol", "a|b", r"sweeps\.gamma\.symbol is 'a\|b', but should be a single line without \|, <"),
    ("sweeps.gamma.title", "`a`", r"sweeps\.gamma\.title is '`a`', but should be a single line without \|, <"),
    ("sweeps.gamma.title", "[a](b)", r"sweeps\.gamma\.title is '\[a\]\(b\)', but should be a single line"),
    ("variants.mine", None, r"variants\.mine\.quantizer\.name is None, but there is .*vq_ema"),
    ("datasets.phots", {}, r"datasets names 'phots' \(is 'photos' meant\?\), but there is .*photos"),
    (
        "datasets.photos.train.epochs",
        "many",
        r"datasets\.photos\.train\.epochs is 'many', but should be a valid integer",
    ),
    ("datasets.photos.train.epochs", None, r"datasets\.photos\.train\.epochs is None, but should be a valid integer"),
    ("train", None, r"train is None, but should be a section of keys"),
    ("train.idle_gradients", True, r"train\.idle_gradients is now called backprop_at_zero_lr"),
    (
        "datasets.photos.train.idle_gradients",
        True,
        r"datasets\.photos\.train\.idle_gradients is now called backprop_at",
    ),
    ("grid.seeds", [2**63], r"grid\.seeds\[0\] is 9223372036854775808, but should be less than 9223372036854775808"),
    ("evaluate.max_images", 0, r"evaluate\.max_images is 0, but should be greater than 0"),
]


@pytest.mark.parametrize(("key", "value", "sentence"), WRONG, ids=[f"{key}={value}" for key, value, _ in WRONG])
def test_what_is_wrong_is_said_in_one_sentence(params: dict[str, Any], key: str, value: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        check.plan(put(params, key, value))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("params.yaml: ")


NOT_NAMES = ["x$(touch pwned)", "x/../../../../evil", "a b", "vq-2", "", "é", "vq\n", 512, None, True, 0.5]


@pytest.mark.parametrize("name", NOT_NAMES, ids=repr)
def test_a_name_is_letters_digits_and_underscores_wherever_it_stands(params: dict[str, Any], name: Any) -> None:
    keys = ("datasets", "variants", "sweeps", "benchmark")
    for place in ("datasets", "variants", "sweeps", *(f"{grid}.{key}" for grid in ("grid", "full") for key in keys)):
        changed = copy.deepcopy(params)
        if "." in place:
            section, key = place.split(".")
            changed[section][key] = ["vq", name]
        else:
            changed[place][name] = {}
        changed["train"]["epochs"] = 0  # names are checked before anything else
        with pytest.raises(UserError, match=f"{place} has {re.escape(repr(name))}, but a name is a text of letters"):
            check.plan(changed)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "params.yaml is not there; run this from the folder that holds it"),
        (b"grid: [", "params.yaml is not valid YAML"),
        (b"grid: {}\ngrid: {}", "params.yaml is not valid YAML.*duplicate key"),
        (b"- 1", "params.yaml holds no sections; expected are grid, full, data, model"),
        (b"", "params.yaml holds no sections"),
        (
            b"grid: {}\nmodell: {}",
            r"params.yaml: modell is unknown \(is 'model' meant\?\); params.yaml takes grid",
        ),
        (b"grid: {}", r"params.yaml: full is missing; params.yaml takes grid, full"),
        ("grid: {}".encode("utf-16"), "params.yaml is not UTF-8 text; save it as UTF-8"),
        ("grid: {é: 1}".encode("latin-1"), "params.yaml is not UTF-8 text; save it as UTF-8"),
        (b"grid: \x00", "params.yaml is not valid YAML"),
    ],
)
def test_a_file_that_is_not_params(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=sentence) as caught:
        check.plan(config.read_params(path), path)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + (ROOT / "params.yaml").read_bytes())
    assert config.read_params(path) == config.read_params(ROOT / "params.yaml")


def test_numbers_are_numbers_as_dvc_writes_them(tmp_path: Path) -> None:
    """`-S train.lr=1e-5` is written as 1e-05, which YAML 1.1 takes for text; and `on` is text in YAML 1.2."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("lr: 1.0e-3", "lr: 1e-05"))
    assert check.plan(config.read_params(path)).rows[0].train["lr"] == 1e-05
    path.write_text((ROOT / "params.yaml").read_text().replace("flip: false", "flip: on"))
    with pytest.raises(UserError, match="train.flip is 'on', but should be a valid boolean"):
        check.plan(config.read_params(path), path)


def test_shipped_variants_are_the_papers_and_the_controls(params: dict[str, Any]) -> None:
    params = put(put(params, "datasets", {}), "grid.datasets", ["fashion_mnist"])
    file = config.File.model_validate(params)
    rows = {variant: config.row(file, "fashion_mnist", variant) for variant in params["variants"]}
    published = {"epochs": 5, "batch_size": 64, "lr": 1e-3, "lr_decay": 0.0}
    names = {"vq", "vq_ema", "lattice", "lattice_dense", "lattice_wide", "lattice_frozen", "lattice_ramp"}
    switched = {"vq_ema_unstored", "vq_ema_counted", "lattice_linear", "lattice_linear_latent"}
    assert {name for name, row in rows.items() if published.items() <= row.train.items()} == names | switched
    assert {row.train["lr_decay"] for name, row in rows.items() if name not in names | switched} == {1.0}
    assert all(rows[name].model["hidden"] == [64] for name in names)
    assert (rows["vq_ema"].quantizer["first_count"], rows["vq_ema"].quantizer["store_smoothed"]) == (0.0, True)
    corrected = rows["vq_ema_corrected"].quantizer
    assert (corrected["first_count"], corrected["store_smoothed"]) == (1.0, False)
    lattices = {name: row.quantizer for name, row in rows.items() if name.startswith("lattice")}
    chosen = {name: (lattice["gamma"], lattice["init"], lattice["learning"]) for name, lattice in lattices.items()}
    assert chosen == {
        "lattice": (1.0, "spaced", "learned"),
        "lattice_dense": (-1.0, "unit", "learned"),
        "lattice_wide": (1.0, "unit", "learned"),
        "lattice_frozen": (1.0, "spaced", "frozen"),
        "lattice_ramp": (1.0, "spaced", "ramp"),
        "lattice_corrected": (1.0, "spaced", "learned"),
        "lattice_linear": (1.0, "spaced", "learned"),
        "lattice_linear_latent": (1.0, "spaced", "learned"),
    }


def test_a_row_holds_what_it_uses_and_no_other(params: dict[str, Any]) -> None:
    assert set(row(params, "photos", "vq").quantizer) == {"name", "num_codes", "beta"}
    assert "gamma" in row(params, "photos", "lattice").quantizer


@settings(max_examples=20)
@given(gamma=st.floats(allow_nan=False, allow_infinity=False))
@example(gamma=1.0)
def test_gamma_reaches_the_rows_that_take_the_default_and_no_other(params: dict[str, Any], gamma: float) -> None:
    before, after = (
        {variant: config.row(file, "photos", variant) for variant in params["grid"]["variants"]}
        for file in map(config.File.model_validate, (params, put(params, "quantizer.gamma", gamma)))
    )
    changed = {name for name in before if before[name] != after[name]}
    wanted = {"lattice", "lattice_frozen", "lattice_ramp", "lattice_corrected"} & before.keys()
    assert changed == (wanted if gamma != 1.0 else set())


def test_the_variant_wins_over_the_data_set_and_that_over_the_default(params: dict[str, Any]) -> None:
    params = put(params, "datasets.photos.train.lr", 2e-3)
    assert row(params, "photos", "vq").train["lr"] == 2e-3
    assert row(params, "mnist", "vq").train["lr"] == 1e-3
    params = put(params, "variants.vq.train", {"lr": 3e-3})
    assert row(params, "photos", "vq").train["lr"] == 3e-3


@pytest.mark.slow
def test_the_stage_says_it_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("gamma: 1.0  ", "gamma: x  "))
    command = [sys.executable, "-m", "pipeline.plan"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: params.yaml: quantizer.gamma is 'x', but should be a valid number.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
