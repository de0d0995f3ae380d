"""Several codebooks of which each image or position chooses one."""

import math

import pytest
import torch
from conftest import make_quantizer
from torch import Tensor

from pipeline.core.errors import UserError
from pipeline.quantizers import straight_through
from pipeline.quantizers.adaptive import Adaptive, Attention


def latents(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make(**settings: object) -> Adaptive:
    quantizer = make_quantizer("adaptive", **settings)
    assert isinstance(quantizer, Adaptive)
    return quantizer


def prefer(quantizer: Adaptive, number: int, strength: float = 50.0) -> None:
    """Replace the scores by ones that all but decide for one codebook."""
    logits = torch.zeros(len(quantizer.codebooks))
    logits[number] = strength
    quantizer.scores = torch.nn.Module()
    quantizer.scores.forward = lambda queries: logits.expand(len(queries), -1)  # type: ignore[method-assign]


def test_codes_lie_end_to_end() -> None:
    quantizer = make(sizes=[2, 4, 8], capacity=8)
    assert [book.codebook.shape for book in quantizer.codebooks] == [(2, 4), (4, 2), (8, 1)]
    assert quantizer.num_codes == 14
    assert quantizer.codebook_of(torch.arange(14)).tolist() == [0] * 2 + [1] * 4 + [2] * 8


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("train", [True, False])
def test_the_chosen_codebook_quantizes_as_it_would_alone(number: int, train: bool) -> None:
    quantizer, alone = make(), make()
    prefer(quantizer, number)
    z = latents(3, 4, 2, 2)
    expected = alone.codebooks[number].train(train)(z)
    out = quantizer.train(train)(z)
    torch.testing.assert_close(out.z, expected.z)
    assert torch.equal(out.codes - quantizer.offsets[number], expected.codes)
    if train:
        torch.testing.assert_close(out.losses["commitment_loss"], expected.losses["commitment_loss"])
    torch.testing.assert_close(quantizer.codebooks[number].codebook, alone.codebooks[number].codebook)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_unquantized_latents_go_through_the_chosen_codebooks_projections(number: int) -> None:
    quantizer = make()
    prefer(quantizer, number)
    z = latents(3, 4, 2, 2)
    codes = quantizer.eval()(z).codes
    expected = quantizer.codebooks[number].unquantized(z, codes)
    torch.testing.assert_close(quantizer.unquantized(z, codes), expected)


def plainly(
    quantizer: Adaptive, latents: Tensor, weights: Tensor, choice: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What `Adaptive._train` does, one codebook after the other, each through its own projection."""
    mixed, codes, commitment = torch.zeros_like(latents), torch.zeros_like(choice), latents.new_zeros(())
    for number, book in enumerate(quantizer.codebooks):
        v = book.project_in(latents)
        points, found = book.nearest(v)
        mixed = mixed + weights[:, number, None] * book.project_out(straight_through(v, points))
        here = choice == number
        codes = torch.where(here, quantizer.offsets[number] + found, codes)
        mine = here if quantizer.sampling == "gumbel" else weights[:, number].detach()
        commitment = commitment + ((v - points.detach()).square().mean(1) * mine).mean()
        if here.any():
            book.update(v.detach()[here], found[here])
    return mixed, codes, {"commitment_loss": quantizer.beta * commitment}


@pytest.mark.parametrize("start", ["normal", "latents"])
@pytest.mark.parametrize("choice_per", ["image", "position"])
@pytest.mark.parametrize("sampling", ["gumbel", "soft"])
def test_all_at_once_is_one_by_one(sampling: str, choice_per: str, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, codes, loss, all gradients and the codebooks after three steps."""
    settings = {"sampling": sampling, "choice_per": choice_per, "start": start, "first_count": 1.0, "dim": 6}
    together, apart = (make(sizes=[4, 8, 16, 32], capacity=32, **settings).double() for _ in range(2))
    monkeypatch.setattr(apart, "_train", lambda *inputs: plainly(apart, *inputs))
    for step in range(3):
        grads = []
        for quantizer in (together, apart):
            z = latents(5, 6, 4, 4, seed=step).double().requires_grad_()
            torch.manual_seed(step)
            out = quantizer(z)
            loss = (out.z * latents(5, 6, 4, 4, seed=step + 9)).sum() + 2 * out.losses["commitment_loss"]
            parameters = dict(quantizer.named_parameters())
            grads.append(
                (out, dict(zip(["z", *parameters], torch.autograd.grad(loss, [z, *parameters.values()]), strict=True)))
            )
        (one, found), (other, expected) = grads
        torch.testing.assert_close(one.z, other.z)
        assert torch.equal(one.codes, other.codes)
        torch.testing.assert_close(one.losses, other.losses)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(together.state_dict(), apart.state_dict())
    assert len(together.codebook_of(one.codes).unique()) > 1


def test_only_the_chosen_codebook_moves() -> None:
    quantizer = make()
    before = [book.codebook.clone() for book in quantizer.codebooks]
    prefer(quantizer, 1)
    quantizer(latents(3, 4, 2, 2))
    moved = [not torch.equal(book.codebook, old) for book, old in zip(quantizer.codebooks, before, strict=True)]
    assert moved == [False, True, False]


@pytest.mark.parametrize("choice_per", ["image", "position"])
def test_who_chooses(choice_per: str) -> None:
    quantizer = make(choice_per=choice_per, temperature_start=5.0)
    owner = quantizer.codebook_of(quantizer(latents(32, 4, 4, 4)).codes).flatten(1)
    one_each = all(len(row.unique()) == 1 for row in owner)
    assert one_each == (choice_per == "image")
    assert len(owner.unique()) == 3


def test_training_draws_and_evaluation_does_not() -> None:
    quantizer = make(sizes=[2, 4], capacity=8, scores="bias")
    quantizer.scores.logits.data = torch.tensor([math.log(3.0), 0.0])
    owner = quantizer.codebook_of(quantizer(latents(4000, 4, 1, 1)).codes)
    assert (owner == 0).double().mean().item() == pytest.approx(0.75, abs=0.03)
    quantizer.eval()
    assert (quantizer.codebook_of(quantizer(latents(50, 4, 1, 1)).codes) == 0).all()


def test_temperature_falls_geometrically() -> None:
    quantizer = make(temperature_start=1.0, temperature_end=0.1)
    found = []
    for progress in (0.0, 0.5, 1.0):
        quantizer.anneal(progress)
        found.append(quantizer.temperature)
    assert found == pytest.approx([1.0, math.sqrt(0.1), 0.1])


def test_one_head_gives_the_scores_themselves() -> None:
    """Not their softmax, which would barely beat the Gumbel noise; a constant does not matter to a softmax."""
    attention = Attention(6, 3, 1)
    queries = latents(5, 6)
    query, key = attention.to_query(queries), attention.to_key(attention.keys)
    scores = query @ key.T / math.sqrt(6)
    torch.testing.assert_close(attention(queries).softmax(1), scores.softmax(1))
    attention.keys.data *= 100
    assert attention(queries).amin() < -5


@pytest.mark.parametrize("heads", range(1, 9))
def test_heads_average_their_attention(heads: int) -> None:
    attention = Attention(64, 5, heads)
    queries = latents(3, 64)
    width = 64 // heads
    query = attention.to_query(queries).view(3, heads, width)
    key = attention.to_key(attention.keys).view(5, heads, width)
    weights = [(query[:, h] @ key[:, h].T / math.sqrt(width)).softmax(1) for h in range(heads)]
    torch.testing.assert_close(attention(queries).exp(), torch.stack(weights).mean(0))


@pytest.mark.parametrize("scores", ["attention", "bias"])
@pytest.mark.parametrize("sampling", ["gumbel", "soft"])
def test_what_scores_the_codebooks_learns(scores: str, sampling: str) -> None:
    quantizer = make(scores=scores, sampling=sampling)
    (quantizer(latents(6, 4, 2, 2)).z * latents(6, 4, 2, 2, seed=2)).sum().backward()
    for name, parameter in quantizer.scores.named_parameters():
        if name != "to_key.bias":  # it moves all scores of a query alike
            assert parameter.grad.abs().sum() > 0, name


def test_the_best_codebook_wins_by_gradient() -> None:
    """Where only one codebook can reproduce the target, its bias rises above the others'."""
    quantizer = make(sizes=[2, 4, 8], capacity=8, scores="bias", decay=0.999, first_count=1e6)
    for number, book in enumerate(quantizer.codebooks):
        torch.nn.init.zeros_(book.after.weight)
        torch.nn.init.constant_(book.after.bias, 1.0 if number == 2 else -1.0)
    optimizer = torch.optim.Adam(quantizer.scores.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        (quantizer(latents(16, 4, 2, 2)).z - 1).square().mean().backward()
        optimizer.step()
    assert quantizer.scores.logits.argmax() == 2
    assert quantizer.scores.logits.softmax(0)[2] > 0.9


def test_soft_mixture_by_hand() -> None:
    quantizer = make(sizes=[2, 4], capacity=8, scores="bias", sampling="soft")
    z = latents(2, 4, 2, 2)
    each = [book.eval()(z).z for book in quantizer.codebooks]
    torch.testing.assert_close(quantizer(z).z, (each[0] + each[1]) / 2)


def test_random_choice_is_even_and_the_same_in_every_evaluation() -> None:
    quantizer = make(scores="random")
    owner = quantizer.codebook_of(quantizer(latents(3000, 4, 1, 1)).codes).flatten()
    torch.testing.assert_close(torch.bincount(owner) / 3000, torch.full((3,), 1 / 3), atol=0.05, rtol=0)
    quantizer.eval()
    z = latents(200, 4, 1, 1)
    assert torch.equal(quantizer(z).codes, quantizer(z).codes)
    assert len(quantizer.codebook_of(quantizer(z).codes).unique()) == 3


def test_statistics_count_what_training_chose_since_the_last_time() -> None:
    quantizer = make(sizes=[2, 4, 8], capacity=8)
    prefer(quantizer, 2)
    quantizer(latents(3, 4, 2, 2))
    quantizer.eval()(latents(3, 4, 2, 2))
    found = quantizer.statistics()
    assert [found[f"chosen_{name}"] for name in ("2x4", "4x2", "8x1")] == [0, 0, 1]
    assert found["selected_log2_codes"] == 3
    assert quantizer.statistics()["chosen_8x1"] == 0


def test_sizes_divide_the_capacity() -> None:
    with pytest.raises(UserError, match="^sizes holds 3, which does not divide the capacity 8"):
        make(sizes=[2, 3], capacity=8)


def test_parameter_count() -> None:
    quantizer = make(dim=64, sizes=[512, 65536], capacity=65536, heads=4)
    books = 2 * (2 * 65_536) + (2 * 64 * 128 + 128 + 64) + (2 * 64 + 1 + 64)
    assert quantizer.parameter_count == books + 2 * 64 + 2 * (64 * 64 + 64)
