"""What the data sets made of image files share."""

from dataclasses import dataclass
from typing import Literal

from pipeline.datasets import Dataset


@dataclass(kw_only=True)
class PictureDataset(Dataset):
    """A data set of image files; its arrays are N×H×W×3, values in [0, 1] for the network.

    Attributes:
        on_bad_image: `error` stops at a file that is no image, cut short, of the wrong or an absurd size; `skip`
            leaves it out and says so in about.yaml.
    """

    on_bad_image: Literal["error", "skip"] = "error"
