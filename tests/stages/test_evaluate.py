"""Measuring: against an independent computation in float64, on as many images as asked for, leaving all as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F

from pipeline import autoencoder, evaluate
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.metrics import MEASURES
from pipeline.train.__main__ import train_row

TIMED = ("seconds", "seconds_per_epoch", "seconds_first_epoch", "counting_seconds", "peak_memory_mb")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return tiny.prepare(tmp_path, labels=True)


def run(paths: Paths, variant: str, seeds: tuple[int, ...] = (0,), train: Any = None, **options: Any) -> dict[str, Any]:
    """Train and evaluate a row; what stands in its JSON."""
    row, settings = f"photos-{variant}", tiny.settings(variant, seeds, **(train or {"epochs": 1}))
    train_row(row, settings, paths)
    evaluate.evaluate_row(row, settings, {**tiny.MEASURING, **options}, paths)
    content: dict[str, Any] = files.read_json(paths.measured(row))
    return content


def trained(paths: Paths, variant: str) -> autoencoder.Autoencoder:
    """The model of seed 0, in float64."""
    model = autoencoder.build(tiny.settings(variant), (3, 8, 8), 0)
    autoencoder.load(model, paths.weights(f"photos-{variant}", 0))
    return model.double().eval()


def pictures(paths: Paths, split: str) -> torch.Tensor:
    return torch.from_numpy(np.load(paths.prepared("photos") / f"{split}.npy")).permute(0, 3, 1, 2).double() / 255


def test_measures_recomputed_in_float64(paths: Paths) -> None:
    content = run(paths, "vq", seeds=(0, 1), batch_size=5, pictures=3)
    assert [numbers["seed"] for numbers in content["seeds"]] == [0, 1]
    numbers, model = content["seeds"][0], trained(paths, "vq")
    errors, codes = {}, {}
    for split in ("train", "val", "test"):
        images = pictures(paths, split)
        with torch.no_grad():
            reconstructions, quantized = model(images)
        errors[split] = (images - reconstructions).square().mean((1, 2, 3))
        codes[split] = quantized.codes.flatten()
    assert numbers["val_mse"] == pytest.approx(errors["val"].mean().item(), rel=1e-4)
    assert numbers["test_mse"] == pytest.approx(errors["test"].mean().item(), rel=1e-4)
    assert numbers["test_psnr"] == pytest.approx((-10 * errors["test"].log10()).mean().item(), rel=1e-5)
    together = torch.cat([codes["train"], codes["val"]]).unique()
    assert numbers["codes_in_use"] == len(together)
    assert numbers["codes_in_use_test"] == len(codes["test"].unique())
    assert numbers["dead_codes"] == 16 - len(together)
    assert numbers["utilization"] == len(together) / 16
    share = codes["test"].bincount().double() / len(codes["test"])
    bits = -(share * share.clamp(min=1e-300).log2()).sum().item()
    assert numbers["bits_per_latent"] == pytest.approx(bits, abs=1e-9)
    assert numbers["perplexity"] == pytest.approx(2**bits)
    assert numbers["bits_per_pixel"] == pytest.approx(bits * 16 / 64, abs=1e-9)
    assert numbers["quantizer_parameters"] == 16 * 4
    assert numbers["seconds"] == numbers["seconds_first_epoch"] == numbers["seconds_per_epoch"] > 0


def test_costs_of_quantization_are_measured_on_test(paths: Paths) -> None:
    """Straight from their definitions, on the first batch of the test images; the history has those on validation."""
    numbers = run(paths, "vq", batch_size=7)["seeds"][0]
    model, images = trained(paths, "vq"), pictures(paths, "test")[:7]
    with torch.no_grad():
        latents = model.encoder(images)
        quantized = model.quantizer(latents).z
    gradients = []
    for z in (quantized.requires_grad_(), latents.requires_grad_()):
        gradients += torch.autograd.grad(F.mse_loss(model.decoder(z), images), z)
    gap = ((gradients[0] - gradients[1]).norm() / gradients[1].norm()).item()
    assert numbers["gradient_gap"] == pytest.approx(gap, rel=1e-3)
    assert numbers["quantization_loss"] == pytest.approx(F.mse_loss(quantized, latents).item(), rel=1e-4)
    header = paths.history("photos-vq").read_text().splitlines()[0].split(",")
    assert {"val_gradient_gap", "val_quantization_loss", "val_codes", "learning_rate"} <= set(header)


def test_pictures_are_those_of_the_test_split(paths: Paths) -> None:
    run(paths, "vq", seeds=(0, 1), pictures=3)
    with np.load(paths.arrays("photos-vq")) as arrays:
        test = np.load(paths.prepared("photos") / "test.npy")
        np.testing.assert_array_equal(arrays["originals"], test[[0, 6, 11]])
        assert arrays["reconstructions"].shape == (2, 3, 8, 8, 3)
        assert arrays["usage"].sum(1).tolist() == [12 * 16] * 2
        assert arrays["moving_codes"].shape == (2, len(arrays["moving_batches"]))


def test_a_lattice_has_dimensions_instead_of_dead_codes(paths: Paths) -> None:
    numbers = run(paths, "lattice_dense")["seeds"][0]
    assert numbers["dead_codes"] is None
    assert numbers["quantizer_parameters"] == 4
    assert numbers["codes_counted"] == 50 * 16
    assert 0 < numbers["codes_collision_bound"] < 1e-20
    model = trained(paths, "lattice_dense").float()
    codes = {name: model(pictures(paths, name).float())[1].codes.reshape(-1, 4) for name in ("train", "val", "test")}
    fitted = torch.cat([codes["train"], codes["val"]])
    assert numbers["active_dimensions"] == sum(len(column.unique()) > 1 for column in fitted.T)
    shares = [torch.unique(column, return_counts=True)[1].double() / len(column) for column in codes["test"].T]
    expected = sum(-(p * p.log2()).sum().item() for p in shares)
    assert numbers["bits_per_latent_by_dimension"] == pytest.approx(expected)
    assert numbers["bits_per_latent"] <= min(numbers["bits_per_latent_by_dimension"], numbers["most_bits_seen"]) + 1e-9
    assert numbers["most_bits_seen"] == pytest.approx(np.log2(12 * 16))


def test_a_ramp_is_as_long_as_its_training(paths: Paths) -> None:
    """Adam moves every spacing by the learning rate at each of 3 steps, and by half of it at the next 3."""
    train = {"epochs": 2, "max_images": 17, "lr_decay": 0.5}
    content = run(paths, "lattice_ramp", train=train)
    assert content["images"]["train"] == 17
    assert content["seeds"][0]["spacing_off_ramp"] == pytest.approx(0.0, abs=1e-5)
    before = autoencoder.build(tiny.settings("lattice_ramp"), (3, 8, 8), 0).quantizer.spacing.detach()
    moved = trained(paths, "lattice_ramp").quantizer.spacing.detach() - before
    torch.testing.assert_close(moved.abs().float(), torch.full((4,), 3 * 1e-3 + 3 * 5e-4), rtol=1e-3, atol=1e-6)


def test_selection_names_every_codebook_and_label(paths: Paths) -> None:
    content = run(paths, "adaptive")
    selection = content["seeds"][0]["selection"]
    assert selection.keys() == {"all", "0", "1"}
    for shares in selection.values():
        assert shares.keys() == {"2x8", "4x4", "8x2"}
        assert sum(shares.values()) == pytest.approx(1)
    assert content["seeds"][0]["selected_log2_codes"] is not None
    assert run(paths, "vq")["seeds"][0]["selection"] is None


def test_counts_told_are_counts_used(paths: Paths) -> None:
    content = run(paths, "vq", train={"epochs": 1, "max_images": 9}, max_images=11)
    assert content["images"] == {"train": 9, "measured": {"train": 11, "val": 10, "test": 11}}
    assert content["seeds"][0]["codes_counted"] == (11 + 10) * 16
    with np.load(paths.arrays("photos-vq")) as arrays:
        assert arrays["usage"].sum() == 11 * 16
    full = run(paths, "vq")
    assert full["images"] == {"train": 40, "measured": {"train": 40, "val": 10, "test": 12}}


@pytest.mark.parametrize("variant", ["vq_ema", "kd", "adaptive", "gumbel", "lattice"])
def test_measuring_twice_gives_the_same_and_changes_no_model(paths: Paths, variant: str) -> None:
    first = run(paths, variant)
    row, settings = f"photos-{variant}", tiny.settings(variant, epochs=1)
    weights = files.digest(paths.weights(row, 0))
    evaluate.evaluate_row(row, settings, tiny.MEASURING, paths)
    second = files.read_json(paths.measured(row))
    for content in (first, second):
        content["seeds"][0].pop("counting_seconds")
    assert first == second
    assert files.digest(paths.weights(row, 0)) == weights


def test_measuring_leaves_the_state_of_the_model(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    pass_once = evaluate.pass_once

    def watched(model: autoencoder.Autoencoder, *arguments: Any) -> Any:
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        result = pass_once(model, *arguments)
        states.append(model.state_dict())
        return result

    monkeypatch.setattr(evaluate, "pass_once", watched)
    run(paths, "adaptive")
    assert all(torch.equal(state[name], value) for state in states for name, value in states[0].items())


@pytest.mark.slow
def test_seeds_side_by_side_give_the_numbers_of_one_by_one(paths: Paths) -> None:
    seeds = (0, 1, 2)
    alone = run(paths, "vq_ema", seeds, train={"epochs": 2})
    weights = [files.digest(paths.weights("photos-vq_ema", seed)) for seed in seeds]
    torch.set_num_threads(2)  # two processes of one thread each
    together = run(paths, "vq_ema", seeds, train={"epochs": 2})
    assert (alone["environment"]["seeds_at_a_time"], together["environment"]["seeds_at_a_time"]) == (1, 2)
    assert together["environment"]["threads"] == 1
    assert [files.digest(paths.weights("photos-vq_ema", seed)) for seed in seeds] == weights
    for one, other in zip(alone["seeds"], together["seeds"], strict=True):
        assert {k: v for k, v in one.items() if k not in TIMED} == {k: v for k, v in other.items() if k not in TIMED}


def test_every_measure_is_written_for_every_seed(paths: Paths) -> None:
    numbers = run(paths, "vq")["seeds"][0]
    assert numbers.keys() == {"seed", "selection", *(measure.key for measure in MEASURES)}


def test_damaged_data_stop_the_measuring(paths: Paths) -> None:
    run(paths, "vq")
    path = paths.prepared("photos") / "test.npy"
    path.write_bytes(path.read_bytes()[:-50] + bytes(50))
    with pytest.raises(UserError, match=r"test\.npy is not the file"):
        evaluate.evaluate_row("photos-vq", tiny.settings("vq"), tiny.MEASURING, paths)


def test_what_json_cannot_hold_becomes_none() -> None:
    numbers = {"seed": 0, "test_psnr": float("inf"), "gradient_gap": float("nan"), "val_mse": 0.5}
    assert evaluate.finite_or_none(numbers) == {"seed": 0, "test_psnr": None, "gradient_gap": None, "val_mse": 0.5}


@pytest.mark.parametrize(
    ("asked", "side", "images"), [(256, 28, 256), (256, 148, 256), (256, 1024, 16), (4, 1024, 4), (256, 8192, 1)]
)
def test_large_images_are_measured_few_at_a_time(asked: int, side: int, images: int) -> None:
    assert evaluate.at_once(asked, (3, side, side)) == images
