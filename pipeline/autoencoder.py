"""The autoencoder that all quantizers share.

    images (B, C, H, W) → encoder → latents (B, D, H/2ⁿ, W/2ⁿ) → quantizer → decoder → images (B, C, H, W)

n is the number of widths in `hidden`. LL-VQ-VAE, section 4.1 and appendix A.2, as its code runs: the text gives
padding 1 to the 1×1 convolution of the residual layers and one transposed convolution more, which cannot keep the
image's size.

Activations and sums overwrite the fresh results of convolutions, whose gradients do not need them: that changes no
number, and saves memory for one copy of each and the time to fill it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipeline import quantizers
from pipeline.core.errors import UserError
from pipeline.quantizers import Quantized, Quantizer

LARGE = 2**22
"""Numbers in a batch's latents beyond which a CPU works in pieces."""


class Residual(nn.Module):
    """x + conv 1×1 (ReLU (conv 3×3 (x))), both without bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.conv1(self.relu(self.conv3(x))).add_(x)


def _after(residual_blocks: int) -> nn.LeakyReLU:
    """The activation after the residual layers; without any it follows another, whose gradient needs its result."""
    return nn.LeakyReLU(inplace=residual_blocks > 0)


class Encoder(nn.Sequential):
    """Images (B, C, H, W) to latents (B, D, H/2ⁿ, W/2ⁿ).

    Args:
        channels: C of the images.
        dim: D of the latents.
        hidden: a width for every halving of height and width.
        residual_blocks: how many, at the last width.
        latent_activation: LeakyReLU after the last convolution too, as published.
    """

    def __init__(
        self, channels: int, dim: int, hidden: list[int], residual_blocks: int, latent_activation: bool
    ) -> None:
        layers: list[nn.Module] = []
        for before, width in pairwise([channels, *hidden]):
            layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.LeakyReLU(inplace=True)]
        width = hidden[-1]
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(inplace=True)]
        layers += [Residual(width) for _ in range(residual_blocks)]
        layers += [_after(residual_blocks), nn.Conv2d(width, dim, 1)]
        if latent_activation:
            layers.append(nn.LeakyReLU(inplace=True))
        super().__init__(*layers)


class Decoder(nn.Sequential):
    """Latents (B, D, H/2ⁿ, W/2ⁿ) to images (B, C, H, W); the encoder's widths backwards.

    Args: as `Encoder`, and
        output_activation: LeakyReLU after the last convolution too, as published. It leaves values below 0 scaled by
            0.01, while the paper's Fashion-MNIST images reach -0.5.
    """

    def __init__(
        self, channels: int, dim: int, hidden: list[int], residual_blocks: int, output_activation: bool
    ) -> None:
        width = hidden[-1]
        layers: list[nn.Module] = [nn.Conv2d(dim, width, 3, padding=1), nn.LeakyReLU(inplace=True)]
        layers += [Residual(width) for _ in range(residual_blocks)]
        layers.append(_after(residual_blocks))
        for before, after in pairwise([*reversed(hidden), channels]):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(inplace=True)]
        super().__init__(*(layers if output_activation else layers[:-1]))


class Autoencoder(nn.Module):
    """Encoder, quantizer, decoder.

    Args:
        quantizer: its D is the latents'.
        channels: C of the images.
        Others: see `Encoder` and `Decoder`.

    Attributes:
        multiple: 2ⁿ; height and width of the images must be multiples of it.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        channels: int,
        *,
        dim: int,
        hidden: list[int],
        residual_blocks: int,
        latent_activation: bool,
        output_activation: bool,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(hidden)
        self.encoder = Encoder(channels, dim, hidden, residual_blocks, latent_activation)
        self.quantizer = quantizer
        self.decoder = Decoder(channels, dim, hidden, residual_blocks, output_activation)

    def forward(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Quantized]:
        """Reconstructions of the images, and what the quantizer gave."""
        quantized = self.quantizer(self.encode(images))
        return self.decode(quantized.z), quantized

    def encode(self, images: Float[Tensor, "b c height width"]) -> Float[Tensor, "b d h w"]:
        """Latents, before they are quantized; height and width are multiples of `multiple`."""
        height, width = (side // self.multiple for side in images.shape[2:])
        return _in_pieces(self.encoder, images, self.quantizer.dim * height * width)

    def decode(self, z: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c height width"]:
        """Reconstructions from quantized latents."""
        return _in_pieces(self.decoder, z, z[0].numel())


def _in_pieces(module: nn.Module, batch: Float[Tensor, "b ..."], latents: int) -> Float[Tensor, "b ..."]:
    """`module(batch)`; in training, large batches on a CPU in pieces whose activations are not kept.

    They are worked out again on the way back, so that only one piece's are held at a time.

    Args:
        latents: numbers in the latents of one image.
    """
    if batch.device.type != "cpu" or not torch.is_grad_enabled() or len(batch) * latents <= LARGE:
        return module(batch)
    pieces = batch.split(max(1, LARGE // 2 // latents))
    return torch.cat([checkpoint(module, piece, use_reentrant=False) for piece in pieces])


def build(settings: dict[str, Any], shape: tuple[int, int, int], seed: int) -> Autoencoder:
    """A new autoencoder for images of shape C, H, W; with one seed, all variants start from one encoder and decoder.

    Raises:
        UserError: the images cannot be halved as often as there are widths.
    """
    channels, height, width = shape
    halvings = len(settings["model"]["hidden"])
    if height % 2**halvings or width % 2**halvings:
        raise UserError(
            f"model.hidden has {halvings} widths, each of which halves the image, but {settings['dataset']} "
            f"has images of {height}×{width}."
        )
    options = {key: value for key, value in settings["quantizer"].items() if key != "name"}
    torch.manual_seed(2 * seed)
    quantizer = quantizers.find(settings["quantizer"]["name"])(settings["model"]["dim"], **options)
    torch.manual_seed(2 * seed + 1)
    model = Autoencoder(quantizer, channels, **settings["model"])
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def save(state: dict[str, Tensor], path: Path) -> None:
    """Keep a model's `state_dict`.

    Raises:
        OSError: the file cannot be written. It is written here, since the library's error would not say that in a way
            that others can tell.
    """
    path.write_bytes(to_bytes({key: value.contiguous().cpu() for key, value in state.items()}))


def load(model: Autoencoder, path: Path) -> None:
    """Fill a model as `build` makes it with saved weights.

    Raises:
        UserError: the weights are not there, damaged, or of another model.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; `dvc repro train@{path.parent.name}` makes it.")
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UserError(
            f"{path} holds another model than its settings say: {str(error).splitlines()[-1].strip()}"
        ) from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); `dvc repro train@{path.parent.name}` makes it.") from None
