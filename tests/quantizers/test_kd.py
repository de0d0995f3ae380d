"""Codebooks of any [N, D] behind a projection, or on regrouped channels."""

import pytest
import torch
from conftest import make_quantizer

from pipeline.core.errors import UserError


def latents(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_projection_against_float64() -> None:
    quantizer = make_quantizer("kd", dim=6, num_codes=16, code_dim=3).eval()
    z = latents(2, 6, 3, 3)
    out = quantizer(z)
    v = z.permute(0, 2, 3, 1).reshape(-1, 6).double()
    inside = v @ quantizer.before.weight.double().T + quantizer.before.bias.double()
    distances = (inside[:, None] - quantizer.codebook.double()).square().sum(2)
    assert torch.equal(out.codes.flatten(), distances.argmin(1))
    points = quantizer.codebook.double()[distances.argmin(1)]
    back = points @ quantizer.after.weight.double().T + quantizer.after.bias.double()
    torch.testing.assert_close(out.z.permute(0, 2, 3, 1).reshape(-1, 6).double(), back, rtol=1e-5, atol=1e-6)
    expected = 0.25 * (inside - points).square().mean().item()
    assert out.losses["commitment_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_regrouping_gives_a_code_to_every_piece() -> None:
    quantizer = make_quantizer("kd", dim=4, num_codes=3, code_dim=2, projection="regroup").eval()
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]]))
    z = torch.tensor([[0.1, 0.2, 4.0, 6.0], [0.9, 1.2, 0.2, 0.1]]).view(1, 1, 2, 4).permute(0, 3, 1, 2)
    out = quantizer(z)
    assert out.codes.tolist() == [[[0, 2, 1, 0]]]
    assert out.z.permute(0, 2, 3, 1).reshape(2, 4).tolist() == [[0, 0, 5, 5], [1, 1, 0, 0]]
    assert torch.equal(quantizer.decode(out.codes), out.z.permute(0, 2, 3, 1))
    assert torch.equal(quantizer.unquantized(z, out.codes), z)


def test_regrouping_needs_equal_pieces() -> None:
    with pytest.raises(UserError, match="^code_dim is 128, but regroup cuts latent vectors of 64 components"):
        make_quantizer("kd", dim=64, code_dim=128, projection="regroup")


def test_the_projection_learns_and_the_codebook_follows() -> None:
    quantizer = make_quantizer("kd", dim=4, num_codes=8, code_dim=2, first_count=1.0, store_smoothed=False)
    before = quantizer.codebook.clone()
    out = quantizer(latents(2, 4, 3, 3))
    (out.z.square().sum() + sum(out.losses.values())).backward()
    for layer in (quantizer.before, quantizer.after):
        assert layer.weight.grad.abs().sum() > 0
    assert not torch.equal(before, quantizer.codebook)
    assert not quantizer.codebook.requires_grad


def test_parameter_count() -> None:
    quantizer = make_quantizer("kd", dim=64, num_codes=512, code_dim=128)
    assert quantizer.parameter_count == 2 * 65_536 + 2 * 64 * 128 + 128 + 64


def test_codes_may_start_as_latents_of_the_first_batch() -> None:
    quantizer = make_quantizer(
        "kd", dim=4, num_codes=20, code_dim=2, start="latents", first_count=1.0, store_smoothed=False, decay=0.0
    )
    z = latents(1, 4, 4, 4) + 100
    inside = quantizer.project_in(z.permute(0, 2, 3, 1).reshape(-1, 4)).detach()
    assert torch.cdist(quantizer.codebook, inside).min() > 1
    out = quantizer(z)
    torch.testing.assert_close(out.losses["commitment_loss"].item(), 0.0, atol=1e-6, rtol=0)
    assert len(out.codes.unique()) == 16
    slow = make_quantizer("kd", dim=4, num_codes=20, code_dim=2, start="latents", first_count=1.0, decay=0.999)
    slow(z)
    assert len(slow.codebook.unique(dim=0)) == 20
    before = quantizer.codebook.clone()
    quantizer.eval()(z + 100)
    assert torch.equal(before, quantizer.codebook)
    quantizer.train()(z)
    assert torch.cdist(quantizer.codebook[out.codes.flatten()], inside).diagonal().max() < 1e-2
