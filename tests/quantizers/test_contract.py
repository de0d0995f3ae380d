"""What every quantizer keeps to: each file in pipeline/quantizers/ is tested, by its name alone.

A new quantizer that breaks the contract finds here what it broke and what to do. What is special to a quantizer is
tested in the file of its kind.
"""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_quantizer
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline import quantizers
from pipeline.core import registry
from pipeline.core.errors import NonFiniteError, UserError
from pipeline.quantizers import CodebookQuantizer

NAMES = quantizers.names()
CLASSES = {name: registry.find(quantizers, quantizers.Quantizer, name) for name in NAMES}
WITH_CODEBOOK = [name for name, cls in CLASSES.items() if issubclass(cls, CodebookQuantizer)]

every_quantizer = pytest.mark.parametrize("name", NAMES)


def latents(*shape: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def call(quantizer: quantizers.Quantizer, z: Tensor) -> quantizers.Quantized:
    """A call that neither changes the quantizer nor draws other random numbers than the call before."""
    torch.manual_seed(0)
    return copy.deepcopy(quantizer)(z)


# -- what params.yaml and the report need -----------------------------------------------------------------------------


@every_quantizer
def test_it_says_how_tables_and_figures_show_it(name: str) -> None:
    cls = quantizers.find(name)
    for stated in ("title", "meaning", "colour"):
        assert stated in vars(cls), f"{name}: {cls.__name__} inherits its {stated}; state its own"
    assert "\n" not in cls.meaning, f"{name}: the meaning should be one line"
    assert len(cls.meaning) <= 100, f"{name}: the meaning should be one line"
    assert re.fullmatch("#[0-9A-F]{6}", cls.colour), f"{name}: the colour is {cls.colour!r}, but should be #RRGGBB"
    namesakes = [other for other in NAMES if getattr(CLASSES[other], "title", None) == cls.title]
    assert namesakes == [name], f"{' and '.join(namesakes)} have one title; give each its own"


@every_quantizer
def test_its_settings_stand_in_params_yaml(name: str, params: dict[str, Any]) -> None:
    listed = params["quantizer"]
    for key, field in registry.settings_of(quantizers.find(name)).model_fields.items():
        assert not field.is_required(), f"{name}: give the setting {key} a default"
        assert key in listed, f"{name}: params.yaml does not list {key}; add `{key}: {field.default}` under `quantizer`"
        assert field.default == listed[key], f"{name}: the default of {key} is {field.default}, but {listed[key]} there"


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(UserError, match=r"no quantizer 'latice'; there is .*lattice"):
        quantizers.find("latice")


# -- quantizing -------------------------------------------------------------------------------------------------------


@every_quantizer
@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_the_codes_stand_for_the_quantized_latents(name: str, train: bool) -> None:
    quantizer = make_quantizer(name).train(train)
    z = latents(2, 4, 3, 5)
    out = call(quantizer, z)
    assert out.z.shape == z.shape, f"{name}: z is {tuple(out.z.shape)}, but the latents are {tuple(z.shape)}"
    assert out.codes.shape[:2] == (2, 3), f"{name}: codes are {tuple(out.codes.shape)}, but should begin with B, H"
    decoded = quantizer.decode(out.codes)
    where = "decode(codes), with the codebook as it was before the step, should be z (B, H, W, D)"
    torch.testing.assert_close(decoded, out.z.permute(0, 2, 3, 1), msg=lambda text: f"{name}: {where}: {text}")


@every_quantizer
def test_codes_are_as_many_as_it_says(name: str) -> None:
    quantizer = make_quantizer(name)
    codes, size = quantizer(latents(8, 4, 6, 6, scale=3)).codes, quantizer.codebook_size()
    if size is None:
        assert codes.ndim == 4, f"{name}: codebook_size() is None, so that a code should be D integers"
    else:
        assert codes.min() >= 0, f"{name}: codes should begin at 0"
        assert codes.max() < size, f"{name}: codebook_size() is {size}, but there is a code {codes.max()}"


@every_quantizer
def test_evaluation_changes_nothing_and_draws_nothing(name: str) -> None:
    quantizer = make_quantizer(name).eval()
    before = copy.deepcopy(quantizer.state_dict())
    first, second = quantizer(latents(2, 4, 3, 3)), quantizer(latents(2, 4, 3, 3))
    assert torch.equal(first.z, second.z), f"{name}: in evaluation the same latents should give the same z"
    for key, value in quantizer.state_dict().items():
        assert torch.equal(value, before[key]), f"{name}: evaluation changed {key}; move it in training only"


@every_quantizer
def test_one_seed_gives_one_training(name: str) -> None:
    first, second = make_quantizer(name, seed=3), make_quantizer(name, seed=3)
    for quantizer in (first, second):
        torch.manual_seed(4)
        quantizer(latents(2, 4, 3, 3))
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), f"{name}: {key} depends on more than torch's seed"


@every_quantizer
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    first, other = make_quantizer(name, seed=0), make_quantizer(name, seed=1)
    first(latents(2, 4, 3, 3))
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    z = latents(2, 4, 3, 3, seed=3)
    same = torch.equal(first.eval()(z).z, other.eval()(z).z)
    assert same, f"{name}: what it learned should be parameters and buffers, which a saved model holds"


@every_quantizer
@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (3, 1, 2, 2)], ids=["one latent", "D = 1"])
def test_smallest_shapes(name: str, shape: tuple[int, ...]) -> None:
    out = make_quantizer(name, dim=shape[1])(latents(*shape))
    assert out.z.shape == shape
    assert torch.isfinite(out.z).all(), f"{name}: z is not finite for latents {shape}"


@every_quantizer
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_tiny_and_huge_latents_stay_finite(name: str, scale: float) -> None:
    out = make_quantizer(name)(latents(2, 4, 3, 3, scale=scale))
    assert torch.isfinite(out.z).all(), f"{name}: z is not finite for latents of about {scale}"
    for term, loss in out.losses.items():
        assert torch.isfinite(loss), f"{name}: {term} is not finite for latents of about {scale}"


@every_quantizer
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_latents_that_are_not_finite_are_an_error(name: str, wrong: float, train: bool) -> None:
    z = latents(2, 4, 3, 3)
    z[1, 2, 0, 1] = wrong
    with pytest.raises(NonFiniteError):
        make_quantizer(name).train(train)(z)


@every_quantizer
def test_wrong_dimension_names_both(name: str) -> None:
    with pytest.raises(ValueError, match="5 components.*made for 4"):
        make_quantizer(name)(latents(2, 5, 3, 3))


@every_quantizer
def test_memory_format_does_not_matter(name: str) -> None:
    quantizer = make_quantizer(name).eval()
    z = latents(2, 4, 3, 5)
    plain, last = quantizer(z), quantizer(z.contiguous(memory_format=torch.channels_last))
    assert torch.equal(plain.z, last.z), f"{name}: latents that are channels-last should give the same z"
    assert torch.equal(plain.codes, last.codes), f"{name}: latents that are channels-last should give the same codes"


# -- learning ---------------------------------------------------------------------------------------------------------


@every_quantizer
def test_the_encoder_learns_through_it(name: str) -> None:
    z = latents(2, 4, 3, 3).requires_grad_()
    (make_quantizer(name)(z).z * latents(2, 4, 3, 3, seed=2)).sum().backward()
    assert z.grad is not None, f"{name}: no gradient reaches the latents; see straight_through"
    assert torch.isfinite(z.grad).all(), f"{name}: the latents' gradient is not finite"
    assert z.grad.abs().sum() > 0, f"{name}: the latents' gradient is 0; see straight_through"


@every_quantizer
def test_losses_fall_where_latents_follow_their_gradient(name: str) -> None:
    quantizer = make_quantizer(name)
    z = latents(4, 4, 3, 3).requires_grad_()
    losses = call(quantizer, z).losses
    for term, loss in losses.items():
        assert loss.shape == (), f"{name}: {term} is {tuple(loss.shape)}, but should be a scalar"
    if not losses:  # then there is nothing to fall: fsq
        return
    (gradient,) = torch.autograd.grad(sum(losses.values()), z)
    moved = call(quantizer, (z - 1e-3 * gradient / gradient.norm()).detach()).losses
    assert sum(moved.values()) < sum(losses.values()), f"{name}: its losses rise along their own gradient"


@every_quantizer
def test_unquantized_latents_are_what_the_decoder_could_get(name: str) -> None:
    quantizer = make_quantizer(name).eval()
    z = latents(2, 4, 3, 5).requires_grad_()
    through = quantizer.unquantized(z, quantizer(z).codes)
    assert through.shape == z.shape, f"{name}: unquantized gives {tuple(through.shape)} for latents {tuple(z.shape)}"
    (gradient,) = torch.autograd.grad((through * latents(2, 4, 3, 5, seed=2)).sum(), z)
    assert (gradient != 0).any((1, 2, 3)).all(), f"{name}: unquantized should depend on the latents of every image"


@pytest.mark.parametrize("name", WITH_CODEBOOK)
def test_a_codebook_passes_the_gradient_straight_through(name: str) -> None:
    """The latents' gradient is the one that they would get if they were not quantized."""
    quantizer = make_quantizer(name)
    z, weights = latents(2, 4, 3, 3).requires_grad_(), latents(2, 4, 3, 3, seed=2)
    out = quantizer(z)
    (gradient,) = torch.autograd.grad((out.z * weights).sum(), z)
    (expected,) = torch.autograd.grad((quantizer.unquantized(z, out.codes) * weights).sum(), z)
    torch.testing.assert_close(gradient, expected, msg=lambda text: f"{name}: points let a gradient through: {text}")


@pytest.mark.parametrize("name", WITH_CODEBOOK)
def test_a_codebook_has_k_codes(name: str) -> None:
    quantizer = make_quantizer(name, num_codes=8)
    assert len(quantizer.codebook) == 8, f"{name}: num_codes is 8, but the codebook has {len(quantizer.codebook)}"


# -- what it tells of itself ------------------------------------------------------------------------------------------


@every_quantizer
def test_what_is_recorded_has_one_set_of_names(name: str) -> None:
    quantizer = make_quantizer(name)
    quantizer(latents(2, 4, 3, 3))
    trace, statistics = quantizer.trace(), quantizer.statistics()
    assert all(value.shape == () for value in trace.values()), f"{name}: trace should give scalars"
    assert all(isinstance(value, float) for value in statistics.values()), f"{name}: statistics should give floats"
    assert set(trace) <= set(statistics), f"{name}: trace and statistics should name the same number alike"


@every_quantizer
def test_annealing_changes_no_weights_and_no_evaluation(name: str) -> None:
    quantizer, z = make_quantizer(name).eval(), latents(2, 4, 3, 3)
    before, expected = copy.deepcopy(quantizer.state_dict()), quantizer(z).z
    for progress in (0.0, 0.5, 1.0):
        quantizer.anneal(progress)
        assert torch.equal(quantizer(z).z, expected), f"{name}: anneal({progress}) changes what evaluation gives"
    assert all(torch.equal(value, before[key]) for key, value in quantizer.state_dict().items()), name


@every_quantizer
def test_how_far_training_has_brought_it_is_finite(name: str) -> None:
    quantizer = make_quantizer(name)
    start = {key: value.clone() for key, value in quantizer.state_dict().items()}
    for key, value in quantizer.learned(start, 0.0).items():
        assert math.isfinite(value), f"{name}: learned gives {key} = {value}"


@every_quantizer
def test_codes_belong_to_codebooks(name: str) -> None:
    quantizer = make_quantizer(name)
    codes = quantizer(latents(4, 4, 3, 3)).codes
    owner, names = quantizer.codebook_of(codes), quantizer.codebook_names
    assert owner.shape == codes.shape, f"{name}: codebook_of should give a number for every code"
    assert len(set(names)) == len(names), f"{name}: codebook_names are {names}, but should differ"
    assert owner.min() >= 0, name
    assert owner.max() < max(1, len(names)), f"{name}: codebook_of names a codebook beyond codebook_names"


@every_quantizer
def test_it_has_something_to_learn(name: str) -> None:
    assert make_quantizer(name).parameter_count > 0, f"{name}: parameter_count should count what is learned"
