"""Codes drawn by Gumbel-Softmax: by hand, and against torch's own formula."""

import math

import pytest
import torch
from conftest import make_quantizer
from torch import Tensor

from pipeline.quantizers.gumbel import Draw, gumbel_noise


def latents(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_gumbel_draws_by_its_logits_and_evaluates_their_maximum() -> None:
    quantizer = make_quantizer("gumbel", dim=4, num_codes=3)
    torch.nn.init.zeros_(quantizer.to_logits.weight)
    quantizer.to_logits.bias.data = torch.log(torch.tensor([0.2, 0.7, 0.1]))
    out = quantizer(latents(4000, 4, 1, 1))
    drawn = torch.bincount(out.codes.flatten(), minlength=3) / 4000
    torch.testing.assert_close(drawn, torch.tensor([0.2, 0.7, 0.1]), atol=0.03, rtol=0)
    assert (quantizer.eval()(latents(10, 4, 1, 1)).codes == 1).all()
    share = torch.tensor([0.2, 0.7, 0.1]).double()
    expected = 5e-4 * (share * (3 * share).log()).sum().item()
    assert out.losses["divergence_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_gumbel_in_one_pass_is_the_plain_formulation() -> None:
    """Torch's own formula, weights of 0 and 1 times the codebook, gradients by autograd; all in float64."""
    logits, noise, weights = (latents(50, 9, seed=s).double() * 2 for s in (1, 2, 3))
    codebook, temperature = latents(9, 4, seed=4).double(), 0.7
    found, plain = [[x.clone().requires_grad_() for x in (logits, codebook)] for _ in range(2)]
    z, codes, kl = Draw.apply(*found, noise.clone(), temperature)
    soft = ((plain[0] + noise) / temperature).softmax(1)
    hard = torch.nn.functional.one_hot(soft.argmax(1), 9) - soft.detach() + soft
    chances = plain[0].softmax(1)
    expected = (chances * (9 * chances).log()).sum(1).mean()
    torch.testing.assert_close(z, hard @ plain[1])
    torch.testing.assert_close(kl, expected)
    assert torch.equal(codes, soft.argmax(1))
    for out, loss, inputs in ((z, kl, found), (hard @ plain[1], expected, plain)):
        ((out * weights[:, :4]).sum() + 3 * loss).backward()
        assert all(x.grad.abs().sum() > 0 for x in inputs)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_gumbel_noise_is_gumbel_distributed() -> None:
    noise = gumbel_noise(torch.empty(200, 500)).flatten().double()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.04)
