"""A measure that somebody adds as one entry of one file stands in the report with its title."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from pipeline.core import files
from pipeline.core.paths import Paths

MEASURE = """
from pipeline.metrics import Measure

MEASURES = [
    Measure("worst_mse", "MSE of the worst image", lambda m: m.errors["test"].max().item(), split="test"),
]
"""
STAGES = """
import runpy, sys

for command in ("plan", "download photos", "preprocess photos", "train photos-vq", "evaluate photos-vq", "report"):
    sys.argv = command.split()
    runpy.run_module(f"pipeline.{sys.argv[0]}", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_new_measure_is_one_entry_in_one_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pipeline/metrics/worst.py").write_text(MEASURE, encoding="utf-8")
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["grid"] |= {"datasets": ["photos"], "variants": ["vq"], "seeds": [0]}
    params["model"] |= {"dim": 4, "hidden": [4], "residual_blocks": 1}
    params["train"]["epochs"] = 1
    params["datasets"]["photos"] = {"data": {"train": 40, "val": 20, "test": 20}}
    yaml.dump(params, tmp_path / "params.yaml")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", STAGES]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    paths = Paths(tmp_path)
    numbers = files.read_json(paths.measured("photos-vq"))["seeds"][0]
    assert numbers["worst_mse"] > numbers["test_mse"]
    assert "MSE of the worst image" in paths.report.read_text(encoding="utf-8")
