"""The real dvc.yaml on a tiny grid in a repository of its own: what runs, what does not, and what is left behind."""

from __future__ import annotations

import ast
import re
import shutil
import signal
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
from project import (
    DVC,
    QUANTIZER,
    VARIANTS,
    WAITS,
    both,
    change,
    copied,
    first_run,
    git_status,
    quantizer_that,
    ran,
    shell,
    start,
)

from pipeline.core import files

pytestmark = pytest.mark.slow
PLAN = [sys.executable, "-m", "pipeline.plan"]
RUN = [sys.executable, "-m", "pipeline.run", "--jobs", "2"]


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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return first_run(tmp_path_factory)


@pytest.fixture
def clean(project: Path, tmp_path: Path) -> Path:
    """The project as first run, a copy for each test."""
    return copied(project, tmp_path / "project")


def test_again_it_does_nothing_and_git_is_clean(clean: Path) -> None:
    output = shell(clean, *DVC, "repro")
    assert ran(output) == set()
    assert "up to date" in output
    assert git_status(clean) == set()


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
    assert not re.search(r"photos\.lattice_dense\.", changes)
    readme(clean, "python -m pipeline.report --against HEAD")
    compared = (clean / "reports/compared.md").read_text(encoding="utf-8")
    assert re.search(r"`quantizer.gamma` +\| 1.0 +\| -1.0 +\| photos-lattice +\|", compared)
    assert "0 of 31 verdicts that both have differ." in compared
    assert "workspace" in readme(clean, "dvc exp show")


def test_a_smaller_grid_trains_nothing(clean: Path) -> None:
    output = readme(clean, "dvc exp run -S 'grid.variants=[vq,lattice]'", **{"vq,lattice": "lattice"})
    assert ran(output) == {"plan", "report"}
    assert files.read_json(clean / "reports/metrics.json")["photos"].keys() == {"lattice"}


def test_a_parameter_of_the_data_set_has_its_effect_and_one_that_no_row_takes_is_told(clean: Path) -> None:
    change(clean, grid={"variants": ["lattice"]})
    output = readme(clean, "dvc exp run -S train.lr=1e-5 -S datasets.photos.train.epochs=1")
    assert ran(output) == {"plan", "report"} | both("lattice")
    assert "params.yaml: no row takes train.epochs, since datasets.photos states its own." in output
    train = files.read_yaml(clean / "reports/settings/photos-lattice.yaml")["train"]
    assert (train["lr"], train["epochs"]) == (1e-5, 1)
    assert len((clean / "reports/history/photos-lattice.csv").read_text().splitlines()) == 1 + 1


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

    def measured() -> list[list[dict[str, Any]]]:
        timed = re.compile("seconds|peak_memory_mb")
        runs = [files.read_json(clean / f"reports/runs/photos-{variant}.json")["seeds"] for variant in VARIANTS]
        return [[{key: x for key, x in seed.items() if not timed.search(key)} for seed in seeds] for seeds in runs]

    before = weights(), measured(), recorded()
    forget(clean)
    assert "\n2 of 2 rows done\n" in readme(clean, "make report")
    assert (weights(), measured(), recorded()) == before
    assert "seed 0: test MSE" in (clean / "reports/logs/photos-lattice.log").read_text()
    after = (clean / "dvc.lock").read_bytes()
    files.remove(clean / "reports/logs")
    assert readme(clean, "make report JOBS=1").endswith(
        "2 of 2 rows done\nOpen reports/report.html, or read reports/report.md.\n"
    )
    assert ran_side_by_side(clean) == set()
    (clean / "dvc.lock").unlink()
    assert ran(shell(clean, *DVC, "repro")) == {"plan", "report"}  # which have no run-cache
    assert (clean / "dvc.lock").read_bytes() == after


def test_a_run_goes_on_after_it_was_stopped_or_killed_or_a_row_failed(clean: Path) -> None:
    """Stopped or killed, it leaves no process; a row that fails stops no other and is named."""
    change(clean, variants={"mine": {"quantizer": {"name": "mine"}}}, grid={"variants": ["mine"], "seeds": [0, 1]})
    quantizer_that(clean, WAITS)
    (clean / "wait").touch()
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 1)):
        run = start(clean, *RUN)
        while len(list(clean.glob("waits-*"))) < 2:  # a process for each seed
            assert run.poll() is None
            time.sleep(0.1)
        processes = psutil.Process(run.pid).children(recursive=True)
        assert {int(path.name.removeprefix("waits-")) for path in clean.glob("waits-*")} < {p.pid for p in processes}
        if number == signal.SIGINT:
            assert f"(PID {run.pid})" in shell(clean, *DVC, "repro", status=255)
        run.send_signal(number)
        output, _ = run.communicate()
        assert run.returncode == status
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            time.sleep(0.1)
        for path in clean.glob("waits-*"):
            path.unlink()
    assert output.endswith("stopped; run the same command again to go on.\n")

    change(clean, model={"dim": 5}, grid={"variants": ["mine", "vq"], "seeds": [0]})
    quantizer_that(clean, 'raise RuntimeError("not today")')
    lock = zc.lockfile.LockFile(str(clean / ".dvc/tmp/lock"))
    run = start(clean, *RUN)
    assert run.stdout is not None
    assert run.stdout.readline() == "waiting for another DVC command in this folder\n"
    lock.close()
    output, _ = run.communicate()
    assert run.returncode == 1, output
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


def test_a_row_that_several_processes_trained_is_recorded(clean: Path) -> None:
    """As one that DVC trained: only what depends on it runs again."""
    files.remove(clean / "models/photos-lattice")
    shell(clean, "torchrun", "--standalone", "--nproc-per-node", "2", "-m", "pipeline.train", "photos-lattice")
    shell(clean, *DVC, "commit", "--force", "train@photos-lattice")
    assert files.read_json(clean / "models/photos-lattice/about.json")["environment"]["processes"] == 2
    assert ran(shell(clean, *DVC, "repro", "evaluate")) == {"evaluate@photos-lattice"}


def test_what_was_cut_short_is_mended(clean: Path) -> None:
    """By git, a kill or a full disk: dvc.lock, DVC's note of what is busy, an object of its cache."""
    lock, busy = clean / "dvc.lock", clean / ".dvc/tmp/rwlock"
    before = lock.read_bytes()
    lock.write_bytes(b"<<<<<<< HEAD\n" + before)
    busy.write_text("")
    history = clean / "reports/history/photos-lattice.csv"
    md5 = files.digest(history, "md5")
    cached = clean / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    cached.chmod(0o644)
    cached.write_bytes(b"")
    output = shell(clean, *RUN)
    assert output.startswith("dvc.lock is damaged and removed; what it recorded comes from the cache, or runs again.\n")
    assert "2 of 2 rows done" in output
    assert ran(shell(clean, *DVC, "repro")) == set()
    assert lock.read_text().count("photos-lattice.csv") == before.decode().count("photos-lattice.csv")


def test_make_test_runs_all_tests_and_test_fast_the_quick_ones(clean: Path) -> None:
    assert "make test" in readme_commands()
    fast, full = (shell(clean, "make", "--dry-run", target) for target in ("test-fast", "test"))
    assert "not slow" in fast
    assert "not slow" not in full
    assert all(tool in full for tool in ("ruff check", "mypy", "pytest"))


def test_make_full_trains_the_full_grid_and_make_sweeps_the_rows_of_those_named_or_of_all(clean: Path) -> None:
    readme(clean, ". .venv/bin/activate")
    gamma, init, codes = "photos-lattice_gamma_0_5", "photos-lattice_init_5", "photos-vq_codes_8"
    stages = {
        row: {f"pipeline.{one} {row}" for one in ("train", "evaluate")} for row in ("photos-vq", gamma, init, codes)
    }
    files.remove(clean / "reports/logs")
    assert "1 of 1 rows done" in readme(clean, "make full")
    assert ran_side_by_side(clean) == {"pipeline.plan"} | stages["photos-vq"]
    assert [seed["seed"] for seed in files.read_json(clean / "reports/runs/photos-vq.json")["seeds"]] == [0, 1]
    readme(clean, "git checkout params.yaml")
    readme(clean, 'make sweeps SWEEPS="gamma init"')
    assert ran_side_by_side(clean) == {"pipeline.plan"} | stages[gamma] | stages[init]  # the grid's are there
    assert files.read_json(clean / f"reports/runs/{gamma}.json")["settings"]["train"]["epochs"] == 3
    readme(clean, "make sweeps")
    assert ran_side_by_side(clean) == {"pipeline.plan"} | stages[codes]
    report = (clean / "reports/report.md").read_text()
    assert all(f"settings/{row}.yaml" in report for row in (gamma, init, codes))


def test_other_data_sets_come_from_a_mirror(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    settings = made_sources.mnist(tmp_path / "mnist", np.random.default_rng(0))
    change(clean, grid={"variants": ["vq"]}, datasets={"mnist": {"data": settings}})
    command, one = "dvc exp run -S 'grid.datasets=[mnist,fashion_mnist]'", {"mnist,fashion_mnist": "mnist"}
    from_mirror = "VQ_MIRROR=/path/to/mirror dvc exp run -S 'grid.datasets=[mnist,fashion_mnist]'"
    output = readme(clean, from_mirror, **one, **{"/path/to/mirror": str(tmp_path)})
    stages = {f"{stage}@mnist" for stage in ("download", "preprocess")}
    assert ran(output) == {"plan", "report", "train@mnist-vq", "evaluate@mnist-vq"} | stages
    change(clean, data={"mirror": str(tmp_path)})
    shutil.rmtree(clean / "data/raw/mnist")
    assert ran(readme(clean, command, **one)) <= {"plan", "download@mnist"}
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


def test_a_refused_name_reaches_neither_shell_nor_disk_and_what_git_knows_stays(clean: Path) -> None:
    name = "x$(touch pwned)/../../../../evil"
    change(clean, variants={name: {"quantizer": {"name": "vq"}}}, grid={"variants": ["lattice", name]})
    output = shell(clean, *DVC, "repro", status=255)
    assert f"error: params.yaml: variants has {name!r}, but a name is a text of letters, digits and _." in output
    assert ran(output) == {"plan"}
    assert git_status(clean) == {" M params.yaml"}  # the settings files of the rows, too
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
CLAIM = """- id: mine-is-not-perfect
  claim: My quantizer is not perfect
  source: nowhere
  test: {kind: each_seed, measure: worst_mse, variants: [mine], side: above, limit: 0}
"""
MEASURE = """
from pipeline.metrics import Measure

MEASURES = [
    Measure("worst_mse", "MSE of the worst image", lambda m: m.errors["test"].max().item(), split="test"),
]
"""


def test_what_is_added_is_a_file_of_its_own_or_an_entry(clean: Path) -> None:
    """A quantizer, a data set, a measure, a claim and a sweep; all of them reach the report by their names."""
    (clean / "pipeline/quantizers/mine.py").write_text(QUANTIZER)
    (clean / "pipeline/datasets/dots.py").write_text(DATASET)
    (clean / "pipeline/metrics/worst.py").write_text(MEASURE)
    with (clean / "pipeline/papers/balance.yaml").open("a") as file:
        file.write(CLAIM)
    sweep = {"setting": "quantizer.num_codes", "values": [4], "variants": ["mine"], "title": "My sweep"}
    change(clean, variants={"mine": {"quantizer": {"name": "mine"}}}, sweeps={"few": sweep})
    change(clean, grid={"datasets": ["dots"], "variants": ["mine"], "sweeps": ["mine_few_4"]})
    files.remove(clean / "reports/logs")
    shell(clean, *RUN)
    stages = {f"pipeline.{stage} dots-{row}" for stage in ("train", "evaluate") for row in ("mine", "mine_few_4")}
    assert ran_side_by_side(clean) == {"pipeline.plan", "pipeline.preprocess dots"} | stages
    touched = {line[3:] for line in git_status(clean) if not re.match(r"reports/|dvc\.lock", line[3:])}
    added = {"quantizers/mine.py", "datasets/dots.py", "metrics/worst.py", "papers/balance.yaml"}
    assert touched == {"params.yaml", *(f"pipeline/{name}" for name in added)}
    (numbers,) = files.read_json(clean / "reports/runs/dots-mine.json")["seeds"]
    assert numbers["worst_mse"] > numbers["test_mse"]
    report = (clean / "reports/report.md").read_text()
    names = ("My quantizer", "Dots", "MSE of the worst image", "My sweep", "My quantizer is not perfect")
    assert [name for name in names if name not in report] == []
    verdicts = {one["claim"]: one["verdict"] for one in files.read_json(clean / "reports/decisions.json")}
    assert verdicts["mine-is-not-perfect"] == "holds"
