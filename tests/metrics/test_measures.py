"""Each formula by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import make_quantizer
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from pipeline.metrics import MEASURES, Measured, gradients, reconstruction
from pipeline.metrics.counting import Codes


def test_squared_error_by_hand() -> None:
    images = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(2, 1, 1, 2)
    reconstructions = torch.tensor([0.5, 1.0, 0.0, 3.0]).view(2, 1, 1, 2)
    assert reconstruction.squared_error(images, reconstructions).tolist() == [0.125, 2.0]


@given(st.integers(0, 10_000))
def test_error_and_psnr_against_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, others = rng.random((2, 3, 4, 5)), rng.random((2, 3, 4, 5))
    error = reconstruction.squared_error(torch.from_numpy(images), torch.from_numpy(others))
    for index in range(2):
        assert error[index].item() == pytest.approx(mean_squared_error(images[index], others[index]))
        expected = peak_signal_noise_ratio(images[index], others[index], data_range=1)
        assert reconstruction.psnr(error)[index].item() == pytest.approx(expected)


def test_a_perfect_psnr_is_infinite() -> None:
    assert math.isinf(reconstruction.psnr(torch.tensor([0.0], dtype=torch.float64)).item())


def test_gradient_gap_and_quantization_loss_by_hand() -> None:
    true, straight = (torch.tensor(values).view(1, 2, 1, 1) for values in ([3.0, 4.0], [3.0, 1.0]))
    assert gradients.gradient_gap(straight, true) == pytest.approx(3 / 5)
    assert gradients.gradient_gap(true, true) == 0.0
    assert gradients.gradient_gap(true, 0 * true) == math.inf
    assert gradients.gradient_gap(0 * true, 0 * true) == 0.0
    assert gradients.quantization_loss(true, straight) == pytest.approx(9 / 2)


def test_gradient_gap_of_a_quadratic_loss() -> None:
    """L(z) = |z|²/2 has the gradient z: the gap is |z_q - z|/|z|."""
    z = torch.tensor([[0.4, 1.2, -2.1]]).view(1, 3, 1, 1).requires_grad_()
    quantized = z.detach().round().requires_grad_()
    at = [torch.autograd.grad(end.square().sum() / 2, end)[0] for end in (quantized, z)]
    expected = math.sqrt(0.4**2 + 0.2**2 + 0.1**2) / math.sqrt(0.4**2 + 1.2**2 + 2.1**2)
    assert gradients.gradient_gap(at[0], at[1]) == pytest.approx(expected, rel=1e-6)


def measured(name: str, fitted: torch.Tensor, tested: torch.Tensor) -> dict[str, float | int | None]:
    """Every measure of a quantizer whose codes are given, on images of 4×6 with two latents each."""
    counted = []
    for codes in (fitted, tested):
        counted.append(Codes(10**6, by_dimension=True))
        counted[-1].add(codes)
    errors = {split: torch.tensor([0.01, 0.03], dtype=torch.float64) for split in ("train", "val", "test")}
    history = [{"seconds": 4.0, "selected_log2_codes": 3.0}, {"seconds": 2.0, "selected_log2_codes": 2.5}]
    known = {"learned": {}, "moving": {1: 3, 2: 5}, "history": history, "peak_memory_mb": 7.0}
    collected = Measured(
        make_quantizer(name), (3, 4, 6), errors, *counted, quantization_loss=0.5, gradient_gap=0.25, **known
    )
    return {measure.key: measure.compute(collected) for measure in MEASURES}


def test_measures_of_a_codebook_by_hand() -> None:
    found = measured("vq", torch.tensor([0, 1, 1, 7]), torch.tensor([0, 0, 5, 5]))
    assert (found["codes_in_use"], found["codes_in_use_test"], found["codes_counted"]) == (3, 2, 4)
    assert (found["dead_codes"], found["utilization"], found["active_dimensions"]) == (5, 3 / 8, None)
    assert (found["bits_per_latent"], found["perplexity"], found["most_bits_seen"]) == (1.0, 2.0, 2.0)
    assert (found["bits_per_latent_by_dimension"], found["codes_collision_bound"]) == (None, None)
    assert found["bits_per_pixel"] == pytest.approx(2 / 24)
    assert (found["val_mse"], found["test_mse"]) == (pytest.approx(0.02), pytest.approx(0.02))
    assert found["test_psnr"] == pytest.approx((20 - 10 * math.log10(0.03)) / 2)
    assert (found["seconds"], found["seconds_per_epoch"], found["seconds_first_epoch"]) == (6.0, 3.0, 4.0)
    assert (found["codes_moving"], found["selected_log2_codes"], found["peak_memory_mb"]) == (5, 2.5, 7.0)
    assert (found["quantization_loss"], found["gradient_gap"]) == (0.5, 0.25)
    assert (found["codes_in_initial_box"], found["spacing_off_ramp"]) == (None, None)
    assert found["quantizer_parameters"] == 8 * 4


def test_measures_of_a_lattice_by_hand() -> None:
    fitted = torch.tensor([[0, 1, -2, 0], [0, 1, 3, 0], [0, 1, 3, 1]])
    tested = torch.tensor([[0, 1, 0, 0], [0, 2, 0, 1], [0, 1, 0, 2], [0, 2, 0, 3]])
    found = measured("lattice", fitted, tested)
    assert (found["codes_in_use"], found["dead_codes"], found["active_dimensions"]) == (3, None, 2)
    assert (found["bits_per_latent"], found["bits_per_latent_by_dimension"]) == (2.0, 1.0 + 2.0)
    assert found["codes_collision_bound"] == pytest.approx(9 / 2 * 6**2 * 2.0**-128, rel=1)


def test_every_measure_says_what_it_is() -> None:
    keys, titles = [measure.key for measure in MEASURES], [measure.title for measure in MEASURES]
    assert len(set(keys)) == len(keys)
    assert len(set(titles)) == len(titles)
    for measure in MEASURES:
        assert measure.better in ("lower", "higher", None)
        assert measure.split in ("train", "val", "test", "train+val", None)
