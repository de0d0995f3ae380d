"""Diagnostics and gradients of a model: by hand, and against the model itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_quantizer

from pipeline.autoencoder import Autoencoder
from pipeline.core import files
from pipeline.datasets.io.batches import Images
from pipeline.metrics import diagnostics, gradients


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """40 images of 8×8 noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "train.npy", pixels)
    files.write_yaml(tmp_path / "about.yaml", {"offset": 0.0})
    return Images(tmp_path, "train", torch.device("cpu"))


def model_of(name: str, **settings: object) -> Autoencoder:
    torch.manual_seed(0)
    quantizer = make_quantizer(name, **settings)
    return Autoencoder(
        quantizer, 3, dim=4, hidden=[4], residual_blocks=1, latent_activation=True, output_activation=True
    )


@pytest.mark.parametrize("name", ["vq", "lattice"])
def test_what_does_not_move_counts_the_same_in_training_mode(name: str, images: Images) -> None:
    model = model_of(name)
    found = diagnostics.moving_codes(model.encode, model.quantizer, images.in_order(8))
    assert list(found) == [1, 2, 4, 5]
    with torch.no_grad():
        codes = model.eval()(images.batch(slice(None)))[1].codes
    flat = codes.flatten(0, 2)
    assert found[5] == len(flat.unique(dim=0))


def test_a_moving_codebook_counts_new_vectors_at_every_batch(images: Images) -> None:
    model = model_of("vq_ema")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = diagnostics.moving_codes(model.encode, model.quantizer, images.in_order(8))
    assert list(found) == [1, 2, 4, 5]
    assert list(found.values()) == sorted(found.values())
    per_batch = found[1]
    assert found[5] > per_batch
    assert found[5] <= 5 * 8  # K = 8 codes, moved by 5 batches
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_equal_floats_have_equal_bits() -> None:
    pair = diagnostics.bits(torch.tensor([[0.0, 1.5], [-0.0, 1.5], [0.0, -1.5]]))
    assert torch.equal(pair[0], pair[1])
    assert not torch.equal(pair[0], pair[2])


def test_gap_against_the_definition(images: Images) -> None:
    model = model_of("vq")
    batch = images.batch(slice(0, 8))
    loss, gap = gradients.quantization_costs(model.encode, model.quantizer, model.decode, batch)
    latents = model.encoder(batch).detach()
    quantized = model.quantizer(latents).z.detach()
    gradient = []
    for end in (quantized, latents):
        end.requires_grad_()
        ((model.decoder(end) - batch) ** 2).mean().backward()
        gradient.append(end.grad.double())
    expected = ((gradient[0] - gradient[1]).square().sum() / gradient[1].square().sum()).sqrt().item()
    assert gap == pytest.approx(expected, rel=1e-6)
    assert loss == pytest.approx((quantized - latents).double().square().mean().item(), rel=1e-5)
    assert all(parameter.grad is None for parameter in model.quantizer.parameters())


def test_selection_by_label() -> None:
    shares = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5], [0.0, 1.0]], dtype=torch.float64)
    found = diagnostics.selection(shares, ["2x4", "4x2"], torch.tensor([7, 3, 7, 3]))
    assert found == {
        "all": {"2x4": 0.4375, "4x2": 0.5625},
        "3": {"2x4": 0.125, "4x2": 0.875},
        "7": {"2x4": 0.75, "4x2": 0.25},
    }
    assert diagnostics.selection(shares, ["2x4", "4x2"], None).keys() == {"all"}
