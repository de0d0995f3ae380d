"""Diabetic Retinopathy: 35,126 photographs of the back of the eye, of many sizes, with five grades of disease."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import PositiveInt

from pipeline.core import files as disk
from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Source
from pipeline.datasets._pictures import PictureDataset
from pipeline.datasets._splits import Share, hash_split
from pipeline.datasets.io.archives import BadFile, Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import Decoder, Item, shuffled, write_splits

COMPETITION = "diabetic-retinopathy-detection"
PARTS = tuple(f"train.zip.{number:03}" for number in range(1, 6))
LABELS = "trainLabels.csv.zip"
DARK = 12  # grey levels of 0 … 255: the surround of the fundus is darker, but for noise
NOISE = 0.02  # share of a row or column that may be brighter without being fundus


@dataclass(kw_only=True)
class DiabeticRetinopathy(PictureDataset):
    """Colours in [0, 1]: the fundus' circle in its square, resized; what the camera cut off of it is black.

    Only the labelled images are used: two fifths of the download hold them all. Both eyes of a patient belong to the
    same split, by a hash of the patient's number: that no patient is in two splits is this project's choice.

    Attributes:
        size: pixels of the square's side.
        val, test: shares of the patients.
    """

    source = Source(
        title="Diabetic Retinopathy Detection",
        url=f"https://www.kaggle.com/c/{COMPETITION}",
        licence="by the rules of the competition: no redistribution",
        cite="Diabetic Retinopathy Detection, Kaggle and EyePACS, 2015",
    )
    terms = (
        f"Accept the rules at https://www.kaggle.com/c/{COMPETITION}/rules, make an access token in the settings of "
        "your Kaggle account and store it where the package kaggle looks for it,"
    )
    files = (
        *(File(name, size=7_000_000_000, kaggle=COMPETITION) for name in PARTS),
        File(LABELS, kaggle=COMPETITION),
    )

    size: PositiveInt = 128
    val: Share = 0.1
    test: Share = 0.1

    def __post_init__(self) -> None:
        self.image_shape = (self.size, self.size)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        items: dict[str, list[Item]] = {split: [] for split in SPLITS}
        for item in read_grades(raw / LABELS):
            patient = Path(item.name).stem.partition("_")[0]
            items[hash_split(patient, self.val, self.test)].append(item)
        whole = join(raw, folder / "train.zip")
        decoder = Decoder((self.size, self.size), partial(fundus, size=self.size), draft=2 * self.size)
        skipped = write_splits(folder, Zip(whole, self.name), shuffled(items), decoder, self.on_bad_image)
        disk.remove(whole)
        return {
            "split": f"by the sha256 of the patient's number: {self.val} validation, {self.test} test",
            "skipped": skipped,
        }


def join(raw: Path, whole: Path) -> Path:
    """Write the archive that was cut into pieces as one file."""
    with whole.open("wb") as write:
        for part in PARTS:
            with (raw / part).open("rb") as read:
                shutil.copyfileobj(read, write, 1 << 20)
    return whole


def read_grades(path: Path) -> list[Item]:
    """The images with their grades from 0 to 4, sorted, from the zipped table with the columns `image` and `level`.

    Raises:
        UserError: not there, or another table.
    """
    table = Zip(path, "diabetic_retinopathy").text(LABELS.removesuffix(".zip"))
    try:
        items = [Item(f"train/{row['image']}.jpeg", int(row["level"])) for row in csv.DictReader(io.StringIO(table))]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"diabetic_retinopathy: {path} is no table of images, each with its level from 0 to 4 ({error!r})."
        ) from error
    return sorted(items, key=lambda item: item.name)


def fundus(image: Image.Image, size: int) -> Image.Image:
    """The bright disc, centred in a black square as wide as the disc, at `size` pixels.

    Raises:
        BadFile: nothing in the picture is bright.
    """
    from pipeline.datasets.io import transforms

    bright = np.asarray(image.convert("L")) > DARK
    columns, rows = np.flatnonzero(bright.mean(axis=0) > NOISE), np.flatnonzero(bright.mean(axis=1) > NOISE)
    if not len(columns) or not len(rows):
        raise BadFile("shows no fundus: it is dark all over")
    left, right, top, bottom = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    side = max(right - left, bottom - top)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    return transforms.resized(image.crop((x, y, x + side, y + side)), size)  # beyond the picture, crop gives black
