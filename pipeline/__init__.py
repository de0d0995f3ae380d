"""Vector quantization in autoencoders, reproduced. Verbs are stages, nouns are what they work with.

Stages, in order, run by `dvc repro`, side by side by run/, or as `python -m pipeline.<stage>`; none imports another:
    plan → download → preprocess → train → evaluate → report; benchmark only when asked for
Nouns: datasets/ (one file per data set, and io/), quantizers/ (one file per quantizer, and search/), autoencoder,
    codec (a trained model for pictures of one's own), metrics/ (one file per family of measures),
    papers/ (published numbers and claims), core/ (what every stage stands on).
The name written in params.yaml is the name of the file you open.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.codec import Codec


def load(row: str, seed: int = 0, root: str | Path = ".") -> Codec:
    """A trained model that encodes and decodes pictures of one's own: see `codec.Codec`.

    Args:
        row: a folder of models/, e.g. photos-lattice; it need not be in the grid any more.
        seed: one of those it was trained with.
        root: the project's folder, which holds models/.

    Raises:
        UserError: there is no such model.
    """
    from pipeline import codec  # here, so that `import pipeline` does not wait for torch

    return codec.load(row, seed, root)
