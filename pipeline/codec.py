"""A trained model as a coder of pictures of one's own.

picture (H, W, C) → encode → codes (H/2ⁿ, W/2ⁿ, …) → decode → picture (H, W, C)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image

from pipeline import autoencoder
from pipeline.autoencoder import Autoencoder
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.datasets.io.batches import to_floats, to_pixels


class Codec:
    """Encodes and decodes pictures with one trained model, on the CPU.

    Args:
        model: the trained autoencoder.
        channels: 1 for grey, 3 for colour.
        offset: subtracted from pixels in [0, 1] before they enter the network.
    """

    def __init__(self, model: Autoencoder, channels: int, offset: float) -> None:
        self.model = model.eval()
        self.channels = channels
        self.offset = offset

    @torch.no_grad()
    def encode(self, picture: Image.Image | str | Path | UInt8[np.ndarray, ...]) -> Int[np.ndarray, "h w ..."]:
        """The codes of a picture.

        Args:
            picture: a PIL image, a file, or an array of uint8, H×W or H×W×C. Colours become grey, and grey three equal
                colours, where the model was trained so. Height and width are the picture's own.

        Returns:
            Integers (H/2ⁿ, W/2ⁿ), or (H/2ⁿ, W/2ⁿ, D) for a lattice; a quantizer that cuts latents into g pieces gives
            (H/2ⁿ, g·W/2ⁿ).

        Raises:
            UserError: height or width is no multiple of 2ⁿ.
        """
        pixels = self._pixels(picture)  # (H, W, C)
        height, width, _ = pixels.shape
        if height % self.model.multiple or width % self.model.multiple:
            raise UserError(
                f"the picture is {width}×{height} pixels, but this model needs multiples of {self.model.multiple}; "
                "crop or resize it."
            )
        images = to_floats(torch.from_numpy(pixels).permute(2, 0, 1)[None], self.offset)  # (1, C, H, W)
        codes = self.model.quantizer(self.model.encode(images)).codes[0]
        return codes.numpy()

    @torch.no_grad()
    def decode(self, codes: Int[np.ndarray, "h w ..."]) -> UInt8[np.ndarray, "height width c"]:
        """The picture that belongs to codes as `encode` gives them."""
        z = self.model.quantizer.decode(torch.as_tensor(codes)[None]).permute(0, 3, 1, 2)  # (1, D, H/2ⁿ, W/2ⁿ)
        return to_pixels(self.model.decode(z), self.offset)[0]

    def _pixels(self, picture: Image.Image | str | Path | UInt8[np.ndarray, ...]) -> UInt8[np.ndarray, "h w c"]:
        if isinstance(picture, str | Path):
            picture = Image.open(picture)
        elif isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)
        pixels = np.array(picture.convert("L" if self.channels == 1 else "RGB"))
        return pixels.reshape(*pixels.shape[:2], self.channels)


def load(row: str, seed: int, root: str | Path) -> Codec:
    """See `pipeline.load`."""
    paths = Paths(Path(root))
    path = paths.model(row) / "settings.yaml"
    if not path.is_file():
        raise UserError(f"{path} is not there; `dvc repro train@{row}` makes it.")
    settings = files.read_yaml(path)
    if seed not in settings["seeds"]:
        raise UserError(f"{row} was not trained with seed {seed}; there is {', '.join(map(str, settings['seeds']))}.")
    height, width, channels = settings["shape"]
    with torch.random.fork_rng():  # building draws weights, which are then replaced
        model = autoencoder.build(settings, (channels, height, width), seed)
    autoencoder.load(model, paths.weights(row, seed))
    return Codec(model, channels, settings["offset"])
