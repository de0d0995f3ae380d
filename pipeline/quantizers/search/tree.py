"""Few components, many vectors and codes, on a CPU: a k-d tree in float64, whose near-ties are decided again."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.quantizers.search import products

DIMENSIONS = 4  # in which codes may spread: above it a k-d tree visits most of its leaves
COMPONENTS = 8  # that a code may have
WORTH = 2**20  # scores below which building a tree costs more than it saves
WORTH_CODES = 2**12  # likewise, where the number of components alone does not make it worth it
MARGIN = 1e-12  # relative; a k-d tree rounds once per cell on the way down, by 1e-16
EQUALS_WORTH = 2**25  # scores below which looking for identical codes costs more than it saves


def worth_it(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"]) -> bool:
    """Whether a tree pays: with C the codes' covariance, they spread in about (tr C)²/tr C² dimensions."""
    (k, d), n = c.shape, len(x)
    if d > COMPONENTS or n * k < WORTH:
        return False
    if d <= DIMENSIONS:
        return True
    if k < WORTH_CODES:
        return False
    centred = c.double() - c.double().mean(0)
    covariance = centred.t() @ centred
    return bool(covariance.trace().square() <= DIMENSIONS * covariance.square().sum())


def nearest(x: Float[Tensor, "n d"], c: Float[Tensor, "k d"], crowded: bool = False) -> Int[Tensor, " n"]:
    """Two nearest codes by a k-d tree; where both are equally near, products decide between all that are.

    Asking for the second nearest makes it exact: if the tree's rounding hides a code, that code is about as near as the
    first, and so is the second one that the tree finds.

    Args:
        crowded: the codes are distinct already; there is no use in looking for identical ones.
    """
    from scipy.spatial import cKDTree  # here, since few searches need it and it takes a while

    points, workers = c.double().numpy(), torch.get_num_threads()
    # Cells halved in the middle: quicker to build than at the median, and to search where codes crowd together.
    # In training a tree is built for a few hundred vectors: large leaves save more of that than they cost in searching.
    tree = cKDTree(points, leafsize=128, compact_nodes=False, balanced_tree=False)
    distance, neighbour = tree.query(x.double().numpy(), k=2, workers=workers)
    index = torch.from_numpy(neighbour[:, 0].astype(np.int64))
    tied = torch.from_numpy(np.flatnonzero(distance[:, 1] <= distance[:, 0] * (1 + MARGIN)))
    if len(tied) == 0:
        return index
    if crowded or len(tied) * len(c) < EQUALS_WORTH:
        index[tied] = products.nearest(x[tied], c)
        return index
    keep = products.first_of_equals(c)
    if len(keep) == 1:
        return keep.expand(len(x))
    index[tied] = keep[nearest(x[tied], c[keep], crowded=True)] if len(keep) < len(c) else products.nearest(x[tied], c)
    return index
