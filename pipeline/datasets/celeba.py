"""CelebA: 202,599 aligned faces of celebrities, 178×218, of which the middle is used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Checksums, Source
from pipeline.datasets._pictures import OnBadImage, PictureDataset
from pipeline.datasets.io.archives import Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import Decoder, Item, write_split

ARCHIVE = "img_align_celeba.zip"
PARTITION = "list_eval_partition.txt"
WIDTH, HEIGHT = 178, 218


class Celeba(PictureDataset):
    """Colours in [0, 1], the official partition, a square of 148 pixels from the middle, as in LL-VQ-VAE's code.

    That code also mirrors images at random: the setting train.flip.

    Args:
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

    def __init__(
        self,
        *,
        crop: Annotated[int, Field(ge=1, le=WIDTH)] = 148,
        size: PositiveInt | None = None,
        on_bad_image: OnBadImage = "error",
        checksums: Checksums | None = None,
    ) -> None:
        super().__init__(on_bad_image=on_bad_image, checksums=checksums)
        self.crop, self.side = crop, size or crop
        self.image_shape = (self.side, self.side)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        from pipeline.datasets.io import transforms

        bad, store = self.bad_images(), Zip(raw / ARCHIVE, self.name)
        names = {name.rpartition("/")[2]: name for name in store.below("", (".jpg",))}
        items: dict[str, list[Item]] = {split: [] for split in SPLITS}
        for short, split in sorted(read_partition(raw / PARTITION).items()):
            if short in names:
                items[split].append(Item(names[short]))
            else:
                bad.add(short, f"is named in {PARTITION} but not in {ARCHIVE}")
        cut = partial(transforms.centre_resized, size=self.side, crop=self.crop)
        decoder = Decoder((self.side, self.side), cut, expected=(WIDTH, HEIGHT))
        for split in SPLITS:
            write_split(folder, split, store, items[split], decoder, bad)
        return {"split": f"the source's, by {PARTITION}", "crop": self.crop, "skipped": bad.skipped}


def read_partition(path: Path) -> dict[str, str]:
    """File name → split, from lines such as `000001.jpg 0`, where 0, 1 and 2 are train, val and test.

    Raises:
        UserError: not there, or a line of another form.
    """
    try:
        pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return {name: SPLITS[int(number)] for name, number in pairs}
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"celeba: {path} is no list of file names, each with 0, 1 or 2 ({error}).") from error
