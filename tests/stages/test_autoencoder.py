"""The network is the published code's, layer by layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from conftest import make_quantizer
from torch import nn

from pipeline import autoencoder
from pipeline.autoencoder import Autoencoder, Decoder, Encoder, Residual
from pipeline.core.errors import UserError


def test_layers_of_the_ffhq_network() -> None:
    encoder = Encoder(3, 64, [16, 32], 2, latent_activation=True)
    convs = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0])
        for m in encoder
        if isinstance(m, nn.Conv2d)
    ]
    assert convs == [(3, 16, 4, 2, 1), (16, 32, 4, 2, 1), (32, 32, 3, 1, 1), (32, 64, 1, 1, 0)]
    kinds = [type(m).__name__ for m in encoder]
    after = ["Conv2d", "LeakyReLU"]
    assert kinds == [*after * 3, "Residual", "Residual", "LeakyReLU", *after]
    decoder = Decoder(3, 64, [16, 32], 2, output_activation=True)
    kinds = [type(m).__name__ for m in decoder]
    assert kinds == [*after, "Residual", "Residual", "LeakyReLU", *["ConvTranspose2d", "LeakyReLU"] * 2]
    ups = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0])
        for m in decoder
        if isinstance(m, nn.ConvTranspose2d)
    ]
    assert ups == [(32, 16, 4, 2, 1), (16, 3, 4, 2, 1)]


def test_number_of_parameters_by_hand() -> None:
    residual = 64 * 64 * 9 + 64 * 64
    encoder = (64 * 16 + 64) + (64 * 64 * 9 + 64) + 2 * residual + (64 * 64 + 64)
    decoder = (64 * 64 * 9 + 64) + 2 * residual + (64 * 16 + 1)
    assert sum(p.numel() for p in Encoder(1, 64, [64], 2, True).parameters()) == encoder
    assert sum(p.numel() for p in Decoder(1, 64, [64], 2, True).parameters()) == decoder


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_overwriting_changes_no_number(blocks: int, precision: str) -> None:
    """Against the same layers with sums and activations that leave their inputs alone."""
    torch.manual_seed(0)
    layers = nn.Sequential(Encoder(3, 6, [4, 8], blocks, True), Decoder(3, 6, [4, 8], blocks, True))
    x = torch.randn(2, 3, 8, 8)

    def plain(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(module, Residual):
            return x + nn.functional.conv2d(
                nn.functional.conv2d(x, module.conv3.weight, padding=1).relu(), module.conv1.weight
            )
        if isinstance(module, nn.LeakyReLU):
            return nn.functional.leaky_relu(x)
        if isinstance(module, nn.Sequential):
            for layer in module:
                x = plain(layer, x)
            return x
        return module(x)

    found = []
    for function in (layers, lambda x: plain(layers, x)):
        layers.zero_grad()
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            out = function(leaf)
        out.float().square().sum().backward()
        found.append([out, leaf.grad, *(p.grad.clone() for p in layers.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_residual_in_float64() -> None:
    block = Residual(3).double()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    inner = torch.nn.functional.conv2d(x, block.conv3.weight, padding=1).clamp(min=0)
    expected = x + torch.einsum("oi,bihw->bohw", block.conv1.weight[:, :, 0, 0], inner)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(("latent", "output"), [(True, True), (False, True), (True, False), (False, False)])
def test_the_last_activations_are_switches(latent: bool, output: bool) -> None:
    torch.manual_seed(0)
    encoder, decoder = Encoder(1, 4, [8], 1, latent), Decoder(1, 4, [8], 1, output)
    assert isinstance(encoder[-1], nn.LeakyReLU) == latent
    assert isinstance(decoder[-1], nn.LeakyReLU) == output
    assert encoder(torch.randn(8, 1, 4, 4)).shape == (8, 4, 2, 2)
    assert decoder(torch.randn(8, 4, 2, 2)).shape == (8, 1, 4, 4)


@pytest.mark.parametrize(("size", "hidden", "latents"), [(28, [8], 14), (32, [4, 8], 8), (148, [8], 74)])
def test_shapes_from_images_to_images(size: int, hidden: list[int], latents: int) -> None:
    model = Autoencoder(
        make_quantizer("lattice", dim=6),
        3,
        dim=6,
        hidden=hidden,
        residual_blocks=1,
        latent_activation=True,
        output_activation=True,
    )
    reconstructions, quantized = model(torch.rand(2, 3, size, size))
    assert reconstructions.shape == (2, 3, size, size)
    assert quantized.z.shape == (2, 6, latents, latents)


@pytest.mark.parametrize("images", [2, 5])
def test_large_batches_in_pieces_give_the_same_numbers(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconstructions and gradients, in float64; a batch that is not large is not touched."""
    model = autoencoder.build(tiny.settings("vq"), (3, 8, 8), 0).double()
    batch = torch.rand(images, 3, 8, 8, dtype=torch.float64)
    calls: list[int] = []
    model.decoder.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    results = []
    for large in (autoencoder.LARGE, 2 * 4 * 4 * 4):  # the latents of two images
        monkeypatch.setattr(autoencoder, "LARGE", large)
        model.zero_grad()
        calls.clear()
        reconstructions, quantized = model(batch)
        forward = list(calls)
        (reconstructions.square().mean() + quantized.losses["codebook_loss"]).backward()
        results.append([reconstructions.detach(), *(weight.grad.clone() for weight in model.parameters())])
        assert forward == [images] if large > images * 64 or images == 2 else [1] * images
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-12)
    calls.clear()
    with torch.no_grad():
        assert torch.equal(model.eval()(batch)[0], model(batch)[0])
    assert calls == [images, images]  # nothing to keep without gradients


def test_weights_that_are_missing_damaged_or_of_another_model(tmp_path: Path) -> None:
    vq, lattice = (autoencoder.build(tiny.settings(variant), (3, 8, 8), 0) for variant in ("vq", "lattice"))
    folder = tmp_path / "photos-vq"
    folder.mkdir()
    autoencoder.save(vq.state_dict(), folder / "seed-0.safetensors")
    with pytest.raises(UserError, match=r"seed-0.safetensors holds another model"):
        autoencoder.load(lattice, folder / "seed-0.safetensors")
    with pytest.raises(UserError, match="seed-9.safetensors is not there; `dvc repro train@photos-vq` makes it"):
        autoencoder.load(vq, folder / "seed-9.safetensors")
    (folder / "seed-0.safetensors").write_bytes(bytes(1000))
    with pytest.raises(UserError, match=r"seed-0.safetensors is damaged .*`dvc repro train@photos-vq` makes it"):
        autoencoder.load(vq, folder / "seed-0.safetensors")
