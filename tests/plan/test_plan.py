"""The plan: one file per row with exactly what it depends on, settings and code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from pipeline.core import code_digests, files
from pipeline.plan import __main__ as plan
from pipeline.plan import config


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["plan"])
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def planned() -> dict[str, str]:
    return {path.as_posix(): path.read_text() for path in Path("reports/settings").rglob("*.yaml")}


def edit(before: str, after: str) -> None:
    text = Path("params.yaml").read_text()
    assert before in text
    Path("params.yaml").write_text(text.replace(before, after))


def test_a_file_for_every_row_of_the_grid(project: Path) -> None:
    plan.main()
    rows = config.rows(config.read_params())
    written = files.read_yaml(Path("reports/settings/plan.yaml"))
    assert written["rows"] == [row.name for row in rows]
    for row in rows:
        settings = files.read_yaml(Path(f"reports/settings/{row.name}.yaml"))
        assert {key: settings[key] for key in vars(row)} == vars(row)


def test_only_what_a_parameter_touches_changes(project: Path) -> None:
    plan.main()
    before = planned()
    edit("gamma: 1.0  ", "gamma: -1.0 ")
    plan.main()
    after = planned()
    changed = {Path(name) for name in after if after[name] != before.get(name)} - {Path("reports/settings/plan.yaml")}
    rows = {path.stem for path in changed if path.parent.name == "settings"}
    assert rows == {f"photos-{v}" for v in ("lattice", "lattice_frozen", "lattice_ramp", "lattice_corrected")}
    swept = {path.parent.name for path in changed if path.parent.parent.name == "sweeps"}
    assert swept == {"photos-codes", "photos-init"}  # the others state γ or have none


def test_rows_that_left_the_grid_leave_the_plan(project: Path) -> None:
    plan.main()
    edit("\n  - vq_ema\n", "\n")
    plan.main()
    assert not Path("reports/settings/photos-vq_ema.yaml").exists()
    assert Path("reports/settings/photos-vq.yaml").exists()


def test_check_writes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["plan", "--check"])
    plan.main()
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_changed_parameters_are_those_that_differ_from_the_committed_ones(project: Path) -> None:
    assert plan.changed(config.read_params()) == {}
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "."]):
        subprocess.run(["git", *words], check=True)
    edit("gamma: 1.0  ", "gamma: -1.0 ")
    edit("\n  - vq_ema\n", "\n")
    changed = plan.changed(config.read_params())
    assert changed.keys() == {"grid.variants", "quantizer.gamma"}
    assert changed["quantizer.gamma"] == -1.0


def test_code_of_a_row_is_what_its_training_imports() -> None:
    lattice = code_digests.digests("pipeline.train", "pipeline.quantizers.lattice")
    vq = code_digests.digests("pipeline.train", "pipeline.quantizers.vq")
    assert {
        "pipeline/train.py",
        "pipeline/autoencoder.py",
        "pipeline/datasets/io/batches.py",
    } <= lattice.keys() & vq.keys()
    assert "pipeline/quantizers/vq.py" not in lattice
    assert "pipeline/quantizers/search/__init__.py" not in lattice
    assert {"pipeline/quantizers/vq.py", "pipeline/quantizers/search/__init__.py"} <= vq.keys()
    assert not any("report" in name or "cli" in name or "evaluate" in name for name in lattice)


def digest_of(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(code_digests, "ROOT", folder)
    (folder / "pipeline").mkdir(exist_ok=True)
    (folder / "pipeline/part.py").write_text(text)
    return code_digests.digests("pipeline.part")["pipeline/part.py"]


def test_comments_and_docstrings_retrain_nothing_and_code_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = digest_of('"""One."""\ndef f(x):\n    """Two."""\n    return x + 1\n', tmp_path, monkeypatch)
    other = digest_of('"""Uno."""\n# why\ndef f(x):\n    """Due."""\n    return (x + 1)  # so\n', tmp_path, monkeypatch)
    changed = digest_of('"""One."""\ndef f(x):\n    """Two."""\n    return x + 2\n', tmp_path, monkeypatch)
    assert plain == other
    assert plain != changed
