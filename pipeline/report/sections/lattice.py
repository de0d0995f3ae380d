"""LL-VQ-VAE's Figure 2, drawn anew: how a lattice of two dimensions quantizes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Drawing

from pipeline.report.blocks import Figure
from pipeline.report.drawing import OURS, WIDTH

SPACING = (0.9, 0.55)
LATENTS = 12


def nearest(latents: Float[np.ndarray, "n d"], spacing: Float[np.ndarray, " d"]) -> Float[np.ndarray, "n d"]:
    """Babai rounding with a diagonal basis: b ∘ round(z / b); LL-VQ-VAE, equation 4."""
    return spacing * np.round(latents / spacing)


def draw() -> Drawing:
    """Left the latents and the lattice, right the same in the integer domain."""
    spacing = np.array(SPACING)
    latents = np.random.default_rng(2).uniform(-2.6, 2.6, (LATENTS, 2)) * (1.0, 0.6)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4), layout="constrained")
    for panel, scale, name in zip(axes, (spacing, np.ones(2)), ("latent space", "integer domain, z / b"), strict=True):
        grid = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 2), -1).reshape(-1, 2) * scale
        ours = latents / spacing * scale
        ends = nearest(ours, scale)
        panel.plot(*grid.T, linestyle="", marker="o", color=OURS, markersize=5, label="lattice point")
        panel.plot(*ours.T, linestyle="", marker="x", color="black", label="latent")
        for start, end in zip(ours, ends, strict=True):
            panel.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#888888"})
        panel.set(title=name, xlabel="dimension 1", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
        panel.grid(visible=False)
    axes[0].set_ylabel("dimension 2")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


FIGURE = Figure(
    "lattice-2d",
    "LL-VQ-VAE, Figure 2: quantization on a lattice of two dimensions",
    """Left, the points b ∘ k of a lattice with spacing b = (0.9, 0.55), latents, and where they go. Right, the same
    divided by b: there the nearest point is the nearest integer. Random latents; drawn anew after the paper's
    Figure 2.""",
    "Left: latents as crosses on a rectangular grid, an arrow from each to its nearest grid point. "
    "Right: the same after division by the spacing, where the grid is that of the integers.",
    draw,
)
