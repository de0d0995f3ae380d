"""Where the host waits for a GPU in training: at every step, and once or some times in an epoch. All of it stands here.

A wait leaves the GPU idle until the host has sent more work. Tried on a CPU that pretends to be a GPU: see `pretend`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Collection

import pretend
import pytest
import tiny
import torch
from conftest import ROOT, make_quantizer
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline import quantizers
from pipeline.quantizers import search

STEP = {
    "quantizers.search": (
        "vq vq_ema kd adaptive",
        "the largest number decides on the arithmetic, and near-ties, as many as there are, are decided in float64",
    ),
    "quantizers.adaptive: Adaptive._train": ("adaptive", "only vectors of a codebook that was chosen move it"),
    "quantizers._library: LibraryEMA.call": (
        "rotation vq_ema_revive",
        "the library asks whether the codebook has begun, and whether there are codes to replace",
    ),
    "quantizers._library: _replace": ("vq_ema_revive", "as many latents are drawn as there are codes to replace"),
}
"""Module, or module and function → the quantizers that wait there at a step of training, and why."""

EPOCH = {
    "train.loop: Training.epoch": "the losses of all steps come to the host, and what was traced",
    "train.loop: Training.means": "no wait: the losses are on the host",
    "train.__main__: validate": "the mean error",
    "metrics.counting": "codes are counted on the host, batch by batch",
    "metrics.gradients": "numbers of one batch",
    "quantizers: Quantizer.statistics": "numbers for the history",
    "quantizers.adaptive: Adaptive.statistics": "numbers for the history",
    "quantizers.adaptive: Adaptive._evaluate": "in validation, as many vectors as have chosen a codebook",
    "quantizers.adaptive: Adaptive.decode": "likewise",
    "quantizers: all_finite": "in validation latents are looked at",
}
"""Likewise → why, at the end of an epoch or in validation."""


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """Quantizer → where it waits in a `step` of training, and where in an `epoch` besides.

    From a process where shapes are not checked: the checks themselves would be watched, which takes a minute.
    """
    root = tmp_path_factory.mktemp("project")
    tiny.prepare(root)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tests/pretend.py"), str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {name: {kind: set(places) for kind, places in kinds.items()} for name, kinds in found.items()}


def listed(place: str, places: Collection[str]) -> str:
    """The entry that a place belongs to: itself or its module; or itself where there is none."""
    module = place.partition(":")[0]
    return next((entry for entry in places if entry == place or f"{module}.".startswith(f"{entry}.")), place)


@pytest.mark.slow
@pytest.mark.xdist_group("waits")
@pytest.mark.parametrize("name", quantizers.names())
def test_every_wait_in_a_step_is_listed(name: str, waits: dict[str, dict[str, set[str]]]) -> None:
    """Where a line waits that need not, change the line; else say in `STEP` why it must."""
    expected = {place for place, (who, _) in STEP.items() if name in who.split()}
    assert {listed(place, STEP) for place in waits[name]["step"]} == expected


@pytest.mark.slow
@pytest.mark.xdist_group("waits")
def test_every_wait_in_an_epoch_is_listed(waits: dict[str, dict[str, set[str]]]) -> None:
    found = {listed(place, EPOCH) for kinds in waits.values() for place in kinds["epoch"]}
    assert found - {place for place in found if listed(place, STEP) in STEP} == set(EPOCH)


WAITING = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: 1 if x.any() else 0,
    "float": lambda x: float(x.sum()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "numpy": lambda x: x.numpy(),
    "mask": lambda x: x[x > 1],
    "into a mask": lambda x: x.masked_fill(x > 1, 0).index_put_((x > 1,), x[0]),
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "from the host": lambda x: torch.tensor([1.0], device=x.device),
    "repeated": lambda x: x.repeat_interleave(torch.zeros_like(x, dtype=torch.int64)),
}
NOT_WAITING = {
    "arithmetic": lambda x: x.add(1).sum(),
    "indices": lambda x: x[torch.zeros_like(x, dtype=torch.int64)],
    "where": lambda x: torch.where(x > 1, x, 0),
    "made there": lambda x: torch.zeros(3, device=x.device),
    "of known size": lambda x: x.repeat_interleave(torch.ones_like(x, dtype=torch.int64), output_size=4),
}


@pytest.mark.parametrize("kind", [*WAITING, *NOT_WAITING])
def test_the_pretended_gpu_sees_every_kind_of_wait(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretend, "PIPELINE", __file__)  # functions here count as the pipeline's
    numbers = torch.arange(4.0)
    with pretend.a_gpu() as waited:
        (WAITING | NOT_WAITING)[kind](numbers)
    assert bool(waited) == (kind in WAITING)


@pytest.mark.parametrize("name", quantizers.names())
@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_on_a_gpu_nothing_is_left_on_the_cpu(name: str, train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors on `cuda` have no values, but an operation on tensors of two devices fails, as there.

    What asks for values is answered: no code is to be replaced, and all codebooks were chosen. The backward
    pass needs a real device; `test_vq` tries it on `meta`. In a process of its own, since torch refuses a backward
    pass in the forks of one that has held such tensors, and other tests fork.
    """

    def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
        return vectors.new_zeros(len(vectors), dtype=torch.int64)

    monkeypatch.setattr(search, "nearest", nearest)
    monkeypatch.setattr(quantizers, "all_finite", lambda values: True)
    child = multiprocessing.get_context("fork").Process(target=check_devices, args=(make_quantizer(name).train(train),))
    child.start()
    child.join()
    assert child.exitcode == 0, "its traceback is among what was captured"


def check_devices(quantizer: quantizers.Quantizer) -> None:
    with FakeTensorMode(), pretend.Answers():
        pretend.to_gpu(quantizer)
        z = torch.empty(2, 4, 3, 5, device="cuda", requires_grad=True)
        out = quantizer(z)
        decoded = quantizer.decode(out.codes)
        assert {out.z.device.type, out.codes.device.type, decoded.device.type} == {"cuda"}
        for value in (*out.losses.values(), *quantizer.trace().values()):
            assert value.device.type == "cuda"
