"""Tiny-ImageNet: photographs of 200 classes, 64×64, 100,000 for training, 10,000 each to validate and to test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core import cli
from pipeline.core.errors import UserError
from pipeline.datasets import Source
from pipeline.datasets._pictures import PictureDataset
from pipeline.datasets._splits import hashed
from pipeline.datasets.io.archives import Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import Item, Recipe, Tally, as_is, mixed, write_split

ARCHIVE = "tiny-imagenet-200.zip"
ROOT = "tiny-imagenet-200"
SIZE = 64
IMAGES = (".jpeg", ".jpg")


class TinyImagenet(PictureDataset):
    """Colours in [0, 1]; the grey files become three equal channels.

    The source's own splits. Where the archive has no `test/` (it has no labels, and repacked ones leave it out), half
    of the validation images, chosen by a hash of the name, are the test set, and about.yaml says so.
    """

    source = Source(
        title="Tiny-ImageNet",
        url="http://cs231n.stanford.edu/",
        licence="non-commercial research and education, as ImageNet",
        cite="Le, Yang: Tiny ImageNet visual recognition challenge, Stanford CS 231N, 2015; "
        "Deng et al.: ImageNet: a large-scale hierarchical image database, CVPR 2009",
    )
    files = (
        File(
            ARCHIVE,
            "md5:90528d7ca1a48142e341f4ef8d21d0de",
            248_100_043,
            (f"http://cs231n.stanford.edu/{ARCHIVE}", f"https://cs231n.stanford.edu/{ARCHIVE}"),
        ),
    )

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        tally, store = self.tally(), Zip(raw / ARCHIVE, self.name)
        classes = sorted(store.text(f"{ROOT}/wnids.txt").split())
        train = _training(store, classes, tally)
        val = _validation(store, classes, tally)
        test = [Item(name) for name in store.below(f"{ROOT}/test/", IMAGES)]
        split = "the source's; the test set has no labels"
        if not test:
            split = "training: the source's; the source's test set is not in the archive, so half of the validation "
            split += "images, chosen by the sha256 of their names, are the test set instead"
            cli.log.info("tiny_imagenet: the archive holds no test/; half of the validation images become the test set")
            test = [item for item in val if hashed(item.name, val=0.5, test=0.5) == "test"]
            val = [item for item in val if hashed(item.name, val=0.5, test=0.5) == "val"]
        recipe = Recipe((SIZE, SIZE), as_is, source=(SIZE, SIZE))
        for name, items in (("train", train), ("val", val), ("test", test)):
            write_split(folder, name, store, mixed(items), recipe, tally)
        return {"split": split, "classes": classes, "skipped": tally.skipped}


def _training(store: Zip, classes: list[str], tally: Tally) -> list[Item]:
    items = []
    for name in store.below(f"{ROOT}/train/", IMAGES):
        wnid = name.split("/")[2]
        if wnid in classes:
            items.append(Item(name, classes.index(wnid)))
        else:
            tally.bad(name, "belongs to a class that wnids.txt does not name")
    return items


def _validation(store: Zip, classes: list[str], tally: Tally) -> list[Item]:
    """The validation images with their classes, from lines of file name, class and box, divided by tabs."""
    annotations = f"{ROOT}/val/val_annotations.txt"
    labels: dict[str, str] = {}
    for number, line in enumerate(store.text(annotations).splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[0] in labels:
            fault = "names a file for the second time" if fields[0] in labels else "lacks a tab"
            raise UserError(f"tiny_imagenet: line {number} of {annotations} {fault}: {line!r}.")
        labels[fields[0]] = fields[1]
    items = []
    for name in store.below(f"{ROOT}/val/images/", IMAGES):
        wnid = labels.pop(name.rpartition("/")[2], None)
        if wnid in classes:
            items.append(Item(name, classes.index(wnid)))
        else:
            tally.bad(name, f"has no class in wnids.txt by {annotations}")
    for missing in labels:
        tally.bad(f"{ROOT}/val/images/{missing}", f"is named in {annotations} but not there")
    return items
