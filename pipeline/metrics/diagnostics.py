"""What became of a quantizer in training: the numbers that the report's audit rests on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.metrics import Measure
from pipeline.metrics.counting import Counter
from pipeline.quantizers import Quantizer, to_vectors


@torch.no_grad()
def moving_codes(
    encoder: Callable[[Tensor], Tensor], quantizer: Quantizer, batches: Iterable[Float[Tensor, "b c h w"]]
) -> dict[int, int]:
    """Distinct quantized vectors over batches that pass through a copy of the quantizer in training mode.

    LL-VQ-VAE's embeddings per data set were counted so: a codebook that moves at every batch gives new vectors at every
    batch. Counted on the values that go to the decoder, after 1, 2, 4, … batches and after the last.

    Args:
        encoder: images → latents.
        quantizer: stays as it is.

    Returns:
        Batches → distinct vectors so far.
    """
    moving = copy.deepcopy(quantizer).train()
    counter, counts, done = Counter(), {}, 0
    for done, batch in enumerate(batches, 1):
        counter.add(bits(to_vectors(moving(encoder(batch)).z)))
        if done.bit_count() == 1:
            counts[done] = counter.distinct
    return {**counts, done: counter.distinct}


def bits(vectors: Float[Tensor, "n d"]) -> Int[Tensor, "n d"]:
    """Floats as integers, equal where the floats are equal; −0 and 0 are one number."""
    return (vectors.float() + 0.0).contiguous().view(torch.int32)


def selection(
    shares: Float[Tensor, "n m"], names: list[str], labels: Int[Tensor, " n"] | None
) -> dict[str, dict[str, float]]:
    """How often a quantizer that has several codebooks chooses each.

    Args:
        shares: of each image's codes, the share of each codebook.
        names: of the codebooks.
        labels: of the images, where the data set has them.

    Returns:
        `all` and each label → name of the codebook → its share of the codes.
    """
    groups = {"all": shares}
    if labels is not None:
        groups |= {str(label): shares[labels == label] for label in labels.unique().tolist()}
    return {group: dict(zip(names, rows.mean(0).tolist(), strict=True)) for group, rows in groups.items()}


MEASURES = [
    Measure("codes_moving", "codes in training mode", lambda m: max(m.moving.values()), decimals=0, split="train"),
    Measure(
        "codes_in_initial_box",
        "codes still where they began",
        lambda m: m.learned.get("codes_in_initial_box"),
        decimals=0,
    ),
    Measure("spacing_off_ramp", "spacing's distance from a ramp", lambda m: m.learned.get("spacing_off_ramp")),
    Measure(
        "selected_log2_codes",
        "log₂ of the size of the selected codebook",
        lambda m: m.history[-1].get("selected_log2_codes"),
        decimals=2,
        split="train",
    ),
]
