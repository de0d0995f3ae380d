"""What became of a quantizer in training, beyond its measures: the numbers that the report's audit rests on."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.autoencoder import Autoencoder
from pipeline.datasets.io.batches import Images
from pipeline.metrics import counting
from pipeline.quantizers import Quantizer
from pipeline.quantizers.adaptive import Adaptive


@torch.no_grad()
def moving_codes(model: Autoencoder, images: Images, batch_size: int, batches: int) -> dict[int, int]:
    """Distinct quantized vectors over so many training batches, passed in training mode without learning.

    LL-VQ-VAE's embeddings per dataset were counted so: a codebook that moves at every batch gives new vectors at every
    batch. Counted on the values that go to the decoder, after 1, 2, 4, … batches and after the last. The model given
    stays as it is.

    Returns:
        Batches → distinct vectors so far.
    """
    moving = copy.deepcopy(model).train()
    counter = counting.Counter()
    found: dict[int, int] = {}
    done = 0
    shuffled = images.shuffled(batch_size, torch.Generator().manual_seed(0), flip=False)
    for done, batch in enumerate(shuffled, 1):
        counter.add(bits(moving(batch)[1].z.permute(0, 2, 3, 1).flatten(0, 2)))
        if done & (done - 1) == 0:
            found[done] = counter.distinct
        if done == batches:
            break
    return {**found, done: counter.distinct}


@torch.enable_grad()
@torch.no_grad()
def selection(model: Autoencoder, images: Images, batch_size: int) -> dict[str, dict[str, float]] | None:
    """Which codebook a quantizer that has several chooses how often, the model frozen; None for other quantizers.

    Returns:
        `all` and each label that the data set has → name of the codebook, as NxD → its share of the codes.
    """
    quantizer = model.eval().quantizer
    if not isinstance(quantizer, Adaptive):
        return None
    names = quantizer.codebook_names
    rows = []
    for batch in images.in_order(batch_size):
        owner = quantizer.codebook_of(model(batch)[1].codes).flatten(1)
        rows.append(F.one_hot(owner, len(names)).double().mean(1).cpu())
    shares = torch.cat(rows)  # one row per image
    groups = {"all": shares}
    if images.labels is not None:
        groups |= {str(label): shares[images.labels == label] for label in images.labels.unique().tolist()}
    return {group: dict(zip(names, rows.mean(0).tolist(), strict=True)) for group, rows in groups.items()}


def bits(vectors: Float[Tensor, "n d"]) -> Int[Tensor, "n d"]:
    """Floats as integers, equal where the floats are equal; −0 and 0 are one number."""
    return (vectors.float() + 0.0).contiguous().view(torch.int32)


def in_initial_box(start: Float[Tensor, "k d"], end: Float[Tensor, "k d"]) -> int:
    """Codes that lie, with all components, within the largest absolute component that any code began with."""
    return int((end.abs() <= start.abs().max()).all(1).sum())


def ramp_length(rates: float, images: int, train: dict[str, Any]) -> float:
    """How far a size loss alone moves a spacing: under Adam by the learning rate at every step.

    Args:
        rates: the learning rates of all epochs, summed up.
        images: in the training split.
        train: the settings of the training.
    """
    return rates * -(-min(images, train["max_images"] or images) // train["batch_size"])


def off_ramp(start: Float[Tensor, " d"], end: Float[Tensor, " d"], length: float) -> float:
    """The largest distance of a spacing from a pure ramp: its start, moved away from 0 by `length`."""
    return float((end - (start + start.sign() * length)).abs().max())


def journey(quantizer: Quantizer, start: dict[str, Tensor], length: float) -> dict[str, Any]:
    """How far a quantizer came from `start`, the state it was built with.

    Returns:
        `codes_in_initial_box` for a codebook that is learned by gradient, `spacing_off_ramp` for a lattice that the
        size loss drives apart, with a ramp of `length`; None where they mean nothing.
    """
    found: dict[str, Any] = {"codes_in_initial_box": None, "spacing_off_ramp": None}
    end = {name: value.detach().cpu() for name, value in quantizer.state_dict().items()}
    if isinstance(getattr(quantizer, "codebook", None), nn.Parameter):
        found["codes_in_initial_box"] = in_initial_box(start["codebook"], end["codebook"])
    if getattr(quantizer, "learning", "") in ("learned", "ramp") and getattr(quantizer, "gamma", 0.0) > 0:
        found["spacing_off_ramp"] = off_ramp(start["spacing"], end["spacing"], length)
    return found
