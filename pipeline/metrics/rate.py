"""How many bits the codes carry."""

from __future__ import annotations


def bits_per_pixel(bits_per_latent: float, latents: int, pixels: int) -> float:
    """Bits spent on an image of `pixels` positions (of any number of channels) that is coded as `latents` codes."""
    return bits_per_latent * latents / pixels
