"""The real dvc.yaml on a tiny grid in a repository of its own: what runs, what does not, and what is left behind."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import made_sources
import numpy as np
import psutil
import pytest
import zc.lockfile
from conftest import ROOT
from PIL import Image
from ruamel.yaml import YAML

from pipeline.core import files

pytestmark = pytest.mark.slow
DVC = [sys.executable, "-m", "dvc"]
PLAN = [sys.executable, "-m", "pipeline.plan"]
RUN = [sys.executable, "-m", "pipeline.run", "--jobs", "2"]


def shell(folder: Path, *words: str, status: int | None = 0) -> str:
    """Run a command as a user would, in a new process; gives all that it printed."""
    process = start(folder, *words)
    output, _ = process.communicate()
    assert status is None or process.returncode == status, output
    return output


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    ours = ("GIT_", "DVC_", "VQ_", "CI", "MAKE", "MFLAGS")  # a user's shell has none of these
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def readme(folder: Path, command: str, **replaced: str) -> str:
    """Run a command as it stands in the README, but for words that stand for something of the user's."""
    assert command in readme_commands(), f"the README does not hold `{command}`"
    for word, text in replaced.items():
        assert word in command
        command = command.replace(word, text)
    return shell(folder, "bash", "-c", command)


def readme_commands() -> list[str]:
    """The lines of the README's console blocks, without comments."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


VARIANTS = ["vq", "lattice", "lattice_dense"]
SWEEPS = {
    "gamma": {"setting": "quantizer.gamma", "values": [0.5], "variants": ["lattice"], "train": {"epochs": 3}},
    "init": {"setting": "quantizer.init", "values": [5.0], "variants": ["lattice"], "train": {"epochs": 1}},
    "codes": {"setting": "quantizer.num_codes", "values": [8], "variants": ["vq"], "train": {"epochs": 1}},
}


def both(*variants: str) -> set[str]:
    """The stages that train and measure rows on photos."""
    return {f"{stage}@photos-{variant}" for stage in ("train", "evaluate") for variant in variants}


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def change(folder: Path, **sections: dict[str, Any]) -> None:
    """Update sections of params.yaml, one level deep."""
    yaml, path = YAML(), folder / "params.yaml"
    params = yaml.load(path.read_text())
    for section, update in sections.items():
        params[section].update(update)
    with path.open("w") as file:
        yaml.dump(params, file)


def drop_sweeps(folder: Path) -> None:
    """Leave only the sweeps that are made small here."""
    yaml, path = YAML(), folder / "params.yaml"
    params = yaml.load(path.read_text())
    params["sweeps"] = {}
    with path.open("w") as file:
        yaml.dump(params, file)


def commit(folder: Path, message: str) -> None:
    shell(folder, "git", "add", "-A")
    shell(folder, "git", "commit", "-qm", message)


def git_status(folder: Path) -> set[str]:
    return set(shell(folder, "git", "status", "--porcelain", "--untracked-files=all").splitlines())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new repository with the files of this one, a tiny grid, and `dvc repro` done."""
    folder = tmp_path_factory.mktemp("project")
    listed = shell(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not re.match(r"(reports/(?!benchmark)|tests/|dvc\.lock)", name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if (ROOT / ".venv/installed").is_file():
        (folder / ".venv").symlink_to(ROOT / ".venv")
        os.utime(folder / "requirements.txt", (0, 0))  # `make` need not install anything
    drop_sweeps(folder)
    change(
        folder,
        grid={"datasets": ["photos"], "variants": VARIANTS, "seeds": [0]},
        model={"dim": 4, "hidden": [4], "residual_blocks": 1},
        quantizer={"num_codes": 16},
        train={"epochs": 1, "batch_size": 16},
        evaluate={"pictures": 2, "moving_batches": 2},
        datasets={"photos": {"data": {"train": 32, "val": 16, "test": 16}, "train": {"epochs": 2}}},
        sweeps=SWEEPS,
    )
    shell(folder, "git", "init", "-q")
    shell(folder, "git", "config", "user.name", "user")
    shell(folder, "git", "config", "user.email", "user@example.org")
    commit(folder, "start")
    output = shell(folder, *DVC, "repro")
    assert ran(output) == {"plan", "download@photos", "preprocess@photos", "report"} | both(*VARIANTS)
    commit(folder, "first run")
    return folder


@pytest.fixture
def clean(project: Path) -> Path:
    """The project as first run, whatever the test before it did."""
    shell(project, "git", "checkout", "-q", ".")
    shell(project, "git", "clean", "-qfd")
    shell(project, *DVC, "checkout", "-q", "--force")
    return project


def test_again_it_does_nothing_and_git_is_clean(project: Path) -> None:
    output = shell(project, *DVC, "repro")
    assert ran(output) == set()
    assert "up to date" in output
    assert git_status(project) == set()


def test_the_report_holds_every_row(project: Path) -> None:
    report = (project / "reports/report.md").read_text()
    assert all(f"settings/photos-{variant}.yaml" in report for variant in VARIANTS)
    for picture in re.findall(r"\]\((figures/[^)]+)\)", report):
        assert (project / "reports" / picture).is_file()


def test_gamma_runs_the_rows_again_that_take_it_from_the_default(clean: Path) -> None:
    output = readme(clean, "dvc exp run -S quantizer.gamma=-1")
    assert ran(output) == {"plan", "report"} | both("lattice")
    changes = readme(clean, "dvc metrics diff")
    assert "photos.lattice.test_mse" in changes
    assert not re.search(r"photos\.(vq|lattice_dense)\.", changes)
    readme(clean, "python -m pipeline.report --against HEAD")
    compared = (clean / "reports/compared.md").read_text(encoding="utf-8")
    assert re.search(r"`quantizer.gamma` +\| 1.0 +\| -1.0 +\| photos-lattice +\|", compared)
    assert "0 of 31 verdicts that both have differ." in compared
    assert "workspace" in readme(clean, "dvc exp show")


def test_a_smaller_grid_trains_nothing(clean: Path) -> None:
    output = readme(clean, "dvc exp run -S 'grid.variants=[vq,lattice]'")
    assert ran(output) == {"plan", "report"}
    assert files.read_json(clean / "reports/metrics.json")["photos"].keys() == {"vq", "lattice"}


def test_a_parameter_of_the_data_set_has_its_effect_and_one_that_no_row_takes_is_told(clean: Path) -> None:
    output = readme(clean, "dvc exp run -S train.lr=1e-5 -S datasets.photos.train.epochs=1")
    assert ran(output) == {"plan", "report"} | both(*VARIANTS)
    assert "params.yaml: no row takes train.epochs, since datasets.photos states its own." in output
    train = files.read_yaml(clean / "reports/settings/photos-vq.yaml")["train"]
    assert (train["lr"], train["epochs"]) == (1e-5, 1)
    assert len((clean / "reports/history/photos-vq.csv").read_text().splitlines()) == 1 + 1


def test_learning_curves_are_plots(clean: Path) -> None:
    readme(clean, "dvc plots show")
    page = (clean / "dvc_plots/index.html").read_text()
    assert "validation MSE of photos-lattice" in page
    assert "MSE on test against bits per latent" in page
    assert '"bits_per_latent": "' in page
    assert set(re.findall(r'"seed": "(\d)", "epoch": "(\d)"', page)) == {("0", "1"), ("0", "2")}


# side by side


def forget(folder: Path) -> None:
    """As in a new clone that has the data already."""
    for name in ("dvc.lock", ".dvc/cache/runs", "models", "reports/runs", "reports/history", "reports/logs"):
        files.remove(folder / name)


def ran_side_by_side(folder: Path) -> set[str]:
    """The commands that ran since this was last asked, or since the logs were removed."""
    logs = [path.read_text() for path in (folder / "reports/logs").glob("*.log")]
    files.remove(folder / "reports/logs")
    return set(re.findall(r"^\$ python -m (.*)", "\n".join(logs), re.MULTILINE))


def test_rows_side_by_side_are_trained_and_recorded_as_one_by_one(clean: Path) -> None:
    def weights() -> list[str]:
        return [files.digest(clean / f"models/photos-{variant}/seed-0.safetensors") for variant in VARIANTS]

    def recorded() -> str:
        return re.sub("(md5|size): .*", "", (clean / "dvc.lock").read_text())  # of files that hold times

    before = weights(), recorded()
    forget(clean)
    assert "3 of 3 rows done" in shell(clean, *RUN)
    assert (weights(), recorded()) == before
    assert "seed 0: test MSE" in (clean / "reports/logs/photos-vq.log").read_text()
    after = (clean / "dvc.lock").read_bytes()
    assert ran(shell(clean, *DVC, "repro")) == set()
    (clean / "dvc.lock").unlink()
    assert ran(shell(clean, *DVC, "repro")) == {"plan", "report"}  # which have no run-cache
    assert (clean / "dvc.lock").read_bytes() == after


def quantizer_that(folder: Path, statement: str) -> None:
    """A quantizer of one's own, `mine`, with a statement in each step."""
    method = f"    def nearest(self, v):\n        {statement}\n        return super().nearest(v)\n"
    (folder / "pipeline/quantizers/mine.py").write_text(QUANTIZER + "\n" + method)


def test_a_row_that_fails_stops_no_other_and_is_named(clean: Path) -> None:
    change(
        clean, model={"dim": 5}, variants={"mine": {"quantizer": {"name": "mine"}}}, grid={"variants": ["mine", "vq"]}
    )
    quantizer_that(clean, 'raise RuntimeError("not today")')
    output = shell(clean, *RUN, status=1)
    assert "1 of 2 rows done, 1 failed" in output
    assert "photos-mine failed: RuntimeError: not today\n    python -m pipeline.train photos-mine" in output
    assert output.endswith(
        "error: stages that failed: 1, and 1 that need them did not run; run the same command again to go on.\n"
    )
    quantizer_that(clean, "pass")
    files.remove(clean / "reports/logs")
    assert "2 of 2 rows done" in shell(clean, *RUN)
    again = {"pipeline.plan", "pipeline.train photos-mine", "pipeline.evaluate photos-mine"}
    assert ran_side_by_side(clean) == again  # the other one was recorded


WAITS = """
        import os, pathlib, time
        while pathlib.Path("wait").exists():
            pathlib.Path(f"waits-{os.getpid()}").touch()
            time.sleep(0.1)
"""


def test_a_run_that_is_stopped_or_killed_leaves_no_process_and_goes_on(clean: Path) -> None:
    variants = {"mine": {"quantizer": {"name": "mine"}}}
    change(clean, variants=variants, grid={"variants": ["mine"], "seeds": [0, 1]})
    quantizer_that(clean, WAITS.strip())
    (clean / "wait").touch()
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 1)):
        run = start(clean, *RUN)
        while len(list(clean.glob("waits-*"))) < 2:  # a process for each seed
            assert run.poll() is None
            time.sleep(0.1)
        processes = psutil.Process(run.pid).children(recursive=True)
        assert {int(path.name.removeprefix("waits-")) for path in clean.glob("waits-*")} < {p.pid for p in processes}
        run.send_signal(number)
        output, _ = run.communicate()
        assert run.returncode == status
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            time.sleep(0.1)
        for path in clean.glob("waits-*"):
            path.unlink()
    assert output.endswith("stopped; run the same command again to go on.\n")
    (clean / "wait").unlink()
    lock = zc.lockfile.LockFile(str(clean / ".dvc/tmp/lock"))
    run = start(clean, *RUN)
    assert run.stdout is not None
    assert run.stdout.readline() == "waiting for another DVC command in this folder\n"
    lock.close()
    output, _ = run.communicate()
    assert run.returncode == 0, output
    assert "1 of 1 rows done" in output


@pytest.fixture
def environment(clean: Path) -> Path:
    """The project with the virtual environment that `make` uses."""
    if not (clean / ".venv").exists():
        pytest.skip("there is no .venv; `make test` makes it")
    return clean


def test_make_report_does_nothing_again(environment: Path) -> None:
    files.remove(environment / "reports/logs")
    output = readme(environment, "make report")
    assert output.endswith("3 of 3 rows done\nOpen reports/report.html, or read reports/report.md.\n")
    assert readme(environment, "make report JOBS=1").endswith(
        "3 of 3 rows done\nOpen reports/report.html, or read reports/report.md.\n"
    )
    assert ran_side_by_side(environment) == set()


def test_make_test_runs_all_tests_and_test_fast_the_quick_ones(environment: Path) -> None:
    assert "make test" in readme_commands()
    fast, full = (shell(environment, "make", "--dry-run", target) for target in ("test-fast", "test"))
    assert "not slow" in fast
    assert "not slow" not in full
    assert all(tool in full for tool in ("ruff check", "mypy", "pytest"))


def test_make_sweeps_trains_the_rows_of_those_named_or_of_all(environment: Path) -> None:
    readme(environment, ". .venv/bin/activate")
    gamma, init, codes = "photos-lattice_gamma_0_5", "photos-lattice_init_5", "photos-vq_codes_8"
    stages = {row: {f"pipeline.train {row}", f"pipeline.evaluate {row}"} for row in (gamma, init, codes)}
    files.remove(environment / "reports/logs")
    readme(environment, 'make sweeps SWEEPS="gamma init"')
    assert ran_side_by_side(environment) == {"pipeline.plan"} | stages[gamma] | stages[init]
    assert files.read_json(environment / f"reports/runs/{gamma}.json")["settings"]["train"]["epochs"] == 3
    readme(environment, "make sweeps")
    assert ran_side_by_side(environment) == {"pipeline.plan"} | stages[codes]
    report = (environment / "reports/report.md").read_text()
    assert all(f"settings/{row}.yaml" in report for row in stages)
    change(environment, grid={"sweeps": []})
    assert ran(shell(environment, *DVC, "repro")) == {"plan", "report"}
    assert gamma not in (environment / "reports/report.md").read_text()
    assert not (environment / f"reports/settings/{gamma}.yaml").exists()


def test_other_data_sets_come_from_a_mirror(clean: Path, tmp_path: Path) -> None:
    settings = {}
    for name in ("mnist", "fashion_mnist"):
        (tmp_path / name).mkdir()
        settings[name] = {"data": getattr(made_sources, name)(tmp_path / name, np.random.default_rng(0))}
    change(clean, grid={"variants": ["vq"]}, datasets=settings)
    command = "VQ_MIRROR=/path/to/mirror dvc exp run -S 'grid.datasets=[mnist,fashion_mnist]'"
    brought = {f"{stage}@{name}" for stage in ("download", "preprocess") for name in settings}
    trained = {f"{stage}@{name}-vq" for stage in ("train", "evaluate") for name in settings}
    assert ran(readme(clean, command, **{"/path/to/mirror": str(tmp_path)})) == {"plan", "report"} | brought | trained
    change(clean, data={"mirror": str(tmp_path)})
    shutil.rmtree(clean / "data/raw/mnist")
    assert ran(readme(clean, "dvc exp run -S 'grid.datasets=[mnist,fashion_mnist]'")) <= {"plan", "download@mnist"}
    assert (clean / "data/raw/mnist/t10k-images-idx3-ubyte.gz").is_file()


def test_the_readme_codes_a_picture_with_a_trained_model(clean: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(import pipeline\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 32, 3), np.uint8)).save(tmp_path / "picture.png")
    code = code.replace("picture.png", str(tmp_path / "picture.png"))
    output = shell(clean, sys.executable, "-c", f"{code}\nprint(picture.dtype, picture.shape)")
    assert output == "uint8 (48, 32, 3)\n"


def test_every_command_of_the_readme_is_run_here() -> None:
    tree = ast.parse(Path(__file__).read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert [command for command in readme_commands() if command not in texts] == []


# what is refused


def test_a_refused_plan_leaves_the_files_that_git_knows(clean: Path) -> None:
    output = shell(clean, *DVC, "exp", "run", "-S", "quantizer.num_codes=-3", status=None)
    assert "error: params.yaml: quantizer.num_codes is -3, but should be greater than 0." in output
    assert ran(output) == {"plan"}
    assert git_status(clean) == {" M params.yaml"}


@pytest.mark.parametrize("name", ["x$(touch pwned)", "x/../../../../evil"])
def test_a_name_reaches_neither_shell_nor_disk(name: str, clean: Path) -> None:
    change(clean, variants={name: {"quantizer": {"name": "vq"}}}, grid={"variants": ["vq", name]})
    output = shell(clean, *DVC, "repro", status=None)
    assert f"error: params.yaml: variants has {name!r}, but a name is a text of letters, digits and _." in output
    assert ran(output) == {"plan"}
    shell(clean, *DVC, "repro", "--single-item", f"train@photos-{name}", status=255)  # past the plan
    assert git_status(clean) == {" M params.yaml"}
    assert not list(clean.parent.glob("evil*"))


def test_what_dvc_does_not_explain_is_said_before_it(clean: Path, tmp_path: Path) -> None:
    change(clean, grid={"variants": "vq"})
    output = shell(clean, *PLAN, "--check", status=1)  # `make report` begins with it
    assert output == "error: params.yaml: grid.variants is 'vq', but should be a valid list (write [vq]).\n"
    shutil.copy(ROOT / "Makefile", tmp_path)
    output = shell(tmp_path, "env", f"GIT_CEILING_DIRECTORIES={tmp_path.parent}", "make", "repository", status=2)
    assert f"error: {tmp_path} is in no git repository, which DVC needs; run `git init` here first." in output


def test_data_cannot_be_written_through_to_the_cache(clean: Path) -> None:
    path = clean / "data/prepared/photos/train.npy"
    before = path.read_bytes()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(bytes(len(before)))
    output = shell(clean, *DVC, "repro", "train")
    assert ran(output) <= {"preprocess@photos"}  # at most; the cache has it
    assert path.read_bytes() == before
    assert git_status(clean) == set()


# what is added

QUANTIZER = '''
from pipeline.quantizers.vq import VQ


class Mine(VQ):
    """A codebook of my own."""

    title, meaning, colour = "My quantizer", "a codebook of my own", "#123456"
'''
DATASET = '''
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import SPLITS, Dataset, Source


class Dots(Dataset):
    """Noise."""

    source = Source(title="Dots: noise", url="https://example.org", licence="none", cite="nobody")
    image_shape = (8, 8)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        for seed, split in enumerate(SPLITS):
            images = np.random.default_rng(seed).integers(0, 256, (16, 8, 8, 1), np.uint8)
            np.save(folder / f"{split}.npy", images)
        return {}
'''
CLAIM = """- id: mine-has-few-codes
  claim: My quantizer uses few codes
  source: nowhere
  test: {kind: each_seed, measure: mine, variants: [mine], side: below, limit: 8}
"""
MEASURE = """    Measure("mine", "My measure", lambda m: 7.0, better="lower", split="test"),
"""


def test_what_is_added_touches_its_own_file_and_params(clean: Path) -> None:
    """A quantizer, a data set, a measure, a claim and a sweep; all of them reach the report by their names."""
    (clean / "pipeline/quantizers/mine.py").write_text(QUANTIZER)
    (clean / "pipeline/datasets/dots.py").write_text(DATASET)
    usage = clean / "pipeline/metrics/usage.py"
    usage.write_text(usage.read_text().replace("MEASURES = [\n", "MEASURES = [\n" + MEASURE))
    with (clean / "pipeline/papers/balance.yaml").open("a") as file:
        file.write(CLAIM)
    sweep = {"setting": "quantizer.num_codes", "values": [4, 8], "variants": ["mine"], "title": "My sweep"}
    change(clean, variants={"mine": {"quantizer": {"name": "mine"}}}, sweeps={"few": sweep})
    change(clean, grid={"datasets": ["dots"], "variants": ["mine"], "sweeps": ["mine_few_4", "mine_few_8"]})
    output = shell(clean, *DVC, "repro")
    rows = {"train@dots-mine", "evaluate@dots-mine"}
    rows |= {f"{stage}_sweep@dots-mine_few_{value}" for stage in ("train", "evaluate") for value in (4, 8)}
    assert ran(output) == {"plan", "download@dots", "preprocess@dots", "report"} | rows
    touched = {line[3:] for line in git_status(clean) if not re.match(r"reports/|dvc\.lock", line[3:])}
    source = {"quantizers/mine.py", "datasets/dots.py", "metrics/usage.py", "papers/balance.yaml"}
    assert touched == {"params.yaml", *(f"pipeline/{name}" for name in source)}
    report = (clean / "reports/report.md").read_text()
    names = ("My quantizer", "Dots", "My measure", "My sweep", "My quantizer uses few codes")
    assert [name for name in names if name not in report] == []
    verdicts = {one["claim"]: one["verdict"] for one in files.read_json(clean / "reports/decisions.json")}
    assert verdicts["mine-has-few-codes"] == "holds"
