"""Pictures cut to shape with torchvision. Imported only when pictures are prepared: importing it takes a second."""

from __future__ import annotations

from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional


def centre(image: Image.Image, crop: int) -> Image.Image:
    """The square of `crop` pixels in the middle; of an odd rest, the smaller half is left and above."""
    return functional.crop(image, (image.height - crop) // 2, (image.width - crop) // 2, crop, crop)


def resized(image: Image.Image, size: int) -> Image.Image:
    """A square picture at another size, by averaging where it shrinks by a whole factor, else Lanczos."""
    mode = InterpolationMode.BOX if image.width % size == 0 else InterpolationMode.LANCZOS
    return functional.resize(image, [size, size], mode)


def centre_resized(image: Image.Image, size: int, crop: int | None = None) -> Image.Image:
    """The square of `crop` pixels in the middle, or the largest one, at `size` pixels."""
    return resized(centre(image, crop or min(image.size)), size)
