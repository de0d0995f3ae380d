"""Sweeps: from params.yaml to rows, and how params.yaml comes to list them."""

from __future__ import annotations

import copy
import difflib
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline import benchmark
from pipeline.core.errors import UserError
from pipeline.plan import __main__ as stage
from pipeline.plan import check, config, edit


def with_sweep(params: dict[str, Any], rows: list[str] | None = None, **stated: Any) -> dict[str, Any]:
    changed = copy.deepcopy(params)
    changed["sweeps"] = {"try": {"setting": "quantizer.gamma", "values": [0.5], "variants": ["lattice"], **stated}}
    changed["grid"]["sweeps"] = rows or []
    return changed


def test_every_value_with_every_variant_and_all_else_as_in_the_variant(params: dict[str, Any]) -> None:
    stated = {"values": [0.001, -1.0], "variants": ["lattice", "lattice_corrected"], "train": {"batch_size": 8}}
    params = with_sweep(params, **stated)
    names = ["lattice_try_0_001", "lattice_try_minus_1", "lattice_corrected_try_0_001", "lattice_corrected_try_minus_1"]
    assert list(config.File.model_validate(params).sweep_rows) == names
    params["grid"]["sweeps"] = names
    plan = check.plan(params)
    assert [row.name for row in plan.sweep_rows] == [f"photos-{name}" for name in names]
    values, variants = [0.001, -1.0] * 2, ["lattice"] * 2 + ["lattice_corrected"] * 2
    for row, value, variant in zip(plan.sweep_rows, values, variants, strict=True):
        usual = config.row(plan.file, "photos", variant)
        assert row.quantizer == usual.quantizer | {"gamma": value}
        assert row.train == usual.train | {"batch_size": 8}  # over what the data set changes
        assert (row.model, row.seeds) == (usual.model, usual.seeds)
        assert row.sweep == {"name": "try", "variant": variant, "setting": "quantizer.gamma", "value": value}


@pytest.mark.parametrize(
    ("value", "end"),
    [(0.001, "0_001"), (-1.0, "minus_1"), (1e-05, "0_00001"), (64, "64"), ("spaced", "spaced"), ([8, 5], "8_5")],
)
def test_names_of_rows_by_hand(value: Any, end: str) -> None:
    assert config.sweep_row_name("lattice", "gamma", value) == f"lattice_gamma_{end}"


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53), min_size=2, max_size=2)
)
def test_different_numbers_have_different_names_that_a_path_takes(values: list[float]) -> None:
    names = {config.sweep_row_name("a", "b", value) for value in values}
    assert len(names) == len(set(values))
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in names)


WRONG = [
    ({"values": []}, r"sweeps\.try\.values is \[\], but should have at least 1 item"),
    ({"values": 0.5}, r"sweeps\.try\.values is 0\.5, but should be a valid list"),
    ({"values": [0.5, "big"]}, r"sweeps\.try\.values\[1\] is 'big', but should be a valid number"),
    ({"values": [0.5, 0.5]}, r"sweeps\.try makes a row 'lattice_try_0_5', but there is one of that name already"),
    ({"value": [0.5]}, r"sweeps\.try\.value is unknown \(is 'values' meant\?\); try takes .*setting, values"),
    ({"setting": "quantizer.gama"}, r"sweeps\.try\.setting is 'quantizer\.gama' \(is 'quantizer\.gamma' meant\?\)"),
    ({"setting": "data.size"}, r"sweeps\.try\.setting is 'data\.size'.*a key of model, quantizer, train"),
    ({"setting": "quantizer.heads"}, r"sweeps\.try\.setting is 'quantizer\.heads', but the quantizer of lattice, "),
    ({"setting": "train.epochs", "values": [0]}, r"sweeps\.try\.values\[0\] is 0, but should be greater than 0"),
    ({"variants": ["latice"]}, r"sweeps\.try\.variants names 'latice' \(is 'lattice' meant\?\), but there is vq"),
    ({"train": {"epoch": 3}}, r"sweeps\.try\.train\.epoch is unknown \(is 'epochs' meant\?\)"),
    ({"train": {"epochs": 0}}, r"sweeps\.try\.train\.epochs is 0, but should be greater than 0"),
    ({"quantizer": {"heads": 2}}, r"sweeps\.try\.quantizer\.heads is unknown; lattice takes num_codes"),
    ({"train": 3}, r"sweeps\.try\.train is 3, but should be a section of keys"),
    ({"measures": ["tset_mse"]}, r"sweeps\.try\.measures names 'tset_mse' \(is 'test_mse' meant\?\), but there is"),
    ({"rows": ["try"]}, r"grid\.sweeps names the sweep 'try', but should name rows of it: lattice_try_0_5; `make swe"),
    ({"rows": ["lattice_try_0_6"]}, r"grid\.sweeps names 'lattice_try_0_6' \(is 'lattice_try_0_5' meant\?\), which no"),
    ({"rows": ["lattice_try_0_5"] * 2}, r"grid\.sweeps is \['lattice_try_0_5', .*\], but should name each one once"),
]


@pytest.mark.parametrize(("stated", "sentence"), WRONG)
def test_what_is_wrong_is_said_in_one_sentence(params: dict[str, Any], stated: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        check.plan(with_sweep(params, **stated))
    assert "\n" not in str(error.value)


# params.yaml


LISTS = [
    "grid:\n  sweeps: []       # rows\n  seeds: [0]\n",
    "grid:\n  sweeps:          # rows\n  - a\n  - b\n\n# what follows\nother: 1\n",
    "grid:\n  seeds: [0]\n  sweeps: [a,\n    b]  # rows",
    "grid:\n    sweeps:\n      - a   # a remark\n\n      - b\nother: {x:   1.0e-3}\n",
    "grid: {sweeps: [a], seeds: [0]}\nother: 1\n",
]


@pytest.mark.parametrize("text", LISTS)
@pytest.mark.parametrize("names", [[], ["x"], ["x", "y_1"]])
def test_a_list_is_replaced_and_nothing_else(text: str, names: list[str]) -> None:
    changed = edit.replace_list(text, "grid", "sweeps", names)
    before, after = (YAML(typ="safe").load(each) for each in (text, changed))
    assert after == {**before, "grid": {**before["grid"], "sweeps": names}}
    assert set(re.findall("#.*", text)) - {"# a remark"} == set(re.findall("#.*", changed))


def test_of_the_shipped_file_only_the_lines_of_the_list_change() -> None:
    text = (ROOT / "params.yaml").read_text()
    changed = edit.replace_list(text, "grid", "sweeps", ["lattice_gamma_1", "vq_codes_64"])
    lines = [line for line in difflib.ndiff(text.splitlines(), changed.splitlines()) if line[0] in "+-"]
    assert [line.split("#")[0].rstrip() for line in lines] == [
        "-   sweeps: []",
        "+   sweeps:",
        "+   - lattice_gamma_1",
        "+   - vq_codes_64",
    ]
    assert edit.replace_list(changed, "grid", "sweeps", []) == text


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params.yaml; gives that file."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["plan", *arguments])
    stage.main()


def test_sweeps_that_are_named_or_all_are_listed_row_by_row(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--sweeps", "heads", "long")
    heads = [f"adaptive_heads_{heads}" for heads in (1, 2, 4, 8)]
    assert grid(project)["sweeps"] == [*heads, "lattice_corrected_long_0", "lattice_corrected_long_1"]
    run(monkeypatch, "--sweeps")
    assert grid(project)["sweeps"] == list(config.File.model_validate(config.read_params(project)).sweep_rows)
    assert [path.name for path in project.parent.iterdir()] == ["params.yaml"]  # `dvc repro` writes the settings


def test_a_sweep_that_is_not_there_changes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = project.read_bytes()
    with pytest.raises(UserError, match=r"--sweeps names 'gama' \(is 'gamma' meant\?\), but there is codes, gamma"):
        run(monkeypatch, "--sweeps", "gama")
    project.write_bytes(before.replace(b"epochs: 5", b"epochs: 0"))
    with pytest.raises(UserError, match=r"train.epochs is 0"):
        run(monkeypatch, "--sweeps", "gamma")
    assert project.read_bytes() == before.replace(b"epochs: 5", b"epochs: 0")


def test_a_row_that_a_changed_sweep_no_longer_makes_is_mended_by_listing_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "--sweeps", "gamma")
    project.write_text(project.read_text().replace("    - 0.001\n", "    - 0.002\n"))
    with pytest.raises(UserError, match=r"grid.sweeps names 'lattice_gamma_0_001' .*which no sweep makes"):
        run(monkeypatch, "--check")
    run(monkeypatch, "--sweeps", "gamma")
    assert "lattice_gamma_0_002" in grid(project)["sweeps"]


def test_parts_of_the_benchmark_are_listed_likewise(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"grid.benchmark names 'serch' \(is 'search' meant\?\), but there is .*search"):
        run(monkeypatch, "--benchmark", "serch")
    run(monkeypatch, "--benchmark", "search")
    assert grid(project)["benchmark"] == ["search"]
    run(monkeypatch, "--benchmark")
    assert grid(project)["benchmark"] == benchmark.part_names()


def test_the_full_grid_takes_the_place_of_the_grid_and_all_else_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = config.read_params(project)
    run(monkeypatch, "--sweeps", "gamma")
    run(monkeypatch, "--full")
    assert config.read_params(project) == {**before, "grid": before["full"]}
    text = project.read_text()
    run(monkeypatch, "--full")
    assert project.read_text() == text
    wrong = (ROOT / "params.yaml").read_text().replace("  - gumbel\n", "  - gumbl\n")
    project.write_text(wrong)
    with pytest.raises(UserError, match=r"full.variants names 'gumbl' \(is 'gumbel' meant\?\)"):
        run(monkeypatch, "--full")
    assert project.read_text() == wrong


def test_the_full_grid_holds_every_variant(params: dict[str, Any]) -> None:
    assert set(params["full"]["variants"]) == set(params["variants"])
    assert set(params["grid"]["variants"]) < set(params["full"]["variants"])


def grid(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = config.read_params(path)["grid"]
    return found
