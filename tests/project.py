"""A repository of its own with the real dvc.yaml and a tiny grid, and what a user does in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from filelock import FileLock
from ruamel.yaml import YAML

DVC = [sys.executable, "-m", "dvc"]
VARIANTS = ["lattice", "lattice_dense"]
SWEEPS = {
    "gamma": {"setting": "quantizer.gamma", "values": [0.5], "variants": ["lattice"], "train": {"epochs": 3}},
    "init": {"setting": "quantizer.init", "values": [5.0], "variants": ["lattice"], "train": {"epochs": 1}},
    "codes": {"setting": "quantizer.num_codes", "values": [8], "variants": ["vq"], "train": {"epochs": 1}},
}
QUANTIZER = '''
from pipeline.quantizers.vq import VQ


class Mine(VQ):
    """A codebook of my own."""

    title, meaning, colour = "My quantizer", "a codebook of my own", "#123456"
'''
WAITS = """import os, pathlib, time
        while pathlib.Path("wait").exists():
            pathlib.Path(f"waits-{os.getpid()}").touch()
            time.sleep(0.1)"""
"""As a statement: waits while there is a file `wait`, and says who does."""


def make_project(folder: Path) -> Path:
    """Fill an empty folder with a new repository of the files of this one and a tiny grid; nothing has run yet."""
    listed = shell(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not re.match(r"(reports/(?!benchmark)|tests/|dvc\.lock)", name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    virtual_environment(folder / ".venv")
    drop_sweeps(folder)
    change(
        folder,
        grid={"datasets": ["photos"], "variants": VARIANTS, "seeds": [0]},
        full={"datasets": ["photos"], "variants": ["vq"], "seeds": [0, 1]},
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
    return folder


def first_run(factory: pytest.TempPathFactory) -> Path:
    """A project after `dvc repro`, with everything in git: one for all tests, which do not change it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "first_run"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            output = shell(make_project(folder), *DVC, "repro")
            assert ran(output) == {"plan", "download@photos", "preprocess@photos", "report"} | both(*VARIANTS)
            commit(folder, "first run")
    return folder


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to, symlinks=True))


def virtual_environment(folder: Path) -> None:
    """What `make` takes for installed: an environment with the packages of the one that runs the tests."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    (folder / "installed").touch()


def quantizer_that(folder: Path, statement: str) -> None:
    """A quantizer of one's own, `mine`, with a statement in each step."""
    method = f"    def nearest(self, v):\n        {statement}\n        return super().nearest(v)\n"
    (folder / "pipeline/quantizers/mine.py").write_text(QUANTIZER + "\n" + method)


def shell(folder: Path, *words: str, status: int | None = 0, **variables: str) -> str:
    """Run a command as a user would, in a new process; gives all that it printed."""
    process = start(folder, *words, **variables)
    output, _ = process.communicate()
    assert status is None or process.returncode == status, output
    return output


def start(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    ours = ("GIT_", "DVC_", "VQ_", "CI", "MAKE", "MFLAGS", "PYTHON")  # a user's shell has none of these
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment["DVC_SITE_CACHE_DIR"] = str(folder / ".dvc/tmp/site")  # else DVC leaves files under /var/tmp
    environment |= variables
    return subprocess.Popen(
        words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


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
