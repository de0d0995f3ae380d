"""Training: reproducible, resumable, one at a time, and never silently wrong."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from conftest import ROOT
from filelock import FileLock
from safetensors.torch import load_file

from pipeline import autoencoder
from pipeline.core import cli, devices, files, parallel
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths, read_settings
from pipeline.datasets.io.batches import Images
from pipeline.train import __main__ as train
from pipeline.train.loop import Training

CPU = torch.device("cpu")
SHAPE = (3, 8, 8)
Outputs = tuple[dict[str, torch.Tensor], pd.DataFrame]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A project with a prepared data set."""
    return tiny.prepare(tmp_path)


def trained(paths: Paths, variant: str, **options: Any) -> Outputs:
    """Train the row; the weights of seed 0, and the history without times."""
    row = f"photos-{variant}"
    train.train_row(row, tiny.settings(variant, **options), paths)
    return outputs(paths, row)


def outputs(paths: Paths, row: str) -> Outputs:
    return load_file(paths.weights(row, 0)), pd.read_csv(paths.history(row)).drop(columns="seconds")


def training(variant: str, seed: int = 0, **options: Any) -> Training:
    return Training(f"photos-{variant}", tiny.settings(variant, **options), seed, SHAPE, CPU)


def assert_same(one: Outputs, other: Outputs) -> None:
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(value, other[0][name]) for name, value in one[0].items())
    pd.testing.assert_frame_equal(one[1], other[1], check_exact=True)


@pytest.mark.parametrize("variant", ["vq", "vq_ema", "lattice"])
def test_the_same_settings_give_the_same_numbers(paths: Paths, variant: str) -> None:
    assert_same(trained(paths, variant), trained(paths, variant))
    assert not list(paths.checkpoints.glob("*/*.pt"))


def record_epochs(monkeypatch: pytest.MonkeyPatch, stop_before: tuple[int, int] | None = None) -> list[tuple[int, int]]:
    """The seed and number of every epoch that is trained from here on; before one of them, stop as Ctrl-C does."""
    seen: list[tuple[int, int]] = []
    epoch = Training.epoch

    def recorded(self: Training, images: Images) -> dict[str, float]:
        here = (self.seed, len(self.history) + 1)
        if here == stop_before:
            raise KeyboardInterrupt
        seen.append(here)
        return epoch(self, images)

    monkeypatch.setattr(Training, "epoch", recorded)
    return seen


@pytest.mark.parametrize(("variant", "options"), [("vq_ema", {}), ("gumbel", {}), ("lattice", {"lr_decay": 0.0})])
def test_an_interrupted_training_goes_on_from_its_last_epoch(
    paths: Paths, variant: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options |= {"seeds": (0, 1), "backprop_at_zero_lr": False, "epochs": 4}
    whole = trained(paths, variant, **options)
    files.remove(paths.model(f"photos-{variant}"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        assert record_epochs(patch, stop_before=(1, 2)) == []
        trained(paths, variant, **options)
    assert not paths.model(f"photos-{variant}").exists()
    again = record_epochs(monkeypatch)
    resumed = trained(paths, variant, **options)
    assert again == [(1, 2)] if variant == "lattice" else [(1, 2), (1, 3), (1, 4)]
    assert_same(whole, resumed)


def test_an_epoch_that_is_repeated_is_the_same_after_an_interruption(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third epoch at a learning rate of 0 is not trained; nor is it when the training was stopped before it."""
    options: dict[str, Any] = {"lr_decay": 0.0, "backprop_at_zero_lr": False, "epochs": 5}
    whole = trained(paths, "lattice", **options)
    keep = train._keep

    def keep_and_stop(checkpoint: Path, training: Training) -> None:
        keep(checkpoint, training)
        if len(training.history) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "_keep", keep_and_stop)
        trained(paths, "lattice", **options)
    again = record_epochs(monkeypatch)
    assert_same(whole, trained(paths, "lattice", **options))
    assert again == []


def train_and_die(row: str, settings: dict[str, Any], paths: Paths, processes: int) -> None:
    """In a process of its own: train until half of the third checkpoint is written; then comes SIGKILL."""
    write, first = Path.write_bytes, os.getpid()

    def dies_half_way(path: Path, content: memoryview) -> int:
        if path.name == "seed-0.pt.partial" and len(torch.load(io.BytesIO(content))["history"]) == 3:
            write(path, content[: len(content) // 2])
            os.kill(first, signal.SIGKILL)
            time.sleep(3600)
        return write(path, content)

    Path.write_bytes = dies_half_way  # type: ignore[assignment]
    torch.set_num_threads(processes)
    train.train_row(row, settings, paths)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_process_loses_no_finished_epoch(
    paths: Paths, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL while the third checkpoint is written; the same row then gives what an undisturbed training gives."""
    row, options = "photos-vq_ema", {"epochs": 5, "seeds": (0, 1)[:processes]}
    arguments = (row, tiny.settings("vq_ema", **options), paths, processes)
    killed = multiprocessing.get_context("fork").Process(target=train_and_die, args=arguments)
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not paths.model(row).exists()
    with FileLock(paths.checkpoints / f"{row}.lock", timeout=600):
        pass  # the processes of single seeds are gone, too
    with monkeypatch.context() as patch:
        again = record_epochs(patch)
        resumed = trained(paths, "vq_ema", **options)
    assert again[:3] == [(0, 3), (0, 4), (0, 5)]
    assert_same(resumed, trained(paths, "vq_ema", **options))


@pytest.mark.parametrize("left", [0, 17, 2000, -10])
def test_a_damaged_checkpoint_is_removed_and_its_seed_starts_anew(
    paths: Paths, left: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Emptied or cut short, with one line that names the file; the other seed goes on where it was."""
    options: dict[str, Any] = {"seeds": (0, 1), "epochs": 2}
    whole = trained(paths, "vq", **options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        record_epochs(patch, stop_before=(1, 2))
        trained(paths, "vq", **options)
    (damaged,) = paths.checkpoints.glob("*/seed-0.pt")
    damaged.write_bytes(damaged.read_bytes()[:left])
    again = record_epochs(monkeypatch)
    caplog.clear()
    assert_same(whole, trained(paths, "vq", **options))
    assert again == [(0, 1), (0, 2), (1, 2)]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"{damaged} is damaged and removed; its seed is trained anew."]


def full_disk(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Files whose names contain `suffix` meet a disk that is full half-way, as `/dev/full` does."""
    write = Path.write_bytes

    def write_bytes(path: Path, content: Any) -> int:
        if suffix in path.name:
            write(path, bytes(content)[:100])
            return write(Path("/dev/full"), content)
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


@pytest.mark.parametrize(("suffix", "named"), [(".pt", r"seed-\d\.pt"), (".safetensors", "photos-vq")])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(
    paths: Paths, suffix: str, named: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(threads)  # with two, the error comes from a process of its own
    full_disk(monkeypatch, suffix)
    with pytest.raises(SystemExit, match=rf"^error: no space left on the disk while writing \S+{named}; free some"):
        cli.run(lambda: trained(paths, "vq", seeds=(0, 1), epochs=1) and None)
    assert not list((paths.root / "models").glob("*"))
    assert not paths.history("photos-vq").exists()


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_trained(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tempfile.TemporaryFile

    def read_only(dir: Path) -> Any:
        if dir.name == "history":
            raise OSError(errno.EROFS, "Read-only file system", dir / "tmp")
        return temporary(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    epochs = record_epochs(monkeypatch)
    with pytest.raises(SystemExit, match=r"^error: \S+/reports/history cannot be read or written \(Read-only file"):
        cli.run(lambda: trained(paths, "vq") and None)
    assert epochs == []


def test_a_seed_that_fails_stops_the_others() -> None:
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        parallel.parallel_map(_fails_or_waits, [3600, 0], CPU, 1)
    with pytest.raises(UserError, match="one of 2 processes was killed.*JOBS=1.*run the same command again to go on"):
        parallel.parallel_map(_is_killed, [0, 1], CPU, 1)
    assert parallel.parallel_map(str, [3, 1, 2], CPU, 1) == ["3", "1", "2"]


@pytest.mark.slow
def test_weights_depend_on_no_machines_cores(paths: Paths) -> None:
    """One seed alone, and three with 1 and 4 threads for all; 1, 2 and 3 threads for a seed would round differently."""
    row, options = "photos-lattice", {"batch_size": 40}
    files.write_yaml(paths.row_settings(row), tiny.settings("lattice", seeds=(0, 1, 2), **options))
    weights = []
    for threads in ("1", "4"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-m", "pipeline.train", row], cwd=paths.root, env=environment, check=True)
        weights.append([files.digest(paths.weights(row, seed)) for seed in (0, 1, 2)])
    assert weights[0] == weights[1]
    torch.set_num_threads(3)
    trained(paths, "lattice", **options)
    assert files.digest(paths.weights(row, 0)) == weights[0][0]


def _fails_or_waits(seconds: int) -> None:
    _ = 1 / seconds
    time.sleep(seconds)


def _is_killed(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_trace_follows_the_spacing_within_an_epoch(paths: Paths) -> None:
    trained(paths, "lattice_ramp", epochs=2)
    trace = files.read_json(paths.model("photos-lattice_ramp") / "about.json")["trace"]
    assert [(point["seed"], point["step"]) for point in trace] == [(0, step) for step in range(11)]
    before = autoencoder.build(tiny.settings("lattice_ramp"), SHAPE, 0).quantizer.spacing.detach().abs()
    for point in trace:
        assert point["spacing_mean"] == pytest.approx(before.mean().item() + 1e-3 * point["step"], rel=1e-5)
        assert point["spacing_min"] == pytest.approx(before.min().item() + 1e-3 * point["step"], rel=1e-4)
        assert point["spacing_max"] == pytest.approx(before.max().item() + 1e-3 * point["step"], rel=1e-5)


def test_an_unfinished_training_belongs_to_its_settings_and_data(paths: Paths) -> None:
    prepared, settings = paths.prepared("photos"), tiny.settings("vq")
    first = train._fingerprint(settings, prepared)
    assert train._fingerprint(tiny.settings("vq"), prepared) == first
    assert train._fingerprint(tiny.settings("vq", lr=2e-3), prepared) != first
    files.write_yaml(prepared / "about.yaml", {"offset": 0.5})
    assert train._fingerprint(settings, prepared) != first


def test_a_decay_of_0_ends_learning_with_the_first_epoch(paths: Paths) -> None:
    history = trained(paths, "lattice", lr_decay=0.0)[1]
    assert history["learning_rate"].tolist() == [1e-3, 0, 0]
    assert history["val_mse"].nunique() == 1
    assert trained(paths, "vq_ema", lr_decay=0.0)[1]["val_mse"].nunique() == 3  # its codebook moves on
    history = trained(paths, "lattice", lr_decay=0.5)[1]
    assert history["learning_rate"].tolist() == [1e-3, 5e-4, 2.5e-4]
    assert history["val_mse"].nunique() == 3


@pytest.mark.parametrize("variant", ["vq", "vq_ema", "lattice"])
def test_what_a_learning_rate_of_0_discards_changes_no_number(
    paths: Paths, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = record_epochs(monkeypatch)
    full = trained(paths, variant, lr_decay=0.0, backprop_at_zero_lr=True, epochs=5)
    assert len(ran) == 5
    ran.clear()
    short = trained(paths, variant, lr_decay=0.0, backprop_at_zero_lr=False, epochs=5)
    assert len(ran) == (5 if variant == "vq_ema" else 2)  # the moving average moves on
    assert all(torch.equal(value, short[0][name]) for name, value in full[0].items())
    pd.testing.assert_frame_equal(full[1], short[1], rtol=1e-6)


def test_the_ramp_grows_by_the_learning_rate_and_the_frozen_spacing_stays(paths: Paths) -> None:
    for variant, growth in (("lattice_ramp", 5 * 1e-3), ("lattice_frozen", 0.0)):
        before = autoencoder.build(tiny.settings(variant), SHAPE, 0).quantizer.spacing.detach()
        after = trained(paths, variant, lr_decay=0.0)[0]["quantizer.spacing"]
        torch.testing.assert_close(after - before, growth * before.sign(), rtol=1e-3, atol=1e-6)


def test_a_seed_starts_all_variants_from_one_encoder_and_decoder() -> None:
    starts = [autoencoder.build(tiny.settings(variant), SHAPE, 5).state_dict() for variant in ("vq", "vq_ema", "kd")]
    for name, value in starts[0].items():
        if not name.startswith("quantizer"):
            assert all(torch.equal(value, other[name]) for other in starts[1:])


COMPILED = """
import sys
import torch
sys.path.insert(0, "tests")
import tiny
from pipeline.core.errors import NonFiniteError, UserError
from pipeline.datasets.io.batches import Images
from pipeline.train.__main__ import warm_up
from pipeline.train.loop import Training

CPU = torch.device("cpu")
images = torch.rand(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
compile_ = torch.compile
torch.compile = lambda function: compile_(function, backend="aot_eager")  # all but the compiler
results = []
for compiled in (False, True):
    training = Training("photos-vq", tiny.settings("vq", compile=compiled), 0, (3, 8, 8), CPU)
    losses = training.step(images)
    results.append((losses, {name: parameter.grad for name, parameter in training.model.named_parameters()}))
torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-7)
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2, "encoder and decoder should be compiled whole"
training.model.encoder[0].bias.data.fill_(float("nan"))
try:
    training.step(images)
except NonFiniteError:
    pass
else:
    raise AssertionError("a loss that is not finite was not seen")

torch.compile = compile_
torch._dynamo.reset()
paths = tiny.prepare(tiny.Path(sys.argv[1]))
train = Images(paths.prepared("photos"), "train", CPU)
try:
    warm_up("photos-vq", tiny.settings("vq", compile=True), 0, train)
except UserError as error:
    assert str(error).startswith("train.compile is true, but torch.compile fails here (InvalidCxxCompiler"), error
else:
    raise AssertionError("a missing compiler was not noticed")
"""


@pytest.mark.slow
def test_a_compiled_step_is_the_step_but_for_rounding(tmp_path: Path) -> None:
    """In a process where shapes are not checked: the compiler cannot follow the checks."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CXX": "no-such-compiler"}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "-c", COMPILED, str(tmp_path / "project")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_loss_that_is_not_finite_names_where(paths: Paths) -> None:
    with pytest.raises(UserError, match=r"photos-vq, seed 0, epoch 1, step \d: the loss is no longer finite"):
        trained(paths, "vq", lr=1e20)
    assert not paths.model("photos-vq").exists()
    assert not paths.history("photos-vq").exists()


def test_a_codebook_that_is_not_finite_names_where(paths: Paths) -> None:
    """On a GPU, where the latents are not looked at, the search would be the first to see it, too."""
    run = training("vq", seed=3)
    run.model.quantizer.codebook.data[0] = float("nan")
    with pytest.raises(UserError, match="photos-vq, seed 3, epoch 1, step 1: the loss is no longer finite"):
        run.epoch(Images(paths.prepared("photos"), "train", CPU))


def test_the_step_that_broke_is_named_when_the_host_looks_late() -> None:
    losses = torch.tensor([[1.0, 2.0], [1.0, float("nan")], [float("inf"), 0.0]])
    with pytest.raises(UserError, match="photos-vq, seed 3, epoch 2, step 2: "):
        training("vq", seed=3).means(losses, [8, 8, 8], 2)


def test_epoch_means_weigh_the_last_smaller_batch_by_its_images() -> None:
    assert training("vq").means(torch.tensor([[1.0, 3.0], [4.0, 0.0]]), [8, 4], 1) == [2.0, 2.0]


def test_a_warm_up_changes_no_number(paths: Paths) -> None:
    images = Images(paths.prepared("photos"), "train", CPU)
    results = []
    for warm in (False, True):
        if warm:
            train.warm_up("photos-adaptive", tiny.settings("adaptive"), 0, images)
        run = training("adaptive")
        run.epoch(images)
        results.append(run.model.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_a_step_at_a_learning_rate_of_0_leaves_no_graph_behind() -> None:
    """There is no backward pass that would free it, and the next step would hold two."""
    run = training("vq", lr=0.0, backprop_at_zero_lr=False)
    assert not any(loss.requires_grad for loss in run.step(torch.zeros(2, *SHAPE)).values())


def test_two_trainings_of_one_row_cannot_run_at_once(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0)
    paths.checkpoints.mkdir()
    with FileLock(paths.checkpoints / "photos-vq.lock"), pytest.raises(UserError, match="photos-vq is being trained"):
        trained(paths, "vq")


def test_an_unknown_row_and_images_that_cannot_be_halved(paths: Paths) -> None:
    with pytest.raises(UserError, match=r"photos-latice.yaml is not there; name a row of the grid"):
        read_settings("photos-latice")
    settings = tiny.settings("vq")
    settings["model"]["hidden"] = [4, 4, 4, 4]
    with pytest.raises(UserError, match=r"model.hidden has 4 widths.*photos has images of 8×8"):
        train.train_row("photos-vq", settings, paths)


def test_missing_and_damaged_data_name_the_file_and_the_command(paths: Paths) -> None:
    path = paths.prepared("photos") / "train.npy"
    content = path.read_bytes()
    for damaged in (bytes(len(content)), content[:200] + bytes(len(content) - 200)):  # as if zeroed through a link
        path.write_bytes(damaged)
        with pytest.raises(
            UserError, match=r"train\.npy is not the file.*`dvc repro --force --single-item preprocess@"
        ):
            trained(paths, "vq")
    path.unlink()
    with pytest.raises(UserError, match=r"train\.npy is not there; `dvc repro preprocess@photos` makes it"):
        trained(paths, "vq")
    path.write_bytes(content)
    trained(paths, "vq", epochs=1)


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"train.device is cuda:99, but \d+ GPUs are here"):
        devices.choose("cuda:99")


@pytest.mark.parametrize("variant", ["kd", "adaptive", "gumbel", "fsq"])
def test_every_kind_of_quantizer_records_its_epochs(paths: Paths, variant: str) -> None:
    history = trained(paths, variant, epochs=2)[1]
    assert (history["val_gradient_gap"] > 0).all()
    assert (history["val_quantization_loss"] > 0).all()
    if variant == "adaptive":
        np.testing.assert_allclose(history.filter(like="chosen_").sum(axis=1), 1, rtol=1e-6)
    if variant in ("adaptive", "gumbel"):  # from 1 to 0.1; the last of 10 steps begins when 9/10 are done
        assert history["temperature"].iloc[-1] == pytest.approx(0.1 ** (9 / 10))


@pytest.mark.parametrize("variant", ["vq", "vq_ema", "lattice"])
def test_bfloat16_stays_near_float32(variant: str) -> None:
    """bfloat16 keeps 8 bits, 0.4 %: one step's error stays within 1 %, that after 15 steps within 5 %."""
    images = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(1))
    errors = {}
    for precision in ("float32", "bfloat16"):
        run = training(variant, precision=precision)
        errors[precision] = [run.step(images)["mse"].item() for _ in range(15)]
    assert errors["bfloat16"] != errors["float32"]
    assert errors["bfloat16"][0] == pytest.approx(errors["float32"][0], rel=0.01)
    assert errors["bfloat16"][-1] == pytest.approx(errors["float32"][-1], rel=0.05)


def test_fused_adam_is_adam() -> None:
    """Against the textbook's loop over the weights, after twenty steps, in float64."""
    ours, plain = training("lattice"), training("lattice")
    for run in (ours, plain):
        run.model.double()
    plain.optimizer = torch.optim.Adam(plain.model.parameters(), lr=1e-3, foreach=False, fused=False)
    images = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    for run in (ours, plain):
        for _ in range(20):
            run.step(images)
    for one, other in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
