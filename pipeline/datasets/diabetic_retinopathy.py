"""Diabetic Retinopathy: 35,126 photographs of the back of the eye, of many sizes, with five grades of disease."""

from __future__ import annotations

import csv
import io
import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field, PositiveInt

from pipeline.core import files as disk
from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Checksums, Source
from pipeline.datasets._pictures import OnBadImage, PictureDataset
from pipeline.datasets._splits import hash_split
from pipeline.datasets.io.archives import BadFile, Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import BadImages, Decoder, Item, shuffled, write_split

COMPETITION = "diabetic-retinopathy-detection"
PARTS = tuple(f"train.zip.{number:03}" for number in range(1, 6))
LABELS = "trainLabels.csv.zip"
DARK = 12  # grey levels of 0 … 255: the surround of the fundus is darker, but for noise
NOISE = 0.02  # share of a row or column that may be brighter without being fundus

Share = Annotated[float, Field(gt=0, lt=0.5)]


class DiabeticRetinopathy(PictureDataset):
    """Colours in [0, 1]: the fundus' circle in its square, resized; what the camera cut off of it is black.

    Only the labelled images are used: two fifths of the download hold them all. Both eyes of a patient belong to the
    same split, by a hash of the patient's number: that no patient is in two splits is this project's choice.

    Args:
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

    def __init__(
        self,
        *,
        size: PositiveInt = 128,
        val: Share = 0.1,
        test: Share = 0.1,
        on_bad_image: OnBadImage = "error",
        checksums: Checksums | None = None,
    ) -> None:
        super().__init__(on_bad_image=on_bad_image, checksums=checksums)
        self.size, self.val, self.test = size, val, test
        self.image_shape = (size, size)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        bad, grades = self.bad_images(), read_grades(raw / LABELS)
        whole = folder / "train.zip"
        store = Zip(join(raw, whole), self.name)
        items = self._divided(store, grades, bad)
        decoder = Decoder((self.size, self.size), partial(fundus, size=self.size), draft=2 * self.size)
        for split in SPLITS:
            write_split(folder, split, store, shuffled(items[split]), decoder, bad)
        disk.remove(whole)
        return {
            "split": f"by the sha256 of the patient's number: {self.val} validation, {self.test} test",
            "skipped": bad.skipped,
        }

    def _divided(self, store: Zip, grades: dict[str, int], bad: BadImages) -> dict[str, list[Item]]:
        items: dict[str, list[Item]] = {split: [] for split in SPLITS}
        images = {Path(name).stem: name for name in store.below("", (".jpeg", ".jpg"))}
        for image, name in images.items():
            if image in grades:
                items[hash_split(image.partition("_")[0], self.val, self.test)].append(Item(name, grades[image]))
            else:
                bad.add(name, f"has no grade in {LABELS}")
        for image in sorted(grades.keys() - images.keys()):
            bad.add(f"{image}.jpeg", f"has a grade in {LABELS} but is not in {PARTS[0]}")
        return items


def join(raw: Path, whole: Path) -> Path:
    """Write the archive that was cut into pieces as one file.

    Raises:
        UserError: a piece is missing, or the disk has too little space.
    """
    pieces = [raw / part for part in PARTS]
    for piece in pieces:
        if not piece.is_file():
            raise UserError(
                f"diabetic_retinopathy: {piece} is not there; run `python -m pipeline.download diabetic_retinopathy`."
            )
    disk.check_space(whole.parent, sum(piece.stat().st_size for piece in pieces), "diabetic_retinopathy")
    with whole.open("wb") as write:
        for piece in pieces:
            with piece.open("rb") as read:
                shutil.copyfileobj(read, write, 1 << 20)
    return whole


def read_grades(path: Path) -> dict[str, int]:
    """Image → grade from 0 to 4, from the zipped table with the columns `image` and `level`.

    Raises:
        UserError: not there, another table, a grade that is none, or an image that stands twice.
    """
    name = LABELS.removesuffix(".zip")
    grades: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(Zip(path, "diabetic_retinopathy").text(name))):
        image, level = row.get("image"), row.get("level")
        if not image or level not in ("0", "1", "2", "3", "4") or image in grades:
            raise UserError(
                f"diabetic_retinopathy: {name} in {path} has the line {row}, "
                "expected an image that stands once and its level from 0 to 4."
            )
        grades[image] = int(level)
    return grades


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
