"""One row trained by several processes: the numbers of one process, whatever fails ends all, and process 0 writes.

Tried with gloo on a CPU; NCCL needs GPUs.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tiny
import together
import torch
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from pipeline import evaluate
from pipeline.core import devices, files, ranks
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.train import __main__ as train
from pipeline.train.loop import Training

LIMIT = 600  # seconds: against a hang, not for a slow machine


def torchrun(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Two processes, in the project `root`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        launcher, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT
    )


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, Paths]:
    """Every case of `together`, trained by one process and by two; the two go on with a row that one has begun."""
    one, two = (tiny.prepare(tmp_path_factory.mktemp(name)) for name in ("one", "two"))
    together.train_all(one)
    keep = train._keep

    def keep_and_stop(checkpoint: Path, training: Training) -> None:
        keep(checkpoint, training)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "_keep", keep_and_stop)
        train.train_row("photos-resumed", together.settings("resumed"), two)
    done = torchrun(two.root, str(ROOT / "tests/together.py"), ".")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("photos-resumed seed 0: going on after epoch 1") == 1
    assert done.stderr.count("photos-vq seed 0: epoch 2 of 2") == 1, "process 0 alone should log"
    return one, two


@pytest.mark.slow
@pytest.mark.xdist_group("ranks")
@pytest.mark.parametrize("case", together.CASES)
def test_one_and_two_processes_train_the_same_model(case: str, one_and_two: tuple[Paths, Paths]) -> None:
    """All weights, averages and counts, all that the history and the trace say, but for rounding; codes exactly.

    A quantizer that fails here takes a mean, a sum or a random number over one process's part of the batch: see
    `pipeline.core.ranks`.
    """
    row = f"photos-{case}"
    (one, alone, trace), (two, together_, traced) = (
        (
            load_file(paths.weights(row, 0)),
            pd.read_csv(paths.history(row)).drop(columns="seconds"),
            pd.DataFrame(files.read_json(paths.model(row) / "about.json")["trace"]),
        )
        for paths in one_and_two
    )
    for name, value in one.items():
        value, other = value.double(), two[name].double()
        size = value.abs().max().item() if value.numel() else 0.0
        assert (other - value).abs().le(2e-4 * size).all(), f"{case}: {name}: {other} by two, {value} by one"
    assert together_["val_codes"].tolist() == alone["val_codes"].tolist()
    pd.testing.assert_frame_equal(together_, alone, rtol=1e-5)
    pd.testing.assert_frame_equal(traced, trace, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.xdist_group("ranks")
def test_a_row_says_by_how_many_processes_it_was_trained(one_and_two: tuple[Paths, Paths]) -> None:
    about = [files.read_json(paths.model("photos-vq") / "about.json") for paths in one_and_two]
    assert [content["environment"]["processes"] for content in about] == [1, 2]
    settings = [files.read_yaml(paths.model("photos-vq") / "settings.yaml") for paths in one_and_two]
    assert settings[0] == settings[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("diverges", "error: photos-vq, seed 0, epoch 1, step 2: the loss is no longer finite; "),
        ("is killed", "error: another process of this training is gone, perhaps killed for want of memory, or "),
    ],
)
def test_where_one_process_fails_all_end_and_one_sentence_says_why(fault: str, sentence: str, tmp_path: Path) -> None:
    paths = tiny.prepare(tmp_path)
    done = torchrun(tmp_path, str(ROOT / "tests/together.py"), ".", fault)
    assert done.returncode != 0
    ours = [line[: len(sentence)] for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert ours == [sentence], done.stderr
    assert "[rank" not in done.stderr, "torch marks tracebacks of processes so"
    assert not paths.model("photos-vq").exists()
    assert not paths.history("photos-vq").exists()


@given(images=st.integers(1, 300), processes=st.integers(1, 17))
def test_parts_are_the_batch_or_all_of_it(images: int, processes: int) -> None:
    parts, weights = [], []
    for index in range(processes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranks, "count", lambda: processes)
            patch.setattr(ranks, "index", lambda index=index: index)
            parts.append(list(range(images))[ranks.part(images)])
            with ranks.batch(images):
                weights.append(ranks.weight() / processes)
                rows = torch.arange(2 * images)
                assert ranks.own(rows).tolist() == [row for image in parts[-1] for row in (2 * image, 2 * image + 1)]
                placed = ranks.whole(ranks.own(rows))
                assert torch.equal(ranks.own(placed), ranks.own(rows))
                assert len(placed) == len(rows)
    assert sum(weights) == pytest.approx(1)
    if images < processes:
        assert parts == [list(range(images))] * processes
    else:
        assert list(itertools.chain(*parts)) == list(range(images))
        assert all(parts)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "count", lambda: 3)
    monkeypatch.setattr(ranks, "local", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices.choose("auto") == devices.choose("cuda") == torch.device("cuda:2")
    assert devices.choose("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="train.device is cuda:1, but 3 processes train this row; give auto or cuda"):
        devices.choose("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="train.device is cuda:2, but 2 GPUs are here"):
        devices.choose("auto")


def test_more_processes_than_images_in_a_batch_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "count", lambda: 16)
    with pytest.raises(UserError, match="train.batch_size is 8, but 16 processes share every batch; start at most as"):
        train.train_row("photos-vq", tiny.settings("vq"), Paths(tmp_path))


def test_evaluation_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["pipeline.evaluate", "photos-vq"])
    with pytest.raises(UserError, match="^evaluation is one process, not 2: run `python -m pipeline.eval"):
        evaluate.main()
