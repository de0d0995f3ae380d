"""Probes of a trained model: by hand, and against the model itself."""

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
    found = diagnostics.moving_codes(model, images, 8, 5)
    assert list(found) == [1, 2, 4, 5]
    with torch.no_grad():
        codes = model.eval()(images.batch(slice(None)))[1].codes
    flat = codes.flatten(0, 2)
    assert found[5] == len(flat.unique(dim=0))


def test_a_moving_codebook_counts_new_vectors_at_every_batch(images: Images) -> None:
    model = model_of("vq_ema")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = diagnostics.moving_codes(model, images, 8, 100)  # there are 5 batches
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


def test_the_initial_box_by_hand() -> None:
    start = torch.tensor([[0.1, -0.2], [0.2, 0.0], [0.0, 0.0]])  # the box is ±0.2
    end = torch.tensor([[0.2, -0.2], [0.3, 0.0], [0.0, -0.21]])
    assert diagnostics.in_initial_box(start, end) == 1


def test_distance_from_the_ramp_by_hand() -> None:
    start, end = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([1.5, -2.5, 3.25])
    assert diagnostics.off_ramp(start, end, 0.5) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("vq", {}, {"codes_in_initial_box": 8, "spacing_off_ramp": None}),
        ("vq_ema", {}, {"codes_in_initial_box": None, "spacing_off_ramp": None}),
        ("lattice", {}, {"codes_in_initial_box": None, "spacing_off_ramp": 0.0}),
        ("lattice", {"gamma": -1.0}, {"codes_in_initial_box": None, "spacing_off_ramp": None}),
        ("lattice", {"learning": "frozen"}, {"codes_in_initial_box": None, "spacing_off_ramp": None}),
    ],
)
def test_an_untrained_quantizer_has_not_moved(name: str, settings: dict[str, object], told: dict[str, object]) -> None:
    quantizer = make_quantizer(name, **settings)
    start = {key: value.clone() for key, value in quantizer.state_dict().items()}
    assert diagnostics.journey(quantizer, start, 0.0) == told


def test_a_size_loss_alone_is_a_ramp() -> None:
    """Adam on −Σ|b| moves every spacing by the learning rate per step, away from 0."""
    quantizer = make_quantizer("lattice", learning="ramp")
    start = {key: value.clone() for key, value in quantizer.state_dict().items()}
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=1e-3)
    for _ in range(50):
        optimizer.zero_grad()
        quantizer(torch.zeros(1, 4, 1, 1)).losses["size_loss"].backward()
        optimizer.step()
    assert diagnostics.journey(quantizer, start, 0.05)["spacing_off_ramp"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(("limit", "length"), [(None, 0.3), (17, 0.2)])
def test_the_ramp_is_as_long_as_all_steps(limit: int | None, length: float) -> None:
    """30 images are 3 batches of 10; the first 17 are 2."""
    assert diagnostics.ramp_length(0.1, 30, {"max_images": limit, "batch_size": 10}) == pytest.approx(length)


def test_gap_against_the_definition(images: Images) -> None:
    model = model_of("vq")
    batch = images.batch(slice(0, 8))
    found = gradients.gap(model, batch)
    latents = model.encoder(batch).detach()
    quantized = model.quantizer(latents).z.detach()
    gradient = []
    for end in (quantized, latents):
        end.requires_grad_()
        ((model.decoder(end) - batch) ** 2).mean().backward()
        gradient.append(end.grad.double())
    expected = ((gradient[0] - gradient[1]).square().sum() / gradient[1].square().sum()).sqrt().item()
    assert found["gradient_gap"] == pytest.approx(expected, rel=1e-6)
    assert found["quantization_loss"] == pytest.approx((quantized - latents).double().square().mean().item(), rel=1e-5)
    assert all(parameter.grad is None for parameter in model.quantizer.parameters())


def test_selection_by_label(images: Images) -> None:
    model = model_of("adaptive", sizes=[2, 4], capacity=8)
    images.labels = torch.arange(40) % 2
    model.quantizer.scores.forward = lambda queries, training: queries[:, :1] * torch.tensor([[1.0, -1.0]])
    found = diagnostics.selection(model, images, 16)
    latents = model.encoder(images.batch(slice(None))).mean((2, 3))[:, 0]
    second = (latents < 0).double()
    assert found["all"] == pytest.approx({"2x4": 1 - second.mean().item(), "4x2": second.mean().item()})
    for label in (0, 1):
        assert found[str(label)]["4x2"] == pytest.approx(second[images.labels == label].mean().item())
    assert diagnostics.selection(model_of("vq"), images, 16) is None
