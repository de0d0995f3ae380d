"""How many bits the codes carry.

The entropy of n latents is at most log2 n (`most_bits_seen`): where nearly every latent has a code of its own, the
empirical entropy is too low. For vectors, the sum over the dimensions, each coded by itself, is an upper bound.
"""

from __future__ import annotations

import math

from pipeline.metrics import Measure, Measured


def _bits_per_pixel(measured: Measured) -> float:
    """Bits spent on an image, by its positions, of any number of channels."""
    latents = measured.tested.total // len(measured.errors["test"])
    _, height, width = measured.shape
    return measured.tested.entropy_bits() * latents / (height * width)


def _by_dimension(measured: Measured) -> float | None:
    dimensions = measured.tested.dimensions
    return sum(counter.entropy_bits() for counter in dimensions) if dimensions else None


MEASURES = [
    Measure("bits_per_latent", "bits per latent", lambda m: m.tested.entropy_bits(), decimals=2, split="test"),
    Measure(
        "bits_per_latent_by_dimension",
        "bits per latent, dimensions coded one by one",
        _by_dimension,
        decimals=2,
        split="test",
    ),
    Measure(
        "most_bits_seen",
        "bits per latent that so many latents can show",
        lambda m: math.log2(m.tested.total),
        decimals=2,
        split="test",
    ),
    Measure("bits_per_pixel", "bits per pixel", _bits_per_pixel, decimals=2, split="test"),
]
