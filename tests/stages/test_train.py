"""Training: reproducible, resumable, one at a time, and never silently wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from filelock import FileLock
from safetensors.torch import load_file

from pipeline import autoencoder, evaluate, train
from pipeline.core import devices, files, parallel, paths
from pipeline.core.errors import UserError
from pipeline.datasets.io.batches import Images
from pipeline.plan import config

MEASURING = {"batch_size": 64, "pictures": 2, "moving_batches": 3, "counting_memory": 10}
Project = Callable[..., dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A folder with a prepared data set of 40 images of 8×8; the function plans a row there."""
    monkeypatch.chdir(tmp_path)
    prepared = tmp_path / "data/prepared/photos"
    prepared.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 10), ("test", 12)):
        np.save(prepared / f"{split}.npy", rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8))
    files.write_yaml(prepared / "about.yaml", {"offset": 0.0})
    params = config.read_params(ROOT / "params.yaml")
    params["model"] |= {"dim": 4, "hidden": [8], "residual_blocks": 1}
    params["train"] |= {"epochs": 3, "batch_size": 8}
    params["quantizer"]["num_codes"] = 16
    params["datasets"] = {}

    def plan(variant: str, seeds: tuple[int, ...] = (0,), **options: Any) -> dict[str, Any]:
        row = config.row(params, "photos", variant, list(seeds))
        settings = {**vars(row), "train": {**row.train, **options}}
        files.write_yaml(Path("reports/settings") / f"{row.name}.yaml", settings)
        return settings

    return plan


def outputs(row: str) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    history = pd.read_csv(f"reports/history/{row}.csv").drop(columns="seconds")
    return load_file(f"models/{row}/seed-0.safetensors"), history


def same(
    one: tuple[dict[str, torch.Tensor], pd.DataFrame], other: tuple[dict[str, torch.Tensor], pd.DataFrame]
) -> bool:
    weights = all(torch.equal(one[0][key], other[0][key]) for key in one[0])
    return weights and one[0].keys() == other[0].keys() and one[1].equals(other[1])


@pytest.mark.parametrize("variant", ["vq", "vq_ema", "lattice"])
def test_the_same_settings_give_the_same_numbers(project: Project, variant: str) -> None:
    settings, row = project(variant), f"photos-{variant}"
    train.train_row(row, settings)
    first = outputs(row)
    train.train_row(row, settings)
    assert same(first, outputs(row))
    assert not list(Path(".checkpoints").glob("*/*.pt"))


@pytest.mark.parametrize("variant", ["vq_ema", "lattice_corrected"])
def test_a_killed_training_goes_on_from_its_last_epoch(
    project: Project, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, row = project(variant, seeds=(0, 1)), f"photos-{variant}"
    train.train_row(row, settings)
    whole = outputs(row)
    seen: list[tuple[int, int]] = []
    epoch = train.Training.epoch

    def dies_in_the_second_seed(self: train.Training, *data: Any) -> dict[str, float]:
        if seen and seen[-1] == (1, 1):
            raise KeyboardInterrupt
        seen.append((self.seed, len(self.history) + 1))
        return epoch(self, *data)

    files.remove(Path("models"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Training, "epoch", dies_in_the_second_seed)
        train.train_row(row, settings)
    assert seen == [(0, 1), (0, 2), (0, 3), (1, 1)]
    assert not Path("models").exists() or not list(Path("models").iterdir())
    again: list[tuple[int, int]] = []
    monkeypatch.setattr(
        train.Training,
        "epoch",
        lambda self, *data: again.append((self.seed, len(self.history) + 1)) or epoch(self, *data),
    )
    train.train_row(row, settings)
    assert again == [(1, 2), (1, 3)]
    assert same(whole, outputs(row))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_killed_outright_loses_nothing_finished(project: Project, processes: int) -> None:
    """SIGKILL while it trains; the same command then gives what an undisturbed training gives."""
    settings = project("vq_ema_corrected", epochs=60, seeds=(0, 1)[:processes])
    command = [sys.executable, "-m", "pipeline.train", "photos-vq_ema_corrected"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(processes)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not list(Path(".checkpoints").glob("*/seed-0.pt")):
        assert process.poll() is None, "it ended before its first epoch was kept"
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not Path("models").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "going on after epoch" in done.stderr
    resumed = outputs("photos-vq_ema_corrected")
    train.train_row("photos-vq_ema_corrected", settings)
    assert same(resumed, outputs("photos-vq_ema_corrected"))


def test_seeds_side_by_side_give_the_numbers_of_one_by_one(project: Project) -> None:
    settings, row = project("vq_ema_corrected", seeds=(0, 1, 2)), "photos-vq_ema_corrected"
    train.train_row(row, settings)
    evaluate.evaluate_row(row, settings, MEASURING)
    alone = outputs(row), files.read_json(Path(f"reports/runs/{row}.json"))
    torch.set_num_threads(2)  # two processes of one thread each
    train.train_row(row, settings)
    evaluate.evaluate_row(row, settings, MEASURING)
    together = outputs(row), files.read_json(Path(f"reports/runs/{row}.json"))
    assert same(alone[0], together[0])
    assert (alone[1]["environment"].pop("seeds_at_a_time"), together[1]["environment"]["seeds_at_a_time"]) == (1, 2)
    assert together[1]["environment"]["threads"] == 1
    timed = ("seconds", "seconds_per_epoch", "counting_seconds", "peak_memory_mb")
    for one, other in zip(alone[1]["seeds"], together[1]["seeds"], strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {k: v for k, v in other.items() if k not in timed}


def test_a_seed_that_fails_stops_the_others(project: Project) -> None:
    torch.set_num_threads(2)
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        parallel.parallel_map(_fails_or_waits, [60, 0], torch.device("cpu"))
    assert time.monotonic() - start < 30
    with pytest.raises(UserError, match="one of 2 processes was killed"):
        parallel.parallel_map(_is_killed, [0, 1], torch.device("cpu"))
    assert parallel.parallel_map(str, [3, 1, 2], torch.device("cpu")) == ["3", "1", "2"]


def _fails_or_waits(seconds: int) -> None:
    _ = 1 / seconds
    time.sleep(seconds)


def _is_killed(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_trace_follows_the_spacing_within_an_epoch(project: Project) -> None:
    settings = project("lattice_ramp", epochs=2, lr_decay=1.0)
    train.train_row("photos-lattice_ramp", settings)
    trace = files.read_json(Path("models/photos-lattice_ramp/about.json"))["trace"]
    assert [(point["seed"], point["step"]) for point in trace] == [(0, step) for step in range(11)]
    before = autoencoder.build(settings, (3, 8, 8), 0).quantizer.spacing.detach().abs()
    for point in trace:
        assert point["spacing_mean"] == pytest.approx(before.mean().item() + 1e-3 * point["step"], rel=1e-5)
        assert point["spacing_min"] == pytest.approx(before.min().item() + 1e-3 * point["step"], rel=1e-4)
        assert point["spacing_max"] == pytest.approx(before.max().item() + 1e-3 * point["step"], rel=1e-5)


def test_other_settings_do_not_take_up_an_unfinished_training(project: Project) -> None:
    one, other = project("vq"), project("vq", lr=2e-3)
    prepared = Path("data/prepared/photos")
    assert train._fingerprint(one, prepared) != train._fingerprint(other, prepared)
    assert train._fingerprint(one, prepared) == train._fingerprint(project("vq"), prepared)


def test_learning_stops_after_the_first_epoch_as_published(project: Project) -> None:
    train.train_row("photos-lattice", project("lattice"))
    history = outputs("photos-lattice")[1]
    assert history["lr"].tolist() == [1e-3, 0, 0]
    assert history["val_mse"].nunique() == 1
    train.train_row("photos-vq_ema", project("vq_ema"))
    assert outputs("photos-vq_ema")[1]["val_mse"].nunique() == 3  # its codebook moves on
    train.train_row("photos-lattice_corrected", project("lattice_corrected"))
    history = outputs("photos-lattice_corrected")[1]
    assert history["lr"].tolist() == [1e-3] * 3
    assert history["val_mse"].nunique() == 3


@pytest.mark.parametrize("variant", ["vq", "vq_ema", "lattice"])
def test_what_a_rate_of_zero_discards_changes_no_number(
    project: Project, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, ran = f"photos-{variant}", []
    epoch = train.Training.epoch
    monkeypatch.setattr(train.Training, "epoch", lambda self, *data: ran.append(1) or epoch(self, *data))
    train.train_row(row, project(variant, idle_gradients=True, epochs=5))
    full = outputs(row)
    assert len(ran) == 5
    train.train_row(row, project(variant, idle_gradients=False, epochs=5))
    short = outputs(row)
    assert len(ran) - 5 == (5 if variant == "vq_ema" else 2)  # the moving average moves on
    assert all(torch.equal(full[0][key], short[0][key]) for key in full[0])
    pd.testing.assert_frame_equal(full[1], short[1], rtol=1e-6)


def test_the_ramp_grows_by_the_learning_rate_and_the_frozen_stays(project: Project) -> None:
    for variant, growth in (("lattice_ramp", 5 * 1e-3), ("lattice_frozen", 0.0)):
        settings = project(variant)
        before = autoencoder.build(settings, (3, 8, 8), 0).quantizer.spacing.detach()
        train.train_row(f"photos-{variant}", settings)
        after = outputs(f"photos-{variant}")[0]["quantizer.spacing"]
        torch.testing.assert_close(after - before, growth * before.sign(), rtol=1e-3, atol=1e-6)


def test_one_seed_starts_all_variants_from_one_encoder(project: Project) -> None:
    starts = [autoencoder.build(project(variant), (3, 8, 8), 5) for variant in ("vq", "vq_ema", "lattice_dense")]
    for other in starts[1:]:
        for key, value in starts[0].encoder.state_dict().items():
            assert torch.equal(value, other.encoder.state_dict()[key])
        assert torch.equal(starts[0].decoder[0].weight, other.decoder[0].weight)


COMPILED = """
import torch
from pipeline import train
from pipeline.core import paths

row, images = "photos-%s", torch.rand(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
found = []
for compiled in (False, True):
    settings = paths.read_settings(row)
    settings["train"]["compile"] = compiled
    training = train.Training(row, settings, 0, (3, 8, 8), torch.device("cpu"))
    assert (training.network is training.model) != compiled
    terms = training.step(images, 1, 1)
    found.append((terms, {name: parameter.grad for name, parameter in training.model.named_parameters()}))
torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-7)
assert all(gradient.any() for gradient in found[1][1].values())
training.model.encoder[0].bias.data.fill_(float("nan"))
try:
    training.step(images, 1, 2)
except UserError as refusal:
    assert "the loss is no longer finite" in str(refusal)
else:
    raise AssertionError("a loss that is not finite was not seen")
"""


@pytest.mark.skipif(shutil.which(autoencoder.CXX) is None, reason="torch.compile needs a compiler")
@pytest.mark.parametrize("variant", ["vq_corrected", "lattice_corrected"])
def test_a_compiled_step_is_the_step_but_for_rounding(project: Project, variant: str) -> None:
    """In a process where shapes are not checked: the compiler cannot follow the checks."""
    project(variant)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMPILED % variant]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_missing_compiler_is_said_before_anything_is_trained(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = project("vq", compile=True)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"train\.compile is true, but no-such-compiler, the compiler that"):
        train.Training("photos-vq", settings, 0, (3, 8, 8), torch.device("cpu"))


def test_a_loss_that_is_not_finite_names_where(project: Project) -> None:
    settings = project("vq_corrected", lr=1e20)
    with pytest.raises(UserError, match=r"photos-vq_corrected, seed 0, epoch 1, step \d: the loss is no longer finite"):
        train.train_row("photos-vq_corrected", settings)
    assert not Path("models/photos-vq_corrected").exists()
    assert not Path("reports/history").exists()


def test_a_codebook_that_is_not_finite_names_where(project: Project) -> None:
    """On a GPU, where the latents are not looked at, the search would be the first to see them, too."""
    training = train.Training("photos-vq", project("vq"), 3, (3, 8, 8), torch.device("cpu"))
    training.model.quantizer.codebook.data[0] = float("nan")
    with pytest.raises(UserError, match="photos-vq, seed 3, epoch 1, step 2: the loss is no longer finite"):
        training.step(torch.zeros(2, 3, 8, 8), 1, 2)


def test_a_warm_up_changes_no_number(project: Project, tmp_path: Path) -> None:
    settings = project("adaptive", epochs=1)
    images = [Images(train.PREPARED / "photos", split, torch.device("cpu")) for split in ("train", "val")]
    found = []
    for warm in (False, True):
        if warm:
            train.warm_up("photos-adaptive", settings, 0, images[0])
        training = train.Training("photos-adaptive", settings, 0, images[0].shape, torch.device("cpu"))
        training.run(*images, tmp_path / f"{warm}.pt")
        found.append(training.model.state_dict())
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_a_step_leaves_no_graph_behind(project: Project) -> None:
    """At a learning rate of 0 there is no backward pass that would free it, and the next step would hold two."""
    settings = project("vq", idle_gradients=False)
    training = train.Training("photos-vq", settings, 0, (3, 8, 8), torch.device("cpu"))
    training.step(torch.zeros(2, 3, 8, 8), 1, 1)
    training.schedule.step()
    assert not any(term.requires_grad for term in training.step(torch.zeros(2, 3, 8, 8), 2, 1).values())


def test_the_step_that_broke_is_named_when_the_host_looks_late(project: Project) -> None:
    training = train.Training("photos-vq", project("vq"), 3, (3, 8, 8), torch.device("cpu"))
    record = torch.tensor([[1.0, 2.0], [1.0, float("nan")], [float("inf"), 0.0]])
    with pytest.raises(UserError, match="photos-vq, seed 3, epoch 2, step 2: "):
        training.means(record, [8, 8, 8], 2)
    assert training.means(record[:1].repeat(2, 1), [8, 4], 1) == [1.0, 2.0]


def test_epoch_means_weigh_the_last_smaller_batch_by_its_images(project: Project) -> None:
    training = train.Training("photos-vq", project("vq"), 0, (3, 8, 8), torch.device("cpu"))
    assert training.means(torch.tensor([[1.0], [4.0]]), [8, 4], 1) == [2.0]


def test_two_trainings_of_one_row_cannot_run_at_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project("vq")
    monkeypatch.setattr("sys.argv", ["train", "photos-vq"])
    Path(".checkpoints").mkdir()
    with (
        FileLock(".checkpoints/photos-vq.lock"),
        pytest.raises(UserError, match="photos-vq is being trained by another"),
    ):
        train.main()


def test_an_unknown_row_and_an_image_that_cannot_be_halved(project: Project) -> None:
    with pytest.raises(UserError, match=r"photos-latice.yaml is not there; name a row of the grid"):
        paths.read_settings("photos-latice")
    settings = project("vq")
    settings["model"]["hidden"] = [4, 4, 4, 4]
    with pytest.raises(UserError, match=r"model.hidden has 4 widths.*photos has images of 8×8"):
        train.train_row("photos-vq", settings)


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"train.device is cuda:99, but \d+ GPUs are here"):
        devices.choose("cuda:99")


def test_evaluation_recomputed_in_float64(project: Project) -> None:
    settings = project("vq_corrected", seeds=(0, 1))
    train.train_row("photos-vq_corrected", settings)
    evaluate.evaluate_row("photos-vq_corrected", settings, {**MEASURING, "batch_size": 5, "pictures": 3})
    run = files.read_json(Path("reports/runs/photos-vq_corrected.json"))
    assert [numbers["seed"] for numbers in run["seeds"]] == [0, 1]
    model = autoencoder.build(settings, (3, 8, 8), 0)
    autoencoder.load(model, Path("models/photos-vq_corrected/seed-0.safetensors"))
    model = model.double().eval()
    found = {}
    for split in ("train", "val", "test"):
        images = torch.from_numpy(np.load(f"data/prepared/photos/{split}.npy")).permute(0, 3, 1, 2).double() / 255
        with torch.no_grad():
            reconstructions, quantized = model(images)
        found[split] = ((images - reconstructions).square().mean().item(), quantized.codes.flatten())
    numbers = run["seeds"][0]
    assert numbers["test_mse"] == pytest.approx(found["test"][0], rel=1e-4)
    assert numbers["val_mse"] == pytest.approx(found["val"][0], rel=1e-4)
    together = torch.cat([found["train"][1], found["val"][1]]).unique()
    assert numbers["codes_in_use"] == len(together)
    assert outputs("photos-vq_corrected")[1].query("seed == 0")["codes_val"].iloc[-1] == len(found["val"][1].unique())
    assert numbers["dead_codes"] == 16 - len(together)
    assert numbers["utilization"] == len(together) / 16
    share = found["test"][1].bincount().double() / len(found["test"][1])
    bits = -(share * share.clamp(min=1e-300).log2()).sum().item()
    assert numbers["bits_per_latent"] == pytest.approx(bits, abs=1e-9)
    assert numbers["perplexity"] == pytest.approx(2**bits)
    assert numbers["bits_per_pixel"] == pytest.approx(bits * 16 / 64, abs=1e-9)
    pictures = np.load("reports/runs/photos-vq_corrected.npz")
    assert pictures["originals"].shape == (3, 8, 8, 3)
    assert pictures["reconstructions"].shape == (2, 3, 8, 8, 3)
    np.testing.assert_array_equal(pictures["originals"], np.load("data/prepared/photos/test.npy")[[0, 6, 11]])
    assert pictures["usage"].sum(1).tolist() == [12 * 16] * 2


def test_a_lattice_reports_dimensions_instead_of_dead_codes(project: Project) -> None:
    settings = project("lattice_dense")
    train.train_row("photos-lattice_dense", settings)
    evaluate.evaluate_row("photos-lattice_dense", settings, MEASURING)
    numbers = files.read_json(Path("reports/runs/photos-lattice_dense.json"))["seeds"][0]
    assert numbers["dead_codes"] is None
    assert 0 <= numbers["active_dimensions"] <= 4
    assert numbers["quantizer_parameters"] == 4
    assert numbers["codes_counted"] == 50 * 16
    assert numbers["codes_estimated"] == pytest.approx(numbers["codes_in_use"], rel=5 * numbers["codes_estimate_error"])
    assert 0 < numbers["codes_collision_bound"] < 1e-20
    model = autoencoder.build(settings, (3, 8, 8), 0)
    autoencoder.load(model, Path("models/photos-lattice_dense/seed-0.safetensors"))
    images = torch.from_numpy(np.load("data/prepared/photos/test.npy")).permute(0, 3, 1, 2).float() / 255
    codes = model.eval()(images)[1].codes.reshape(-1, 4).numpy()
    shares = [np.unique(column, return_counts=True)[1] / len(codes) for column in codes.T]
    assert numbers["bits_per_latent_by_dimension"] == pytest.approx(sum(-(p * np.log2(p)).sum() for p in shares))
    assert numbers["bits_per_latent"] <= min(numbers["bits_per_latent_by_dimension"], numbers["most_bits_seen"]) + 1e-9
    assert numbers["most_bits_seen"] == pytest.approx(np.log2(12 * 16))


def test_weights_of_another_model_are_refused(project: Project) -> None:
    train.train_row("photos-vq", project("vq", epochs=1))
    other = autoencoder.build(project("lattice"), (3, 8, 8), 0)
    with pytest.raises(UserError, match=r"seed-0.safetensors holds another model"):
        autoencoder.load(other, Path("models/photos-vq/seed-0.safetensors"))
    with pytest.raises(UserError, match="dvc repro train@photos-vq"):
        autoencoder.load(other, Path("models/photos-vq/seed-9.safetensors"))


@pytest.mark.parametrize("variant", ["kd_8192x8", "adaptive", "gumbel", "fsq"])
def test_other_quantizers_train_and_are_measured(project: Project, variant: str) -> None:
    settings = project(variant, epochs=2)
    train.train_row(f"photos-{variant}", settings)
    _, history = outputs(f"photos-{variant}")
    assert (history["gradient_gap"] > 0).all()
    assert (history["quantization_loss"] > 0).all()
    if variant == "adaptive":
        shares = history.filter(like="chosen_")
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    if variant in ("adaptive", "gumbel"):
        steps = 5  # of 8 in 40 images; 10 in all, of which the last is 9/10 of the way
        assert history["temperature"].iloc[-1] == pytest.approx(0.1 ** ((2 * steps - 1) / (2 * steps)))


def test_what_json_cannot_hold_becomes_none() -> None:
    measured = {"seed": 0, "test_psnr": float("inf"), "gradient_gap": float("nan"), "val_mse": 0.5}
    assert evaluate.numbers_or_none(measured) == {"seed": 0, "test_psnr": None, "gradient_gap": None, "val_mse": 0.5}


@pytest.mark.parametrize("variant", ["vq_corrected", "vq_ema_corrected", "lattice_corrected"])
def test_bfloat16_stays_near_float32(project: Project, variant: str) -> None:
    """bfloat16 keeps 8 bits, 0.4 %: one step's error stays within 1 %, three epochs' within 5 %."""
    ends = {}
    for precision in ("float32", "bfloat16"):
        settings = project(variant, precision=precision)
        training = train.Training(f"photos-{variant}", settings, 0, (3, 8, 8), torch.device("cpu"))
        images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        first = training.step(images, 1, 1)["mse"].item()
        train.train_row(f"photos-{variant}", settings)
        ends[precision] = (first, outputs(f"photos-{variant}")[1]["val_mse"].iloc[-1])
    assert ends["bfloat16"] != ends["float32"]
    assert ends["bfloat16"][0] == pytest.approx(ends["float32"][0], rel=0.01)
    assert ends["bfloat16"][1] == pytest.approx(ends["float32"][1], rel=0.05)


def test_fused_adam_is_adam(project: Project) -> None:
    """Against the textbook's loop over the weights, after twenty steps, in float64."""
    training = train.Training("photos-lattice", project("lattice_corrected"), 0, (3, 8, 8), torch.device("cpu"))
    plain = train.Training("photos-lattice", project("lattice_corrected"), 0, (3, 8, 8), torch.device("cpu"))
    for one in (training, plain):
        one.model.double()
    plain.optimizer = torch.optim.Adam(plain.model.parameters(), lr=1e-3, foreach=False, fused=False)
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    for number in range(20):
        for one in (training, plain):
            one.step(images, 1, number + 1)
    for ours, theirs in zip(training.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("asked", "side", "images"), [(256, 28, 256), (256, 148, 256), (256, 1024, 16), (4, 1024, 4), (256, 8192, 1)]
)
def test_large_images_are_measured_few_at_a_time(asked: int, side: int, images: int) -> None:
    assert evaluate.at_once(asked, (3, side, side)) == images
