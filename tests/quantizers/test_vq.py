"""One codebook, learned by gradient or by moving averages: by hand and in float64."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import make_quantizer
from torch import Tensor

from pipeline import quantizers
from pipeline.quantizers import search


def latents(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize("name", ["vq", "vq_ema"])
def test_nothing_lies_between_the_latents_and_the_codebook(name: str) -> None:
    quantizer, z = make_quantizer(name), latents(2, 4, 3, 3)
    assert torch.equal(quantizer.unquantized(z, quantizer(z).codes), z)


def test_the_initial_box_by_hand() -> None:
    quantizer = make_quantizer("vq", dim=2, num_codes=3)
    start = {"codebook": torch.tensor([[0.1, -0.2], [0.2, 0.0], [0.0, 0.0]])}  # the box is ±0.2
    quantizer.codebook.data = torch.tensor([[0.2, -0.2], [0.3, 0.0], [0.0, -0.21]])
    assert quantizer.learned(start, 0.0) == {"codes_in_initial_box": 1}


def test_only_a_codebook_learned_by_gradient_has_an_initial_box() -> None:
    vq, ema = make_quantizer("vq"), make_quantizer("vq_ema")
    assert vq.learned(vq.state_dict(), 0.0) == {"codes_in_initial_box": 8}
    assert ema.learned(ema.state_dict(), 0.0) == {}


# On a GPU the exact search looks at near-ties, and adaptive and the library's averages at values, at every step.
@pytest.mark.parametrize("name", ["fsq", "gumbel", "kd", "lattice", "lfq", "simvq", "vq", "vq_ema"])
def test_beside_the_search_a_step_away_from_the_cpu_never_waits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device `meta` has shapes and no values: whatever would make the host wait for a GPU fails there."""

    def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
        return torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)

    monkeypatch.setattr(search, "nearest", nearest)
    quantizer = make_quantizer(name)
    quantizer(latents(2, 4, 3, 5))  # the first step looks whether codes are to start as latents
    quantizer.to("meta")
    z = torch.empty(2, 4, 3, 5, device="meta", requires_grad=True)
    out = quantizer(z)
    (out.z.sum() + sum(out.losses.values())).backward()
    assert z.grad.is_meta
    assert out.codes.is_meta


@pytest.mark.parametrize(("values", "expected"), [([], True), ([1.0, -2.0], True), ([1.0, math.nan], False)])
def test_all_finite_by_hand(values: list[float], expected: bool) -> None:
    assert quantizers.all_finite(torch.tensor(values)) is expected
    assert not quantizers.all_finite(torch.tensor([*values, -math.inf]))
