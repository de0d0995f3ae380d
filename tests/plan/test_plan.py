"""The plan: a file for each row with exactly what it depends on, settings and code."""

from __future__ import annotations

import copy
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from pipeline import quantizers
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.datasets.photos import Photos
from pipeline.plan import __main__ as stage
from pipeline.plan import check, config


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["plan"])
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def planned() -> dict[str, str]:
    """File below reports/settings → its text."""
    folder = Path("reports/settings")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.yaml")}


def edit(before: str, after: str) -> None:
    text = Path("params.yaml").read_text()
    assert before in text
    Path("params.yaml").write_text(text.replace(before, after))


def test_a_file_for_every_row_of_the_grid(project: Path) -> None:
    stage.main()
    rows = check.plan(config.read_params()).rows
    written = files.read_yaml(Path("reports/settings/plan.yaml"))
    assert written["rows"] == [row.name for row in rows]
    for row in rows:
        settings = files.read_yaml(Path(f"reports/settings/{row.name}.yaml"))
        assert settings.keys() == vars(row).keys() - {"sweep"} | {"code"}
        assert vars(row).items() >= {key: settings[key] for key in settings if key != "code"}.items()


def test_only_what_a_parameter_touches_changes(project: Path) -> None:
    edit("  sweeps: []", "  sweeps: [lattice_codes_64, lattice_gamma_1, vq_codes_64]")
    stage.main()
    before = planned()
    edit("gamma: 1.0  ", "gamma: -1.0 ")
    stage.main()
    after = planned()
    changed = {name for name in after if after[name] != before.get(name)}
    names = ("lattice", "lattice_frozen", "lattice_ramp", "lattice_corrected", "lattice_codes_64")
    assert changed == {f"photos-{name}.yaml" for name in names}


def test_rows_that_left_the_grid_leave_the_plan(project: Path) -> None:
    stage.main()
    edit("\n  - vq_ema\n", "\n")
    stage.main()
    assert not Path("reports/settings/photos-vq_ema.yaml").exists()
    assert Path("reports/settings/photos-vq.yaml").exists()


def test_check_writes_nothing_and_says_what_no_row_takes(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("sys.argv", ["plan", "--check"])
    stage.main()
    assert any("train.epochs, since datasets.photos states its own." in message for message in caplog.messages)
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_what_the_report_shows_of_sweeps_and_what_it_calls_variants(project: Path) -> None:
    edit("  sweeps: []", "  sweeps: [vq_codes_64, lattice_linear_try_2_5, lattice_linear_try_1]")
    text = """
      try:
        setting: quantizer.init
        values: [2.5, 1.0]
        variants: [lattice_linear]
        train: {epochs: 2}
    """
    edit("\nsweeps:", "\nsweeps:" + textwrap.indent(textwrap.dedent(text).rstrip(), "  "))
    stage.main()
    plan = files.read_yaml(Path("reports/settings/plan.yaml"))
    assert list(plan["sweeps"]) == ["codes", "try"]
    assert plan["sweeps"]["codes"]["title"] == "The size of the codebook, K"
    assert plan["sweeps"]["codes"]["rows"] == ["photos-vq_codes_64"]
    assert plan["sweeps"]["try"] == {
        "title": "quantizer.init",
        "symbol": "init",
        "measures": ["test_mse", "codes_in_use"],
        "setting": "quantizer.init",
        "values": [2.5, 1.0],
        "variants": ["lattice_linear"],
        "model": {},
        "quantizer": {},
        "train": {"epochs": 2},
        "rows": ["photos-lattice_linear_try_2_5", "photos-lattice_linear_try_1"],
    }
    labels = plan["labels"]
    assert list(labels) == [*plan["variants"], "lattice_linear"]
    lattice = quantizers.find("lattice")
    assert labels["lattice"] == {key: getattr(lattice, key) for key in ("title", "meaning", "colour")}
    assert labels["lattice_linear"]["title"] == "LL-VQ-VAE, linear output"
    assert labels["lattice_linear"]["colour"] == lattice.colour
    measure = next(measure for measure in plan["measures"] if measure["key"] == "test_mse")
    assert measure.keys() == {"key", "title", "unit", "scale", "decimals", "better", "split", "published"}


# what is refused or told before anything is spent


def changed(params: dict[str, Any], **sections: dict[str, Any]) -> dict[str, Any]:
    """A copy with sections updated, one level deep."""
    params = copy.deepcopy(params)
    for section, update in sections.items():
        params[section] |= update
    return params


@pytest.mark.parametrize(
    ("quantizer", "sentence"),
    [
        ({"name": "kd", "projection": "regroup", "code_dim": 48}, r"code_dim is 48, but .*64"),
        ({"name": "adaptive", "capacity": 96, "sizes": [64]}, r"sizes holds 64, which does not divide"),
        ({"name": "lfq", "num_codes": 500}, r"num_codes is 500, but should be a power of 2"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_where_they_stand(
    params: dict[str, Any], quantizer: dict[str, Any], sentence: str
) -> None:
    params = changed(params, variants={"mine": {"quantizer": quantizer}}, grid={"variants": ["vq", "mine"]})
    with pytest.raises(UserError, match=rf"^params.yaml: variants\.mine\.quantizer: {sentence}"):
        check.plan(params)
    sweep = {"setting": "train.epochs", "values": [1], "variants": ["mine"]}
    params = changed(params, grid={"variants": ["vq"], "sweeps": ["mine_try_1"]}, sweeps={"try": sweep})
    with pytest.raises(UserError, match=rf"^params.yaml: sweeps\.try\.quantizer: {sentence}"):
        check.plan(params)


def test_a_data_set_that_refuses_its_settings_is_named(params: dict[str, Any]) -> None:
    folder = {"data": {"path": "pictures", "split_folders": {"val": "a"}}}
    with pytest.raises(UserError, match=r"^params.yaml: datasets\.folder\.data: split_folders names val"):
        check.plan(changed(params, datasets={"folder": folder}))


def test_pictures_that_cannot_be_halved_are_refused(params: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Photos, "image_shape", (32, 34))
    sentence = r"photos\.model\.hidden is \[16, 32\], each of .*, but photos has pictures of 32×34"
    with pytest.raises(UserError, match=sentence):
        check.plan(params)
    monkeypatch.setattr(Photos, "image_shape", None)  # only the files tell
    check.plan(params)
    folder = {"data": {"path": "pictures", "size": 33}}
    sentence = r"params.yaml: model\.hidden is \[64\], .*, but folder has pictures of 33×33"
    with pytest.raises(UserError, match=sentence):
        check.plan(changed(params, grid={"datasets": ["folder"]}, datasets={"folder": folder}))


def test_a_parameter_that_no_row_takes_is_told_with_the_place_that_states_its_own(params: dict[str, Any]) -> None:
    params = changed(params, grid={"variants": ["vq", "lattice"]}, datasets={"photos": {"train": {"epochs": 3}}})
    sentence = "no row takes train.epochs, since datasets.photos states its own"
    assert sentence in check.unused(check.plan(params))
    params["grid"]["datasets"].append("mnist")  # whose rows take it
    assert not [sentence for sentence in check.unused(check.plan(params)) if "train.epochs" in sentence]
    params["variants"]["vq"]["train"] = {"lr": 1e-4}
    params["variants"]["lattice"]["train"] = {"lr": 1e-4}
    assert "no row takes train.lr, since variants.vq and 1 more state its own" in check.unused(check.plan(params))
    params["datasets"] = {}
    params["variants"]["vq"]["train"] = {}
    assert check.unused(check.plan(params)) == []


def test_a_quantizer_added_as_the_readme_says_trains_at_a_constant_learning_rate(
    params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
            from pipeline.quantizers.vq import VQ

            class Mine(VQ):
                title, meaning, colour = "mine", "a codebook of my own", "#123456"
        """)
    )
    monkeypatch.setattr(quantizers, "__path__", [*quantizers.__path__, str(tmp_path)])
    params = changed(params, variants={"mine": {"quantizer": {"name": "mine"}}}, grid={"variants": ["vq", "mine"]})
    vq, mine = check.plan(params).rows
    assert (vq.train["lr_decay"], mine.train["lr_decay"]) == (0.0, 1.0)
    assert {**mine.train, "lr_decay": 0.0} == vq.train
    assert {**mine.quantizer, "name": "vq"} == vq.quantizer


def test_no_password_of_a_mirror_reaches_a_file(project: Path) -> None:
    edit("mirror: null", "mirror: 'https://me:secret@example.org/'")
    stage.main()
    assert not [name for name, text in planned().items() if re.search("secret|example", text)]
