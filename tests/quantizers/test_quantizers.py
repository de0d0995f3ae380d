"""Every quantizer keeps the contract of `Quantizer`; what is special to each is checked by hand and in float64."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_quantizer
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline import quantizers
from pipeline.core import registry
from pipeline.core.errors import NonFiniteError, UserError
from pipeline.quantizers.lattice import initial_range

NAMES = quantizers.names()
STRAIGHT = [name for name in NAMES if quantizers.find(name).straight]


def latents(*shape: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * scale


# On a GPU these look at values at every step: an exact search for near-ties, a library whether it has begun.
LOOKING = ["adaptive", "kd", "rotation", "vq", "vq_ema", "vq_ema_revive"]
COMMITTED = ["adaptive", "kd", "lattice", "vq", "vq_ema"]  # those that have a distance to be lowered in evaluation, too

# -- contract: every file in pipeline/quantizers/, unnamed ------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_decoding(name: str) -> None:
    quantizer = make_quantizer(name).eval()
    z = latents(2, 4, 3, 5)
    out = quantizer(z)
    assert out.z.shape == z.shape
    assert out.codes.shape[:3] == (2, 3, 5)
    assert not out.codes.is_floating_point()
    torch.testing.assert_close(quantizer.decode(out.codes), out.z.permute(0, 2, 3, 1))
    assert all(loss.shape == () and math.isfinite(loss.item()) for loss in out.losses.values())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LOOKING])
def test_a_call_away_from_the_cpu_never_waits_for_a_value(name: str) -> None:
    """The device `meta` has shapes and no values: whatever would make the host wait for a GPU fails there."""
    quantizer = make_quantizer(name).train().to("meta")
    z = torch.empty(2, 4, 3, 5, device="meta", requires_grad=True)
    out = quantizer(z)
    (out.z.sum() + sum(out.losses.values())).backward()
    assert z.grad.is_meta
    assert out.codes.is_meta


def test_moving_averages_away_from_the_cpu_never_wait_for_a_value() -> None:
    quantizer = make_quantizer("vq_ema").to("meta")
    quantizer.update(torch.empty(6, 4, device="meta"), torch.empty(6, dtype=torch.int64, device="meta"))


@pytest.mark.parametrize("name", STRAIGHT)
def test_gradient_passes_straight_through(name: str) -> None:
    """The latents' gradient is the one they would get if they were not quantized."""
    quantizer = make_quantizer(name)
    z = latents(2, 4, 3, 3).requires_grad_()
    weights = latents(2, 4, 3, 3, seed=2)
    out = quantizer(z)
    (gradient,) = torch.autograd.grad((out.z * weights).sum(), z)
    (expected,) = torch.autograd.grad((quantizer.unquantized(z, out.codes) * weights).sum(), z)
    torch.testing.assert_close(gradient, expected)
    if name in ("vq", "vq_ema", "lattice", "vq_ema_revive", "simvq"):
        torch.testing.assert_close(gradient, weights)


@pytest.mark.parametrize("name", NAMES)
def test_every_quantizer_lets_the_encoder_learn(name: str) -> None:
    quantizer = make_quantizer(name)
    z = latents(2, 4, 3, 3).requires_grad_()
    (quantizer(z).z * latents(2, 4, 3, 3, seed=2)).sum().backward()
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().sum() > 0
    assert quantizer.unquantized(z, quantizer(z).codes).shape == z.shape


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_changes_no_state(name: str) -> None:
    quantizer = make_quantizer(name).eval()
    before = copy.deepcopy(quantizer.state_dict())
    first, second = quantizer(latents(2, 4, 3, 3)), quantizer(latents(2, 4, 3, 3))
    assert torch.equal(first.z, second.z)
    for key, value in quantizer.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_those_of_a_codebook(name: str) -> None:
    quantizer = make_quantizer(name)
    codes = quantizer(latents(8, 4, 6, 6, scale=3)).codes
    if quantizer.finite:
        assert codes.min() >= 0
        assert codes.max() < quantizer.num_codes


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    first, other = make_quantizer(name, seed=0), make_quantizer(name, seed=1)
    first(latents(2, 4, 3, 3))
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    z = latents(2, 4, 3, 3, seed=3)
    assert torch.equal(first.eval()(z).z, other.eval()(z).z)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (3, 1, 2, 2)], ids=["one latent", "D = 1"])
def test_smallest_shapes(name: str, shape: tuple[int, ...]) -> None:
    quantizer = make_quantizer(name, dim=shape[1])
    out = quantizer(latents(*shape))
    assert out.z.shape == shape
    assert torch.isfinite(out.z).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_tiny_and_huge_latents_stay_finite(name: str, scale: float) -> None:
    out = make_quantizer(name)(latents(2, 4, 3, 3, scale=scale))
    assert torch.isfinite(out.z).all()
    assert all(torch.isfinite(loss) for loss in out.losses.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_latents_that_are_not_finite_are_an_error(name: str, wrong: float) -> None:
    z = latents(2, 4, 3, 3)
    z[1, 2, 0, 1] = wrong
    with pytest.raises(NonFiniteError):
        make_quantizer(name)(z)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_dimension_names_both(name: str) -> None:
    with pytest.raises(ValueError, match="5 components.*made for 4"):
        make_quantizer(name)(latents(2, 5, 3, 3))


@pytest.mark.parametrize("name", NAMES)
def test_memory_format_does_not_matter(name: str) -> None:
    quantizer = make_quantizer(name).eval()
    z = latents(2, 4, 3, 5)
    plain, last = quantizer(z), quantizer(z.contiguous(memory_format=torch.channels_last))
    assert torch.equal(plain.z, last.z)
    assert torch.equal(plain.codes, last.codes)


@pytest.mark.parametrize("name", COMMITTED)
def test_losses_lower_when_latents_move_along_their_gradient(name: str) -> None:
    quantizer = make_quantizer(name).eval()
    z = latents(4, 4, 3, 3).requires_grad_()
    loss = sum(quantizer(z).losses.values())
    (gradient,) = torch.autograd.grad(loss, z)
    moved = sum(quantizer((z - 1e-3 * gradient / gradient.norm()).detach()).losses.values())
    assert moved.item() < loss.item()


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_params_yaml(name: str, params: dict[str, Any]) -> None:
    for key, field in registry.settings_of(quantizers.find(name)).model_fields.items():
        assert not field.is_required(), key
        assert field.default == params["quantizer"][key], key


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(UserError, match=r"no quantizer 'latice'; there is .*lattice"):
        quantizers.find("latice")


# -- the codebook quantizers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vq", "vq_ema"])
def test_nearest_code_against_float64(name: str) -> None:
    quantizer = make_quantizer(name, num_codes=16).eval()
    z = latents(3, 4, 5, 5)
    v = z.permute(0, 2, 3, 1).reshape(-1, 4).double()
    distances = (v[:, None] - quantizer.codebook.detach().double()[None]).square().sum(2)
    assert torch.equal(quantizer(z).codes.flatten(), distances.argmin(1))


def test_vq_losses_by_hand() -> None:
    quantizer = make_quantizer("vq", dim=2, num_codes=2, beta=0.25)
    quantizer.codebook.data = torch.tensor([[0.0, 0.0], [10.0, 10.0]])
    z = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).requires_grad_()
    out = quantizer(z)
    assert out.codes.item() == 0
    assert out.losses["codebook_loss"].item() == pytest.approx((1 + 9) / 2)
    assert out.losses["commitment_loss"].item() == pytest.approx(0.25 * (1 + 9) / 2)
    sum(out.losses.values()).backward()
    torch.testing.assert_close(quantizer.codebook.grad, torch.tensor([[-1.0, -3.0], [0.0, 0.0]]))
    torch.testing.assert_close(z.grad.flatten(), 0.25 * torch.tensor([1.0, 3.0]))


def test_vq_starts_within_one_over_k() -> None:
    codebook = make_quantizer("vq", dim=64, num_codes=512).codebook
    assert codebook.abs().max() <= 1 / 512
    assert codebook.abs().max() > 0.99 / 512


def ema_in_float64(
    quantizer: quantizers.Quantizer, batches: list[Tensor], store_smoothed: bool, epsilon: float, decay: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The moving averages recomputed one vector at a time."""
    codebook, counts, sums = (getattr(quantizer, name).double().clone() for name in ("codebook", "counts", "sums"))
    for batch in batches:
        used, added = torch.zeros_like(counts), torch.zeros_like(sums)
        for vector in batch.permute(0, 2, 3, 1).reshape(-1, codebook.shape[1]).double():
            code = (codebook - vector).square().sum(1).argmin()
            used[code] += 1
            added[code] += vector
        counts = decay * counts + (1 - decay) * used
        sums = decay * sums + (1 - decay) * added
        smoothed = (counts + epsilon) / (counts.sum() + len(counts) * epsilon) * counts.sum()
        counts = smoothed if store_smoothed else counts
        codebook = sums / smoothed[:, None]
    return codebook, counts, sums


@pytest.mark.parametrize("store_smoothed", [True, False])
@pytest.mark.parametrize("first_count", [0.0, 1.0])
def test_moving_averages_against_float64(store_smoothed: bool, first_count: float) -> None:
    quantizer = make_quantizer("vq_ema", decay=0.9, store_smoothed=store_smoothed, first_count=first_count)
    batches = [latents(2, 4, 3, 3, seed=seed) for seed in range(5)]
    expected = ema_in_float64(quantizer, batches, store_smoothed, epsilon=1e-5, decay=0.9)
    for batch in batches:
        quantizer(batch)
    for name, value in zip(("codebook", "counts", "sums"), expected, strict=True):
        torch.testing.assert_close(getattr(quantizer, name).double(), value, rtol=2e-4, atol=1e-5)


def test_ema_gives_the_codebook_before_its_update() -> None:
    quantizer = make_quantizer("vq_ema")
    before = quantizer.codebook.clone()
    out = quantizer(latents(2, 4, 3, 3))
    assert not torch.equal(quantizer.codebook, before)
    torch.testing.assert_close(before[out.codes], out.z.permute(0, 2, 3, 1))


def test_ema_starts_as_published_and_as_corrected() -> None:
    published, corrected = (make_quantizer("vq_ema", first_count=count) for count in (0.0, 1.0))
    assert published.counts.sum() == 0
    assert not torch.equal(published.sums, published.codebook)
    assert torch.equal(corrected.counts, torch.ones(8))
    assert torch.equal(corrected.sums, corrected.codebook)


def test_parameter_counts_are_the_papers() -> None:
    counts = {name: make_quantizer(name, dim=64, num_codes=512).parameter_count for name in ("vq", "vq_ema", "lattice")}
    assert counts == {"vq": 32_768, "vq_ema": 65_536, "lattice": 64}


# -- the lattice ------------------------------------------------------------------------------------------------------


def test_initial_range_is_the_papers() -> None:
    assert initial_range(512, 64) == pytest.approx(9.76, abs=0.01)
    assert initial_range(2**64, 64) == pytest.approx(1.0)
    spacing = make_quantizer("lattice", dim=4096, init="unit").spacing
    assert 0.99 < spacing.abs().max() <= 1


@pytest.mark.parametrize(("init", "reach"), [("spaced", initial_range(8, 4)), ("unit", 1.0), (5.0, 5.0)])
def test_spacing_starts_within_its_range(init: str | float, reach: float) -> None:
    sizes = torch.cat([make_quantizer("lattice", seed=seed, init=init).spacing.detach() for seed in range(200)])
    assert sizes.abs().max() <= reach
    assert sizes.abs().max() > 0.97 * reach
    assert sizes.min() < -0.9 * reach


def test_lattice_by_hand() -> None:
    quantizer = make_quantizer("lattice", dim=3, beta=0.25, gamma=2.0)
    quantizer.spacing.data = torch.tensor([2.0, -1.0, 4.0])
    z = torch.tensor([3.2, 2.6, 1.0]).view(1, 3, 1, 1).requires_grad_()
    out = quantizer(z)
    assert out.codes.flatten().tolist() == [2, -3, 0]
    torch.testing.assert_close(out.z.flatten(), torch.tensor([4.0, 3.0, 0.0]))
    error = (0.8**2 + 0.4**2 + 1.0) / 3
    assert out.losses["codebook_loss"].item() == pytest.approx(error)
    assert out.losses["commitment_loss"].item() == pytest.approx(0.25 * error)
    assert out.losses["size_loss"].item() == pytest.approx(-2.0 * 7)
    sum(out.losses.values()).backward()
    expected = torch.tensor([2 * 0.8 * 2, 2 * 0.4 * -3, 0.0]) / 3 - 2.0 * torch.tensor([1.0, -1.0, 1.0])
    torch.testing.assert_close(quantizer.spacing.grad, expected)


def test_halves_round_to_even() -> None:
    quantizer = make_quantizer("lattice", dim=1)
    quantizer.spacing.data = torch.tensor([2.0])
    z = torch.tensor([1.0, 3.0, 5.0, -1.0]).view(1, 1, 2, 2)
    assert quantizer(z).codes.flatten().tolist() == [0, 2, 2, 0]


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_rounding_finds_the_closest_lattice_point(seed: int, scale: float) -> None:
    quantizer = make_quantizer("lattice", dim=3, seed=seed % 1000)
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
    quantizer = make_quantizer("lattice", learning=learning, gamma=1.0)
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


@pytest.mark.parametrize("learning", ["learned", "ramp", "frozen"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 49, 2 * 2**15 + 7])  # one vector; less and more than it takes at a time
def test_the_lattice_at_once_is_the_lattice_step_by_step(count: int, dtype: torch.dtype, learning: str) -> None:
    """`quantize` as the base class makes it of `nearest` and `losses` is what the one by hand is compared with."""
    quantizer = make_quantizer("lattice", gamma=0.7, learning=learning).to(dtype)
    v = (3 * latents(count, 4)).to(dtype)
    weights, share = latents(count, 4, seed=2).to(dtype), {"codebook_loss": 1.5, "commitment_loss": 0.5, "size_loss": 2}
    found = []
    for quantize in (quantizers.Quantizer.quantize, type(quantizer).quantize):
        leaf = v.clone().requires_grad_()
        quantizer.spacing.grad = None
        points, codes, losses = quantize(quantizer, leaf, 1)
        ((points * weights).sum() + sum(share[name] * loss for name, loss in losses.items())).backward()
        found.append((points, codes, losses, leaf.grad, quantizer.spacing.grad))
    (points, codes, losses, gradient, moved), (points2, codes2, losses2, gradient2, moved2) = found
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
    quantizer = make_quantizer("lattice", dim=3, gamma=0.0, beta=1.0).double()
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
    quantizer = make_quantizer("lattice")
    z = latents(2, 4, 3, 3).bfloat16().requires_grad_()
    out = quantizer(z)
    sum([out.z.sum(), *out.losses.values()]).backward()
    assert out.z.dtype == torch.float32
    assert z.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(("values", "expected"), [([], True), ([1.0, -2.0], True), ([1.0, math.nan], False)])
def test_finite_by_hand(values: list[float], expected: bool) -> None:
    assert quantizers.finite(torch.tensor(values)) is expected
    assert not quantizers.finite(torch.tensor([*values, -math.inf]))
