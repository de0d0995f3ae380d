"""CelebA: 202,599 aligned faces of celebrities, 178×218, of which the middle is used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Source
from pipeline.datasets._pictures import OnBadImage, PictureDataset
from pipeline.datasets.io.archives import Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import Item, Recipe, Tally, centre, covering, write_split

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
        checksums: dict[str, str] | None = None,
    ) -> None:
        super().__init__(on_bad_image=on_bad_image, checksums=checksums)
        self.crop, self.size = crop, size

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        tally, store = self.tally(), Zip(raw / ARCHIVE, self.name)
        items = _divided(store, read_partition(raw / PARTITION), tally)
        side = self.size or self.crop
        cut = partial(_cut, crop=self.crop, size=side)
        recipe = Recipe((side, side), cut, source=(WIDTH, HEIGHT))
        for split in SPLITS:
            write_split(folder, split, store, items[split], recipe, tally)
        return {"split": f"the source's, by {PARTITION}", "crop": self.crop, "skipped": tally.skipped}


def _cut(image: Any, crop: int, size: int) -> Any:
    return covering(centre(image, crop), size)


def read_partition(path: Path) -> dict[str, str]:
    """File name → split, from lines such as `000001.jpg 0`, where 0, 1 and 2 are train, val and test.

    Raises:
        UserError: not there, a line of another form, or a name that stands twice.
    """
    if not path.is_file():
        raise UserError(f"celeba: the partition file {path} is not there; run `python -m pipeline.download celeba`.")
    splits: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        fields = line.split()
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise UserError(f"celeba: line {number} of {path} is {line!r}, expected a file name and 0, 1 or 2.")
        if fields[0] in splits:
            raise UserError(f"celeba: line {number} of {path} names {fields[0]} for the second time.")
        splits[fields[0]] = SPLITS[int(fields[1])]
    return splits


def _divided(store: Zip, splits: dict[str, str], tally: Tally) -> dict[str, list[Item]]:
    """The images of the archive by split; what only one of archive and partition knows is told to the tally."""
    items: dict[str, list[Item]] = {split: [] for split in SPLITS}
    names = {name.rpartition("/")[2]: name for name in store.below("", (".jpg",))}
    for short, name in names.items():
        if short in splits:
            items[splits[short]].append(Item(name))
        else:
            tally.bad(name, f"is not in {PARTITION}")
    for missing in sorted(splits.keys() - names.keys()):
        tally.bad(missing, f"is named in {PARTITION} but not in {ARCHIVE}")
    return items
