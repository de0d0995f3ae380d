"""The nearest code for latents and codebooks as training makes them: early and late, with blank background."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.quantizers import search, to_vectors
from pipeline.quantizers.search import products
from pipeline.train.loop import Training

MODEL = {"dim": 64, "hidden": [8], "residual_blocks": 2, "latent_activation": True, "output_activation": True}
TRAIN = {"epochs": 1, "batch_size": 8, "lr": 3e-3, "lr_decay": 1.0, "backprop_at_zero_lr": True, "max_images": None}
TRAIN |= {"flip": False, "device": "cpu", "precision": "float32", "compile": False}
STARTED: dict[str, Any] = {"start": "latents", "first_count": 1.0, "store_smoothed": False}
QUANTIZERS: dict[str, dict[str, Any]] = {
    "vq": {"name": "vq", "num_codes": 512},
    "vq_ema": {"name": "vq_ema", "num_codes": 512},
    "kd, many dimensions": {"name": "kd", "num_codes": 1024, "code_dim": 64, **STARTED},
    "kd, few dimensions": {"name": "kd", "num_codes": 4096, "code_dim": 3, **STARTED},
}


def brute(vectors: Tensor, codebook: Tensor) -> Tensor:
    return torch.stack([(v.double() - codebook.double()).square().sum(1).argmin() for v in vectors])


def strokes(count: int, generator: torch.Generator) -> Tensor:
    """A bright rectangle each, on a background of exactly 0, like a digit's."""
    images = torch.zeros(count, 1, 24, 24)
    for image in images:
        (top, left), (height, width) = torch.randint(2, 16, (2, 2), generator=generator).tolist()
        image[:, top : top + height, left : left + width] = torch.rand(1, generator=generator)
    return images


def states(quantizer: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Latents of images not seen, and the codebook, after some of the training steps."""
    generator = torch.Generator().manual_seed(0)
    settings = {"dataset": "strokes", "model": MODEL, "quantizer": quantizer, "train": TRAIN}
    training = Training("test", settings, 1, (1, 24, 24), torch.device("cpu"))
    unseen, module = strokes(6, generator), training.model.quantizer
    for step in range(1, 17):
        training.model.train()
        training.step(strokes(8, generator))
        if step in (1, 4, 16):
            training.model.eval()
            with torch.no_grad():
                yield module.project_in(to_vectors(training.model.encode(unseen))), module.codebook.clone()


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_trained_codebooks_agree_with_brute_force(kind: str) -> None:
    """And of 64 dimensions float32 decides almost all latents, however near they lie to many codes."""
    for vectors, codebook in states(QUANTIZERS[kind]):
        assert torch.equal(search.nearest(vectors, codebook), brute(vectors, codebook))
        if kind in ("vq", "vq_ema"):
            nominate = products.Nominator(vectors, codebook, len(vectors), torch.float32)
            _, tied, limit = nominate(vectors)
            assert len(tied) <= len(vectors) / 20
            assert nominate.candidates(tied, limit).sum() <= len(vectors) / 5
