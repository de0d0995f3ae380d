"""The adapters around vector-quantize-pytorch: its faults kept out, sizes as stated, each by hand."""

import copy
import math

import pytest
import torch
from conftest import make_quantizer
from torch import Tensor

from pipeline.core.errors import UserError

ADAPTED = ["fsq", "lfq", "simvq", "rotation", "vq_ema_revive"]


def latents(*shape: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("name", [*ADAPTED, "gumbel"])
def test_nine_bits_a_latent(name: str) -> None:
    quantizer = make_quantizer(name, dim=64, num_codes=512).eval()
    assert math.log2(quantizer.num_codes) == 9
    assert "up to 9 bits" in type(quantizer).__doc__
    every = quantizer.decode(torch.arange(512))
    assert every.shape == (512, 64)
    assert len(every.unique(dim=0)) == 512


@pytest.mark.parametrize("name", ADAPTED)
def test_nothing_moves_without_gradients_even_in_train_mode(name: str) -> None:
    quantizer = make_quantizer(name).train()
    quantizer(latents(2, 4, 3, 3))
    before = copy.deepcopy(quantizer.state_dict())
    with torch.no_grad():
        quantizer(latents(2, 4, 3, 3, seed=2))
    for key, value in quantizer.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", ["rotation", "vq_ema_revive"])
def test_codebooks_move_in_training(name: str) -> None:
    quantizer = make_quantizer(name).train()
    before = quantizer.inner.codebook.clone()
    quantizer(latents(2, 4, 3, 3))
    assert not torch.equal(before, quantizer.inner.codebook)


@pytest.mark.parametrize("name", ADAPTED)
def test_evaluation_after_training_needs_no_gradient(name: str) -> None:
    """The library's loss in evaluation is a buffer that its training has marked as requiring grad."""
    quantizer = make_quantizer(name).train()
    quantizer(latents(2, 4, 3, 3).requires_grad_())
    out = quantizer.eval()(latents(2, 4, 3, 3))
    assert out.losses == {}
    with torch.no_grad():
        assert not quantizer(latents(2, 4, 3, 3)).z.requires_grad


@pytest.mark.parametrize("name", ["rotation", "vq_ema_revive", "simvq"])
def test_nearest_code_against_float64(name: str) -> None:
    quantizer = make_quantizer(name, num_codes=16).eval()
    z = latents(3, 4, 5, 5)
    v = z.permute(0, 2, 3, 1).reshape(-1, 4).double()
    codebook = quantizer.decode(torch.arange(16)).detach().double()
    assert torch.equal(quantizer(z).codes.flatten(), (v[:, None] - codebook).square().sum(2).argmin(1))


def test_the_rotation_keeps_the_gradients_angle() -> None:
    """Fifty et al. 2024, section 4: the angle between gradient and vector is the same at the code and at the latent."""
    quantizer = make_quantizer("rotation", dim=8)
    z = latents(1, 8, 1, 4).requires_grad_()
    weights = latents(1, 8, 1, 4, seed=2)
    out = quantizer(z)
    (out.z * weights).sum().backward()
    cosine = torch.nn.functional.cosine_similarity
    torch.testing.assert_close(cosine(z.grad, z, dim=1), cosine(weights, out.z, dim=1), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(z.grad, weights)


def test_dead_codes_are_revived() -> None:
    quantizer = make_quantizer("vq_ema_revive", num_codes=64, revive_below=1.0, decay=0.5)
    far = latents(4, 4, 8, 8) + 50
    for _ in range(30):
        quantizer(far)
    used = quantizer.eval()(far).codes.unique()
    assert len(used) > 48


def test_fsq_by_hand() -> None:
    """Levels 3, 5 with the projections set to the identity on the first two components."""
    quantizer = make_quantizer("fsq", dim=4, levels=[3, 5]).eval()
    for layer in (quantizer.inner.project_in, quantizer.inner.project_out):
        layer.weight.data = torch.eye(*layer.weight.shape)
        layer.bias.data.zero_()
    z = torch.tensor([[0.2, 10.0, 7.0, 7.0], [-9.0, 0.3, 7.0, 7.0]]).view(1, 1, 2, 4).permute(0, 3, 1, 2)
    points = quantizer(z).z.permute(0, 2, 3, 1).reshape(2, 4)
    torch.testing.assert_close(points, torch.tensor([[0.0, 1.0, 0, 0], [-1.0, 0.5, 0, 0]]))
    bounded = quantizer.unquantized(z, quantizer(z).codes).permute(0, 2, 3, 1).reshape(2, 4)
    steps = torch.tensor([1.0, 2.0, 1.0, 1.0])  # a level is 1/1 and 1/2 wide
    torch.testing.assert_close(torch.round(bounded * steps) / steps, points)
    torch.testing.assert_close(bounded[0, 0].item(), math.tanh(0.2) * 1.001, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["fsq", "lfq", "simvq", "vq_ema_revive"])
def test_the_gradient_passes_straight_through(name: str) -> None:
    """The latents' gradient is the one that they would get if they were not quantized."""
    quantizer, z, weights = make_quantizer(name), latents(2, 4, 3, 3).requires_grad_(), latents(2, 4, 3, 3, seed=2)
    out = quantizer(z)
    (gradient,) = torch.autograd.grad((out.z * weights).sum(), z)
    (expected,) = torch.autograd.grad((quantizer.unquantized(z, out.codes) * weights).sum(), z)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", ["gumbel", "rotation", "simvq", "vq_ema_revive"])
def test_without_a_projection_the_decoder_could_get_the_latents_themselves(name: str) -> None:
    quantizer, z = make_quantizer(name), latents(2, 4, 3, 3)
    assert torch.equal(quantizer.unquantized(z, quantizer(z).codes), z)


def test_lfq_takes_signs_and_a_power_of_two() -> None:
    for spherical in (True, False):
        quantizer = make_quantizer("lfq", dim=4, num_codes=8, spherical=spherical).eval()
        out = quantizer(latents(2, 4, 3, 3))
        v = latents(2, 4, 3, 3).permute(0, 2, 3, 1).reshape(-1, 4)
        inside = quantizer.inner.project_in(v)
        inside = inside / inside.norm(dim=1, keepdim=True) if spherical else inside
        points = inside.sign() / (math.sqrt(3) if spherical else 1)
        torch.testing.assert_close(quantizer.inner.project_out(points), out.z.permute(0, 2, 3, 1).reshape(-1, 4))
        through = quantizer.unquantized(latents(2, 4, 3, 3), out.codes).permute(0, 2, 3, 1).reshape(-1, 4)
        torch.testing.assert_close(through, quantizer.inner.project_out(inside))
        assert torch.allclose(inside.norm(dim=1), torch.ones(())) == spherical
    with pytest.raises(UserError, match="^num_codes is 12.*power of 2"):
        make_quantizer("lfq", num_codes=12)


def test_lfqs_entropy_loss_has_a_gradient_far_from_zero() -> None:
    """Latents that share a large offset; the library's own temperature leaves them none."""

    def gradient(**settings: object) -> float:
        quantizer = make_quantizer("lfq", dim=4, num_codes=8, beta=0.0, entropy_weight=1.0, **settings)
        z = (latents(8, 4, 4, 4, scale=0.3) + 3).requires_grad_()
        sum(quantizer(z).losses.values()).backward()
        return z.grad.norm().item()

    assert gradient() > 20 * gradient(spherical=False, inverse_temperature=100.0)
