"""The learned lattice: by hand, against its formulas step by step, and what it tells of itself."""

from __future__ import annotations

import pytest
import torch
from conftest import make_quantizer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.quantizers import straight_through
from pipeline.quantizers.lattice import Lattice, initial_range


def latents(*shape: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def lattice(**settings: object) -> Lattice:
    quantizer = make_quantizer("lattice", **settings)
    assert isinstance(quantizer, Lattice)
    return quantizer


def test_initial_range_is_the_papers() -> None:
    assert initial_range(512, 64) == pytest.approx(9.76, abs=0.01)
    assert initial_range(2**64, 64) == pytest.approx(1.0)
    spacing = lattice(dim=4096, init="unit").spacing
    assert 0.99 < spacing.abs().max() <= 1


@pytest.mark.parametrize(("init", "reach"), [("spaced", initial_range(8, 4)), ("unit", 1.0), (5.0, 5.0)])
def test_spacing_starts_within_its_range(init: str | float, reach: float) -> None:
    sizes = torch.cat([lattice(seed=seed, init=init).spacing.detach() for seed in range(200)])
    assert sizes.abs().max() <= reach
    assert sizes.abs().max() > 0.97 * reach
    assert sizes.min() < -0.9 * reach


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_rounding_finds_the_closest_lattice_point(seed: int, scale: float) -> None:
    quantizer = lattice(dim=3, seed=seed % 1000)
    z = latents(1, 3, 4, 4, seed=seed, scale=scale)
    out = quantizer(z)
    v, points = (x.permute(0, 2, 3, 1).reshape(-1, 3).double() for x in (z, out.z.detach()))
    spacing = quantizer.spacing.detach().double()
    best = (v - points).square().sum(1)
    for axis in range(3):
        for step in (-1, 1):
            moved = points.clone()
            moved[:, axis] += step * spacing[axis]
            assert (best <= (v - moved).square().sum(1) * (1 + 1e-5)).all()


@pytest.mark.parametrize(("learning", "moves"), [("learned", True), ("ramp", True), ("frozen", False)])
def test_what_moves_the_spacing(learning: str, moves: bool) -> None:
    quantizer = lattice(learning=learning, gamma=1.0)
    before = quantizer.spacing.detach().clone()
    z = latents(2, 4, 3, 3, scale=5).requires_grad_()
    optimizer = torch.optim.Adam([z, quantizer.spacing] if moves else [z], lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        sum(quantizer(z).losses.values()).backward()
        optimizer.step()
    change = quantizer.spacing.detach() - before
    assert bool(change.any()) == moves
    if learning == "ramp":
        torch.testing.assert_close(change, 10 * 1e-3 * before.sign(), rtol=1e-4, atol=1e-6)


def step_by_step(quantizer: Lattice, v: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """LL-VQ-VAE's equations as they are written, gradients by autograd."""
    steps = torch.round(v.detach() * (1 / quantizer.spacing.detach()))
    points = (quantizer.spacing.detach() if quantizer.learning == "ramp" else quantizer.spacing) * steps
    losses = {
        "codebook_loss": (points - v.detach()).square().mean(),
        "commitment_loss": quantizer.beta * (v - points.detach()).square().mean(),
        "size_loss": -quantizer.gamma * quantizer.spacing.abs().sum(),
    }
    return straight_through(v, points), steps.to(torch.int32), losses


@pytest.mark.parametrize("learning", ["learned", "ramp", "frozen"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 49, 2 * 2**15 + 7])  # one vector; less and more than it takes at a time
def test_the_lattice_at_once_is_the_lattice_step_by_step(count: int, dtype: torch.dtype, learning: str) -> None:
    quantizer = lattice(gamma=0.7, learning=learning).to(dtype)
    v = (3 * latents(count, 4)).to(dtype)
    weights, share = latents(count, 4, seed=2).to(dtype), {"codebook_loss": 1.5, "commitment_loss": 0.5, "size_loss": 2}
    results = []
    for quantize in (step_by_step, lambda quantizer, leaf: quantizer.quantize(leaf, 1)):
        leaf = v.clone().requires_grad_()
        quantizer.spacing.grad = None
        points, codes, losses = quantize(quantizer, leaf)
        ((points * weights).sum() + sum(share[name] * loss for name, loss in losses.items())).backward()
        results.append((points, codes, losses, leaf.grad, quantizer.spacing.grad))
    (points, codes, losses, gradient, moved), (points2, codes2, losses2, gradient2, moved2) = results
    assert torch.equal(points, points2)
    assert torch.equal(codes, codes2)
    tolerance = {"rtol": 2e-5, "atol": 1e-7} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(losses, losses2, **tolerance)
    torch.testing.assert_close(gradient, gradient2, **tolerance)
    if learning == "frozen":
        assert moved is None
        assert moved2 is None
    else:
        torch.testing.assert_close(moved, moved2, **tolerance)


def test_the_lattice_at_once_has_the_gradients_that_differences_show() -> None:
    """In float64, away from where rounding jumps: the squared error against the spacing, and against the latents."""
    quantizer = lattice(dim=3, gamma=0.0, beta=1.0).double()
    v = torch.tensor([[0.3, 1.1, -2.2], [4.0, -0.7, 0.9]], dtype=torch.float64)
    steps = torch.round(v / quantizer.spacing.detach())

    def error(spacing: Tensor, at: Tensor) -> Tensor:
        return (spacing * steps - at).square().mean()

    leaf, spacing = v.clone().requires_grad_(), quantizer.spacing
    sum(quantizer.quantize(leaf, 1)[2].values()).backward()
    tiny = 1e-6
    for axis in range(3):
        nudge = torch.zeros(3, dtype=torch.float64)
        nudge[axis] = tiny
        slope = (error(spacing.detach() + nudge, v) - error(spacing.detach() - nudge, v)) / (2 * tiny)
        assert spacing.grad[axis].item() == pytest.approx(slope.item(), rel=1e-6, abs=1e-9)
        slope = (error(spacing.detach(), v + nudge) - error(spacing.detach(), v - nudge)) / (2 * tiny)
        assert leaf.grad[:, axis].sum().item() == pytest.approx(slope.item(), rel=1e-6, abs=1e-9)


def test_the_lattice_under_autocast_gives_latents_back_their_type() -> None:
    quantizer = lattice()
    z = latents(2, 4, 3, 3).bfloat16().requires_grad_()
    out = quantizer(z)
    sum([out.z.sum(), *out.losses.values()]).backward()
    assert out.z.dtype == torch.float32
    assert z.grad.dtype == torch.bfloat16


def test_a_lattice_has_no_end() -> None:
    assert lattice().codebook_size() is None
    assert lattice(num_codes=100).num_codes == 100


def test_the_gradient_passes_straight_through() -> None:
    quantizer, z, weights = lattice(), latents(2, 4, 3, 3).requires_grad_(), latents(2, 4, 3, 3, seed=2)
    (gradient,) = torch.autograd.grad((quantizer(z).z * weights).sum(), z)
    torch.testing.assert_close(gradient, weights)
    assert torch.equal(quantizer.unquantized(z, quantizer(z).codes), z)


def test_trace_and_statistics_by_hand() -> None:
    quantizer = lattice(dim=3)
    quantizer.spacing.data = torch.tensor([2.0, -1.0, 6.0])
    assert quantizer.statistics() == {"spacing_mean": 3.0, "spacing_min": 1.0, "spacing_max": 6.0}
    assert {name: value.item() for name, value in quantizer.trace().items()} == quantizer.statistics()


def test_distance_from_the_ramp_by_hand() -> None:
    quantizer = lattice(dim=3, gamma=0.1)
    quantizer.spacing.data = torch.tensor([1.5, -2.5, 3.25])
    start = {"spacing": torch.tensor([1.0, -2.0, 3.0])}
    assert quantizer.learned(start, 0.5) == {"spacing_off_ramp": pytest.approx(0.25)}


@pytest.mark.parametrize("settings", [{"gamma": -1.0}, {"gamma": 0.0}, {"learning": "frozen"}])
def test_there_is_no_ramp_without_a_size_loss_that_pushes_outwards(settings: dict[str, object]) -> None:
    quantizer = lattice(**settings)
    assert quantizer.learned(quantizer.state_dict(), 0.0) == {}


def test_a_size_loss_alone_is_a_ramp() -> None:
    """Adam on −Σ|b| moves every spacing by the learning rate per step, away from 0."""
    quantizer = lattice(learning="ramp")
    start = {key: value.clone() for key, value in quantizer.state_dict().items()}
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=1e-3)
    for _ in range(50):
        optimizer.zero_grad()
        quantizer(torch.zeros(1, 4, 1, 1)).losses["size_loss"].backward()
        optimizer.step()
    assert quantizer.learned(start, 50 * 1e-3)["spacing_off_ramp"] == pytest.approx(0.0, abs=1e-5)
