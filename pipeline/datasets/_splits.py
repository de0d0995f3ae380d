"""How images are divided where the source does not say: a stated draw, or a hash of the name."""

from __future__ import annotations

import hashlib
from typing import Annotated

import numpy as np
from jaxtyping import Int
from pydantic import Field

Share = Annotated[float, Field(gt=0, lt=0.5)]
"""Of the images, for validation or for testing."""


def random_split(count: int, val: int, seed: int) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " v"]]:
    """Indices of train and of validation, each in ascending order: all of 0 … count - 1, each once."""
    # The legacy generator is the one whose numbers NumPy promises never to change.
    order = np.random.RandomState(seed).permutation(count)
    return np.sort(order[val:]), np.sort(order[:val])


def hash_split(name: str, val: float, test: float) -> str:
    """The split of the image called `name`: more images never move the others.

    Args:
        val, test: the shares of these splits.
    """
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()  # a name need not be UTF-8
    place = int.from_bytes(digest[:8], "big") / 2**64  # uniform in [0, 1)
    return "test" if place < test else "val" if place < test + val else "train"
