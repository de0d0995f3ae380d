"""What the data sets made of image files share."""

from __future__ import annotations

from typing import Literal

from pipeline.datasets import Checksums, Dataset
from pipeline.datasets.io.images import BadImages

OnBadImage = Literal["error", "skip"]


class PictureDataset(Dataset):
    """A data set of image files; its arrays are N×H×W×3, values in [0, 1] for the network.

    Args:
        on_bad_image: `error` stops at a file that is no image, cut short, of the wrong or an absurd size; `skip`
            leaves it out and says so in about.yaml.
    """

    def __init__(self, *, on_bad_image: OnBadImage = "error", checksums: Checksums | None = None) -> None:
        super().__init__(checksums=checksums)
        self.on_bad_image = on_bad_image

    def bad_images(self) -> BadImages:
        return BadImages(self.name, self.on_bad_image)
