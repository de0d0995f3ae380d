"""Sweeps: from params.yaml to rows, their runs, and what the report makes of them."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import made_up
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.plan import __main__ as plan
from pipeline.plan import config
from pipeline.report import claims, read, sweeps
from pipeline.report.__main__ import main as report
from pipeline.sweeps import __main__ as run
from pipeline.sweeps.__main__ import fingerprint

# from params.yaml to rows


def with_sweep(params: dict[str, Any], **stated: Any) -> dict[str, Any]:
    changed = copy.deepcopy(params)
    changed["sweeps"] = {"try": {"setting": "quantizer.gamma", "values": [0.5], "variants": ["lattice"], **stated}}
    changed["grid"]["sweeps"] = ["try"]
    return changed


def test_every_value_with_every_variant_and_all_else_as_in_the_variant(params: dict[str, Any]) -> None:
    stated = {"values": [0.001, -1.0], "variants": ["lattice", "lattice_corrected"], "train": {"batch_size": 8}}
    rows = config.swept(with_sweep(params, **stated), "photos", "try", [3])
    assert [row.name for row in rows] == [
        "photos-lattice_try_0_001",
        "photos-lattice_try_minus_1",
        "photos-lattice_corrected_try_0_001",
        "photos-lattice_corrected_try_minus_1",
    ]
    for row, value, variant in zip(rows, [0.001, -1.0] * 2, ["lattice"] * 2 + ["lattice_corrected"] * 2, strict=True):
        usual = config.row(params, "photos", variant, [3])
        assert row.quantizer == usual.quantizer | {"gamma": value}
        assert row.train == usual.train | {"batch_size": 8}  # over what the data set changes
        assert row.model == usual.model
        assert row.sweep == {"name": "try", "variant": variant, "setting": "quantizer.gamma", "value": value}


@pytest.mark.parametrize(
    ("value", "end"),
    [(0.001, "0_001"), (-1.0, "minus_1"), (1e-05, "0_00001"), (64, "64"), ("spaced", "spaced"), ([8, 5], "8_5")],
)
def test_names_of_rows_by_hand(value: Any, end: str) -> None:
    assert config.swept_name("lattice", "gamma", value) == f"lattice_gamma_{end}"


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53), min_size=2, max_size=2)
)
def test_different_numbers_have_different_names_that_a_path_takes(values: list[float]) -> None:
    names = {config.swept_name("a", "b", value) for value in values}
    assert len(names) == len(set(values))
    assert all(re.fullmatch(r"\w+", name) for name in names)


WRONG = [
    ({"values": []}, r"sweeps\.try\.values is \[\], but should have at least 1 item"),
    ({"values": 0.5}, r"sweeps\.try\.values is 0\.5, but should be a valid list"),
    ({"values": [0.5, "big"]}, r"sweeps\.try\.values\[1\] is 'big', but should be a valid number"),
    ({"values": [0.5, 0.5]}, r"sweeps\.try makes a row 'lattice_try_0_5', but there is one of that name already"),
    ({"value": [0.5]}, r"sweeps\.try\.value is unknown \(is 'values' meant\?\); a sweep takes setting, values"),
    ({"setting": "quantizer.gama"}, r"sweeps\.try\.setting is 'quantizer\.gama' \(is 'quantizer\.gamma' meant\?\)"),
    ({"setting": "data.size"}, r"sweeps\.try\.setting is 'data\.size'.*a key of model, quantizer, train"),
    ({"setting": "quantizer.heads"}, r"sweeps\.try\.setting is 'quantizer\.heads', but the quantizer of lattice, "),
    ({"setting": "train.epochs", "values": [0]}, r"sweeps\.try\.values\[0\] is 0, but should be greater than 0"),
    ({"variants": ["latice"]}, r"sweeps\.try\.variants names 'latice' \(is 'lattice' meant\?\), but there is vq"),
    ({"train": {"epoch": 3}}, r"sweeps\.try\.train\.epoch is unknown \(is 'epochs' meant\?\)"),
    ({"train": 3}, r"sweeps\.try\.train is 3, but should be a valid dictionary"),
]


@pytest.mark.parametrize(("stated", "sentence"), WRONG)
def test_what_is_wrong_is_told_in_one_sentence(params: dict[str, Any], stated: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        config.rows(with_sweep(params, **stated))
    assert "\n" not in str(error.value)


def test_a_sweep_of_the_grid_must_be_defined_and_have_a_name_that_a_path_takes(params: dict[str, Any]) -> None:
    changed = with_sweep(params)
    changed["grid"]["sweeps"] = ["tri"]
    with pytest.raises(UserError, match=r"grid\.sweeps names 'tri' \(is 'try' meant\?\), but there is try"):
        config.rows(changed)
    changed["sweeps"] = {"a-b": changed["sweeps"]["try"]}
    changed["grid"]["sweeps"] = ["a-b"]
    with pytest.raises(UserError, match=r"sweeps\.a-b should use letters, digits and _ in its name"):
        config.rows(changed)


def test_the_plan_writes_every_row_and_a_changed_value_touches_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["plan"])
    text = (ROOT / "params.yaml").read_text()
    written = []
    for edited in (text, text.replace("    - 0.001\n", "    - 0.002\n")):
        Path("params.yaml").write_text(edited)
        plan.main()
        folder = Path("reports/settings")
        planned = files.read_yaml(folder / "plan.yaml")
        names = {f"photos-{sweep}/{row}.yaml" for sweep, one in planned["sweeps"].items() for row in one["rows"]}
        written.append(
            {
                path.relative_to(folder / "sweeps").as_posix(): path.read_text()
                for path in folder.rglob("*-*")
                if path.parent.parent.name == "sweeps"
            }
        )
        assert set(written[-1]) == names
        assert not names & set(planned["rows"])
    before, after = (set(one.items()) for one in written)
    assert {Path(name).stem for name, _ in before - after} == {
        "photos-lattice_gamma_0_001",
        "photos-lattice_corrected_gamma_0_001",
    }
    assert {Path(name).stem for name, _ in after - before} == {
        "photos-lattice_gamma_0_002",
        "photos-lattice_corrected_gamma_0_002",
    }


# running


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder in which a row is finished by noting its name; gives the names noted."""
    monkeypatch.chdir(tmp_path)
    files.write_yaml(Path("data/prepared/dots/about.yaml"), {"title": "Dots"})
    files.write_yaml(Path("reports/settings/evaluate.yaml"), {"batch_size": 2})
    noted: list[str] = []

    def finish(path: Path, settings: dict[str, Any], options: dict[str, Any], done: Path) -> None:
        if settings["value"] is None:
            raise UserError("it went wrong.")
        noted.append(path.stem)
        files.write_text(done / f"reports/runs/{path.stem}.json", str(settings["value"]))

    monkeypatch.setattr(run, "finish", finish)
    return noted


def planned(**values: float | None) -> list[Path]:
    folder = Path("reports/settings/sweeps/dots-try")
    files.remove(folder)
    for name, value in values.items():
        files.write_yaml(folder / f"{name}.yaml", {"dataset": "dots", "value": value})
    return sorted(folder.iterdir())


def results() -> dict[str, str]:
    return {path.stem: path.read_text() for path in Path("sweeps/results/dots-try/reports/runs").iterdir()}


def test_rows_that_are_finished_do_not_run_again(started: list[str]) -> None:
    run.run("dots-try", planned(a=1, b=2))
    assert (started, results()) == (["a", "b"], {"a": "1", "b": "2"})
    run.run("dots-try", planned(a=1, b=3, c=4))
    assert (started[2:], results()) == (["b", "c"], {"a": "1", "b": "3", "c": "4"})
    run.run("dots-try", planned(a=1, b=2))
    assert (started[4:], results()) == ([], {"a": "1", "b": "2"})
    files.write_yaml(Path("reports/settings/evaluate.yaml"), {"batch_size": 4})
    run.run("dots-try", planned(a=1))
    assert (started[4:], results()) == (["a"], {"a": "1"})


def test_after_a_failure_the_old_results_stand_and_what_was_finished_is_kept(started: list[str]) -> None:
    run.run("dots-try", planned(a=1))
    with pytest.raises(UserError, match=r"it went wrong"):
        run.run("dots-try", planned(a=1, b=2, c=None))
    assert results() == {"a": "1"}
    run.run("dots-try", planned(a=1, b=2, c=3))
    assert started == ["a", "b", "c"]


def test_other_data_is_another_row(started: list[str]) -> None:
    before = fingerprint({"dataset": "dots"}, {})
    files.write_yaml(Path("data/prepared/dots/about.yaml"), {"title": "Other dots"})
    assert fingerprint({"dataset": "dots"}, {}) != before


def test_a_row_apart_passes_on_what_is_refused() -> None:
    with pytest.raises(UserError, match=r"^params.yaml"):
        run.apart(refuse, "params.yaml is not there.")


def refuse(sentence: str) -> None:
    raise UserError(sentence)


# the report


def sweep(
    root: Path, name: str, setting: str, values: list[Any], variants: tuple[str, ...] = ("lattice",), epochs: int = 3
) -> None:
    """Made-up results of a sweep on photos, as `make sweeps` leaves them; value i has an error of (i + 1) / 100."""
    about: dict[str, Any] = {"setting": setting, "values": values, "variants": list(variants), "model": {}}
    about |= {"quantizer": {}, "train": {"epochs": epochs}, "rows": []}
    home = root / "sweeps/results" / f"photos-{name}"
    for variant in variants:
        for place, value in enumerate(values):
            row = f"photos-{config.swept_name(variant, name, value)}"
            write_row(root, home, row, {"name": name, "variant": variant, "setting": setting, "value": value}, epochs)
            run = files.read_json(home / f"reports/runs/{row}.json")
            for seed in run["seeds"]:
                seed |= {"test_mse": (place + 1) / 100, "codes_in_use": 10 ** (place + 1) + seed["seed"]}
            files.write_json(home / f"reports/runs/{row}.json", run)
            about["rows"].append(row)
    path = root / "reports/settings/plan.yaml"
    planned = files.read_yaml(path)
    files.write_yaml(path, {**planned, "sweeps": {**planned.get("sweeps", {}), name: about}})


def write_row(root: Path, home: Path, row: str, about: dict[str, Any], epochs: int) -> None:
    made_up.write_row(home, "photos", about["variant"], (0, 1, 2))
    for folder, end in (("settings", ".yaml"), ("runs", ".json"), ("runs", ".npz"), ("history", ".csv")):
        (home / f"reports/{folder}/photos-{about['variant']}{end}").rename(home / f"reports/{folder}/{row}{end}")
    settings = files.read_yaml(home / f"reports/settings/{row}.yaml")
    settings |= {"variant": row.partition("-")[2], "sweep": about}
    settings["quantizer"][about["setting"].partition(".")[2]] = about["value"]
    settings["train"]["epochs"] = epochs
    files.write_yaml(home / f"reports/settings/{row}.yaml", settings)
    files.write_yaml(root / f"reports/settings/sweeps/{home.name}/{row}.yaml", settings)
    run = files.read_json(home / f"reports/runs/{row}.json")
    files.write_json(home / f"reports/runs/{row}.json", {**run, "settings": settings})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with four sweeps; tests do not change it."""
    root = tmp_path_factory.mktemp("made")
    made_up.make(root, datasets=("photos",), variants=("lattice",))
    sweep(root, "codes", "quantizer.num_codes", [64, 256, 1024], ("vq", "lattice", "lattice_corrected"))
    sweep(root, "gamma", "quantizer.gamma", [-1.0, 0.001, 1.0])
    sweep(root, "init", "quantizer.init", [1.0, 5.0, 10.0])
    sweep(root, "long", "quantizer.gamma", [0.0, 1.0], ("lattice_corrected",), epochs=20)
    report(root)
    return root


def text(root: Path) -> str:
    return (root / "reports/report.md").read_text(encoding="utf-8")


def test_the_table_holds_the_measured_numbers_and_leads_to_the_settings(made: Path) -> None:
    line = next(one for one in text(made).splitlines() if "][photos-lattice_gamma_0_001]" in one)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[0] == "[LL-VQ-VAE, γ = 0.001][photos-lattice_gamma_0_001]"
    assert cells[1:4] == ["falls", "0.0200 ± 0.0000", "101 ± 1"]
    assert cells[-1] == "3"
    target = re.search(r"^\[photos-lattice_gamma_0_001\]: (\S+)$", text(made), re.MULTILINE)
    assert target is not None
    assert files.read_yaml(made / "reports" / target.group(1))["quantizer"]["gamma"] == 0.001
    page = (made / "reports/report.html").read_text()
    assert 'href="#settings-sweeps/photos-gamma/photos-lattice_gamma_0_001"' in page
    assert 'id="settings-sweeps/photos-gamma/photos-lattice_gamma_0_001"' in page


def test_a_figure_for_every_sweep_with_words_for_those_who_do_not_see_it(made: Path) -> None:
    for name in ("codes", "gamma", "init", "long"):
        for end in ("png", "svg"):
            assert (made / f"reports/figures/photos-sweep-{name}.{end}").stat().st_size > 1000
        assert text(made).count(f"figures/photos-sweep-{name}.png") == 2  # shown, and in the list of figures
    assert "![MSE on test, codes in use, parameters, for K = 64, 256, 1,024; VQ-VAE, LL-VQ-VAE," in text(made)


def test_the_figure_draws_the_numbers_of_the_table(made: Path) -> None:
    rows = read.read_results(made).swept_of("photos")
    figure = sweeps.panels([row for row in rows if sweeps.swept(row)["name"] == "codes"])
    error = figure.axes[0]
    assert [one.get_label() for one in error.containers] == ["VQ-VAE", "LL-VQ-VAE", "LL-VQ-VAE, corrected"]
    for container in error.containers:
        line = container.lines[0]
        assert list(line.get_xdata()) == [64, 256, 1024]
        assert list(line.get_ydata()) == pytest.approx([0.01, 0.02, 0.03])
    colours = [container.lines[0].get_color() for container in error.containers]
    assert colours[0] != colours[1] == colours[2]
    assert error.get_xscale() == figure.axes[1].get_yscale() == "log"


def test_values_that_no_log_axis_takes_stand_side_by_side(made: Path) -> None:
    rows = [row for row in read.read_results(made).swept.values() if sweeps.swept(row)["name"] == "gamma"]
    assert sweeps.positions(rows) == {"−1": 0.0, "0.001": 1.0, "1": 2.0}
    panel = sweeps.panels(rows).axes[0]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["−1", "0.001", "1"]


def test_where_a_long_training_turns_is_told_from_its_history(made: Path) -> None:
    row = read.read_results(made).swept["photos-lattice_corrected_long_1"]
    lines = [(seed, epoch, error) for seed in (0, 1) for epoch, error in ((1, 0.4), (2, 0.1 + seed / 5), (3, 0.5))]
    history = pd.DataFrame(lines, columns=["seed", "epoch", "val_mse"]).assign(spacing_mean=[1.0, 2.0, 3.0] * 2)
    assert sweeps.turning([dataclasses.replace(row, history=history)]) == (
        "- LL-VQ-VAE, corrected, γ = 1: lowest error 0.2 after epoch 2, 0.5 after the last, 3; "
        "mean spacing 1 after the first epoch, 2 at the lowest error, 3 at the end."
    )


def test_the_claims_over_a_sweep_are_judged_by_its_rows(made: Path, tmp_path: Path) -> None:
    """Codes in use: about 10, 100 and 1,000 where K is 64, 256 and 1,024, and where spacings begin at 1, 5 and 10."""
    judged = {one.claim["claim"]: one.judged for one in claims.judge(read.read_results(made))}
    near = next(one for claim, one in judged.items() if "K = 64, 256 and 1024" in claim)
    assert near.verdict == claims.FAILS
    assert "`lattice_codes_1024` 1,001 ± 1 (n = 3); quantizer.num_codes = 1024" in near.measured
    same = next(one for claim, one in judged.items() if claim.startswith("Spacings begun"))
    assert same.verdict == claims.FAILS
    later = next(one for claim, one in judged.items() if claim == "The same at a constant learning rate")
    assert (later.verdict, later.why) == (
        claims.OPEN,
        "`lattice_corrected_init_1` was not run; `make sweeps` runs it",
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Results of one row and a sweep, to spoil."""
    made_up.make(tmp_path, datasets=("photos",), variants=("lattice",))
    sweep(tmp_path, "gamma", "quantizer.gamma", [0.5, 1.0])
    return tmp_path


def section(root: Path) -> str:
    return "\n\n".join(sweeps.section(read.read_results(root), {}))


def test_rows_that_were_not_run_are_told_and_nothing_waits_for_them(small: Path) -> None:
    assert "were not run" not in section(small)
    (small / "sweeps/results/photos-gamma/reports/runs/photos-lattice_gamma_1.json").unlink()
    assert "1 of its rows were not run" in section(small)
    files.remove(small / "sweeps")
    assert section(small) == ""
    assert list(sweeps.draw(read.read_results(small))) == []


def test_a_stale_row_is_left_out_and_named(small: Path) -> None:
    path = small / "reports/settings/sweeps/photos-gamma/photos-lattice_gamma_0_5.yaml"
    settings = files.read_yaml(path)
    settings["train"]["lr"] = 0.5
    files.write_yaml(path, settings)
    assert "][photos-lattice_gamma_1]" in section(small)
    assert "][photos-lattice_gamma_0_5]" not in section(small)
    assert "as photos-lattice_gamma_0_5: train.lr was 0.001 and is 0.5" in section(small)
