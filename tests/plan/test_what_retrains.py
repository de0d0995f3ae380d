"""Which settings files an edit of a real source file changes: exactly those whose stage has to run again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

from pipeline.core import code_digests
from pipeline.core.paths import Paths
from pipeline.plan import __main__ as stage
from pipeline.plan import check, config
from pipeline.plan.check import Plan

VARIANTS = ["vq", "vq_ema", "lattice", "lattice_frozen", "kd_512x128", "adaptive", "fsq"]
EVERY_ROW = {f"photos-{variant}" for variant in VARIANTS}


@pytest.fixture(scope="module")
def plan() -> Plan:
    params = config.read_params(ROOT / "params.yaml")
    params["grid"] |= {"datasets": ["photos", "mnist"], "variants": VARIANTS}
    return check.plan(params)


def settings(plan: Plan, folder: Path) -> dict[str, bytes]:
    """Settings file → its content; without rows on mnist, which are as those on photos."""
    paths = Paths(folder)
    stage.write(plan, paths)
    found = {path.relative_to(paths.settings).as_posix(): path.read_bytes() for path in paths.settings.rglob("*.yaml")}
    return {name.removesuffix(".yaml"): text for name, text in found.items() if not name.startswith("mnist-")}


@pytest.fixture(scope="module")
def before(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return settings(plan, tmp_path_factory.mktemp("before"))


Changed = Callable[[dict[str, tuple[str, str]]], set[str]]


@pytest.fixture
def changed_by(plan: Plan, before: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changed:
    """Replaces a text in files of a copy of pipeline/, and gives the settings files that then are others."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__", "report"))
    monkeypatch.setattr(code_digests, "ROOT", tmp_path)

    def changed(edits: dict[str, tuple[str, str]]) -> set[str]:
        for name, (old, new) in edits.items():
            path = tmp_path / "pipeline" / name
            text = path.read_text() if path.exists() else ""
            assert old in text
            path.write_text(text.replace(old, new, 1))
        after = settings(plan, tmp_path)
        return {name for name in before | after if before.get(name) != after.get(name)}

    return changed


CODE = ("\nfrom ", "\nUNUSED = 1\nfrom ")
AGAIN = [
    ("quantizers/vq.py", {"photos-vq"}),
    ("quantizers/lattice.py", {"photos-lattice", "photos-lattice_frozen"}),
    ("quantizers/vq_ema.py", {"photos-vq_ema", "photos-kd_512x128", "photos-adaptive"}),
    ("quantizers/kd.py", {"photos-kd_512x128", "photos-adaptive"}),
    ("quantizers/adaptive.py", {"photos-adaptive"}),
    ("quantizers/_library.py", {"photos-fsq"}),
    ("quantizers/search/tree.py", {"photos-vq", "photos-vq_ema", "photos-kd_512x128", "photos-adaptive"}),
    ("train/loop.py", EVERY_ROW),
    ("quantizers/__init__.py", EVERY_ROW | {"evaluate"}),
    ("autoencoder.py", EVERY_ROW | {"evaluate"}),
    ("datasets/io/batches.py", EVERY_ROW | {"evaluate"}),
    ("core/devices.py", EVERY_ROW | {"evaluate"}),
    ("evaluate.py", {"evaluate"}),
    ("metrics/usage.py", {"evaluate"}),
    ("metrics/counting.py", {"evaluate"}),
    ("preprocess.py", {"data/photos", "data/mnist"}),
    ("datasets/photos.py", {"data/photos"}),
    ("datasets/__init__.py", {"data/photos", "data/mnist"}),
]


@pytest.mark.parametrize(("name", "again"), AGAIN, ids=[name for name, _ in AGAIN])
def test_what_a_changed_line_of_code_runs_again(name: str, again: set[str], changed_by: Changed) -> None:
    assert changed_by({name: CODE}) == again


def test_what_writes_validates_finds_and_checks_runs_nothing_again(changed_by: Changed) -> None:
    names = ["__init__", "train/__main__", "plan/check", "plan/config", "download", "datasets/io/fetch"]
    names += ["core/cli", "core/errors", "core/files", "core/parallel", "core/paths", "core/provenance"]
    names += ["core/registry", "core/schema", "quantizers/gumbel", "datasets/folder"]
    assert changed_by({f"{name}.py": CODE for name in names}) == set()


def test_what_is_said_to_people_runs_nothing_again(changed_by: Changed) -> None:
    edits = {
        "quantizers/lattice.py": ('    title = "', '    title = "Other '),
        "quantizers/kd.py": ("raise UserError(", 'raise UserError("Other" + '),
        "quantizers/vq.py": ('"""', '"""Other'),
        "train/loop.py": ("# ", "# other "),
    }
    assert changed_by(edits) == set()


def test_a_new_file_beside_the_others_runs_nothing_again(changed_by: Changed) -> None:
    assert (
        changed_by({"quantizers/mine.py": ("", "import torch\n"), "datasets/mine.py": ("", "import torch\n")}) == set()
    )


def test_the_margin_of_published_numbers_reaches_the_report_alone(
    plan: Plan, before: dict[str, bytes], tmp_path: Path
) -> None:
    params = config.read_params(ROOT / "params.yaml")
    params["grid"], params["report"] = plan.file.grid.model_dump(), {"margin": 0.2}
    after = settings(check.plan(params), tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"plan"}
