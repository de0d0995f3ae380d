"""CelebA: 202,599 aligned faces of celebrities, 178×218, of which the middle is used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Source
from pipeline.datasets._pictures import PictureDataset
from pipeline.datasets.io.archives import Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import Decoder, Item, write_splits

ARCHIVE, FOLDER = "img_align_celeba.zip", "img_align_celeba"
PARTITION = "list_eval_partition.txt"
WIDTH, HEIGHT = 178, 218


@dataclass(kw_only=True)
class Celeba(PictureDataset):
    """Colours in [0, 1], the official partition, a square of 148 pixels from the middle, as in LL-VQ-VAE's code.

    That code also mirrors images at random: the setting train.flip.

    Attributes:
        crop: pixels of the square.
        size: to which it is resized; null leaves it as it is, as in LL-VQ-VAE.
    """

    source = Source(
        title="CelebA",
        url="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        licence="non-commercial research, no redistribution, by the agreement on its page",
        cite="Liu, Luo, Wang, Tang: Deep learning face attributes in the wild, ICCV 2015",
    )
    terms = "Accept the agreement at https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and try again later,"
    files = (
        File(
            ARCHIVE,
            "md5:00d2c5bc6d35e252742224ab0c1e8fcb",
            1_443_490_838,
            drive="0B7EVK8r0v71pZjFTYXZWM3FlRnM",
        ),
        File(PARTITION, "md5:d32c9cbf5e040fd4025c592c306e6668", drive="0B7EVK8r0v71pY0NSMzRuSXJEVkk"),
    )

    crop: Annotated[int, Field(ge=1, le=WIDTH)] = 148
    size: PositiveInt | None = None

    def __post_init__(self) -> None:
        self.image_shape = (self.size or self.crop, self.size or self.crop)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        from pipeline.datasets.io import transforms

        side = self.size or self.crop
        cut = partial(transforms.centre_resized, size=side, crop=self.crop)
        decoder = Decoder((side, side), cut, expected=(WIDTH, HEIGHT))
        store, items = Zip(raw / ARCHIVE, self.name), read_partition(raw / PARTITION)
        skipped = write_splits(folder, store, items, decoder, self.on_bad_image)
        return {"split": f"the source's, by {PARTITION}", "crop": self.crop, "skipped": skipped}


def read_partition(path: Path) -> dict[str, list[Item]]:
    """The images by split, from lines such as `000001.jpg 0`, where 0, 1 and 2 are train, val and test.

    Raises:
        UserError: not there, or a line of another form.
    """
    items: dict[str, list[Item]] = {split: [] for split in SPLITS}
    try:
        for line in sorted(path.read_text(encoding="utf-8").splitlines()):
            name, number = line.split()
            items[SPLITS[int(number)]].append(Item(f"{FOLDER}/{name}"))
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"celeba: {path} is no list of file names, each with 0, 1 or 2 ({error}).") from error
    return items
