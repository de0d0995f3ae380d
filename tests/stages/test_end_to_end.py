"""The real dvc.yaml on a tiny grid in a repository of its own: what runs, what does not, and what is left behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from pipeline.core import files

DVC = [sys.executable, "-m", "dvc"]


def shell(folder: Path, *words: str, status: int | None = 0) -> str:
    """Run a command as a user would, in a new process; gives all that it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "DVC_", "VQ_", "CI"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert status is None or done.returncode == status, done.stdout
    return done.stdout


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def shrink(path: Path) -> None:
    """Make the shipped params.yaml a matter of seconds."""
    yaml = YAML()
    params = yaml.load(path.read_text())
    params["grid"] = {"datasets": ["photos"], "variants": ["vq", "lattice", "lattice_dense"], "seeds": [0, 1]}
    params["grid"]["sweeps"] = ["gamma"]
    params["sweeps"]["gamma"] |= {"values": [0.5, -1.0], "variants": ["lattice"], "train": {"epochs": 1}}
    params["model"] |= {"dim": 4, "hidden": [4], "residual_blocks": 1}
    params["quantizer"]["num_codes"] = 16
    params["train"] |= {"epochs": 2, "batch_size": 16}
    params["evaluate"]["pictures"] = 3
    params["datasets"]["photos"] = {"data": {"train": 96, "val": 48, "test": 48}}
    with path.open("w") as file:
        yaml.dump(params, file)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new repository with the files of this one, a tiny grid, and `dvc repro` done."""
    folder = tmp_path_factory.mktemp("project")
    listed = shell(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not re.match(r"(reports/|dvc\.lock)", name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shrink(folder / "params.yaml")
    shell(folder, "git", "init", "-q")
    commit(folder, "start")
    assert {"plan", "report", "train@photos-lattice"} <= ran(shell(folder, *DVC, "repro"))
    commit(folder, "first run")
    return folder


def commit(folder: Path, message: str) -> None:
    shell(folder, "git", "add", "-A")
    shell(folder, "git", "-c", "user.name=user", "-c", "user.email=user@example.org", "commit", "-qm", message)


@pytest.fixture
def clean(project: Path) -> Path:
    """The project as first run, whatever the test before it did."""
    shell(project, "git", "checkout", "-q", ".")
    shell(project, *DVC, "checkout", "-q", "--force")
    return project


def test_the_report_holds_every_row_and_the_measured_numbers(clean: Path) -> None:
    metrics = files.read_json(clean / "reports/metrics.json")
    report = (clean / "reports/report.md").read_text()
    for variant in ("vq", "lattice", "lattice_dense"):
        run = files.read_json(clean / f"reports/runs/photos-{variant}.json")
        errors = [seed["test_mse"] for seed in run["seeds"]]
        assert metrics["photos"][variant]["test_mse"]["mean"] == pytest.approx(sum(errors) / 2)
        assert metrics["photos"][variant]["test_mse"]["n"] == 2
        assert f"settings/photos-{variant}.yaml" in report
    for picture in re.findall(r"\]\((figures/[^)]+)\)", report):
        assert (clean / "reports" / picture).stat().st_size > 1000


def test_again_it_does_nothing(clean: Path) -> None:
    output = shell(clean, *DVC, "repro")
    assert ran(output) == set()
    assert "up to date" in output


def test_gamma_runs_the_rows_again_that_take_it_from_the_default(clean: Path) -> None:
    output = shell(clean, *DVC, "exp", "run", "-S", "quantizer.gamma=-1")
    assert ran(output) == {"plan", "train@photos-lattice", "evaluate@photos-lattice", "report"}
    changes = shell(clean, *DVC, "metrics", "diff")
    assert "photos.lattice.test_mse.mean" in changes
    assert not re.search(r"photos\.(vq|lattice_dense)\.", changes)
    assert "quantizer.gamma" in (clean / "reports/report.md").read_text()


def test_a_smaller_grid_runs_nothing_again_but_the_report(clean: Path) -> None:
    output = shell(clean, *DVC, "exp", "run", "-S", "grid.variants=[vq,lattice]")
    assert ran(output) == {"plan", "report"}
    assert files.read_json(clean / "reports/metrics.json")["photos"].keys() == {"vq", "lattice"}


def test_numbers_in_scientific_notation_and_fewer_epochs(clean: Path) -> None:
    shell(clean, *DVC, "exp", "run", "-S", "train.lr=1e-5", "-S", "train.epochs=1", "-S", "grid.variants=[vq]")
    train = files.read_yaml(clean / "reports/settings/photos-vq.yaml")["train"]
    assert (train["lr"], train["epochs"]) == (1e-5, 1)
    assert len((clean / "reports/history/photos-vq.csv").read_text().splitlines()) == 1 + 2


def test_learning_curves_are_plots_a_line_for_every_seed(clean: Path) -> None:
    shell(clean, *DVC, "plots", "show", "--out", "plots")
    page = (clean / "plots/index.html").read_text()
    assert "validation MSE of photos-lattice" in page
    drawn = re.findall(r'"seed": "(\d)", "epoch": "(\d)"', page)
    assert set(drawn) == {("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")}
    shutil.rmtree(clean / "plots")


def test_what_ran_before_comes_from_the_cache(clean: Path) -> None:
    for row in ("photos-vq", "photos-lattice"):
        shutil.rmtree(clean / "models" / row)
    assert not any(stage.startswith("train") for stage in ran(shell(clean, *DVC, "repro")))
    assert (clean / "models/photos-vq/seed-1.safetensors").is_file()


def edit_comment(text: str) -> str:
    return text + "\n# a remark\n"


def edit_code(text: str) -> str:
    return text + "\nUNUSED = 1\n"


@pytest.mark.parametrize(
    ("edit", "again"),
    [(edit_comment, set()), (edit_code, {"train@photos-vq", "evaluate@photos-vq"})],
    ids=["comment", "code"],
)
def test_a_changed_quantizer_runs_its_own_rows_again(clean: Path, edit: Callable[[str], str], again: set[str]) -> None:
    source = clean / "pipeline/quantizers/vq.py"
    source.write_text(edit(source.read_text()))
    assert ran(shell(clean, *DVC, "repro")) - {"plan", "report"} == again


def test_bad_input_stops_before_anything_trains(clean: Path) -> None:
    output = shell(clean, *DVC, "exp", "run", "-S", "quantizer.num_codes=-3", status=None)
    assert "error: params.yaml: quantizer.num_codes is -3, but should be greater than 0." in output
    assert ran(output) == {"plan"}
    assert (clean / "reports/report.md").is_file()


def test_grid_without_brackets_gets_our_sentence(clean: Path) -> None:
    """DVC cannot read such a grid at all; `make report` asks the plan first."""
    path = clean / "params.yaml"
    path.write_text(
        re.sub(r"datasets:\s*\n?\s*-\s*photos|datasets: \[photos\]", "datasets: photos", path.read_text(), count=1)
    )
    output = shell(clean, sys.executable, "-m", "pipeline.plan", "--check", status=1)
    assert output == "error: params.yaml: grid.datasets is 'photos', but should be a valid list (write [photos]).\n"


def test_sweeps_run_by_themselves_and_one_more_value_runs_one_row(clean: Path) -> None:
    sweeps = "sweeps/dvc.yaml"
    output = shell(clean, *DVC, "repro", sweeps)
    assert ran(output) == {f"{sweeps}:sweep@photos-gamma"}
    assert (clean / "sweeps/results/photos-gamma/models/photos-lattice_gamma_0_5/seed-1.safetensors").is_file()
    assert not list((clean / "reports/runs").glob("*_gamma_*"))  # on which the report waits
    output = shell(clean, *DVC, "exp", "run", sweeps, "-S", "sweeps.gamma.values=[0.5,-1.0,1e-5]")
    assert ran(output) == {"plan", f"{sweeps}:sweep@photos-gamma"}
    assert set(re.findall(r"photos-(\w+) seed 1: epoch", output)) == {"lattice_gamma_0_00001"}
    output = shell(clean, *DVC, "repro")
    assert ran(output) == {"report"}
    report = (clean / "reports/report.md").read_text()
    for row in ("minus_1", "0_5", "0_00001"):
        assert f"settings/sweeps/photos-gamma/photos-lattice_gamma_{row}.yaml" in report
