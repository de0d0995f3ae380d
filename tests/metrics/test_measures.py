"""Each formula by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from pipeline.metrics import gradients, rate, reconstruction, usage


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


def test_rates_by_hand() -> None:
    assert usage.utilization(128, 512) == 0.25
    assert rate.bits_per_pixel(9.0, latents=64, pixels=1024) == pytest.approx(9 / 16)
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
