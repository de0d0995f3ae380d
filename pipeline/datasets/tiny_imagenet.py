"""Tiny-ImageNet: photographs of 200 classes, 64×64, 100,000 for training, 10,000 each to validate and to test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core import cli
from pipeline.core.errors import UserError
from pipeline.datasets import Source
from pipeline.datasets._pictures import PictureDataset
from pipeline.datasets._splits import hash_split
from pipeline.datasets.io.archives import Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import BadImages, Decoder, Item, shuffled, write_split

ARCHIVE = "tiny-imagenet-200.zip"
ROOT = "tiny-imagenet-200"
IMAGES = (".jpeg", ".jpg")


class TinyImagenet(PictureDataset):
    """Colours in [0, 1]; the grey files become three equal channels.

    The source's own splits. Where the archive has no `test/` (it has no labels, and repacked ones leave it out), half
    of the validation images, chosen by a hash of the name, are the test set, and about.yaml says so.
    """

    image_shape = (64, 64)
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
        bad, store = self.bad_images(), Zip(raw / ARCHIVE, self.name)
        classes = sorted(store.text(f"{ROOT}/wnids.txt").split())
        wnids = _annotations(store)
        train = _items(store.below(f"{ROOT}/train/", IMAGES), lambda name: name.split("/")[2], classes, bad)
        val = _items(
            store.below(f"{ROOT}/val/images/", IMAGES), lambda name: wnids.get(name.rpartition("/")[2]), classes, bad
        )
        test = [Item(name) for name in store.below(f"{ROOT}/test/", IMAGES)]
        split = "the source's; the test set has no labels"
        if not test:
            split = "training: the source's; the source's test set is not in the archive, so half of the validation "
            split += "images, chosen by the sha256 of their names, are the test set instead"
            cli.log.info("tiny_imagenet: the archive holds no test/; half of the validation images become the test set")
            test = [item for item in val if hash_split(item.name, val=0.5, test=0.5) == "test"]
            val = [item for item in val if hash_split(item.name, val=0.5, test=0.5) == "val"]
        decoder = Decoder(self.image_shape, expected=self.image_shape)
        for name, items in (("train", train), ("val", val), ("test", test)):
            write_split(folder, name, store, shuffled(items), decoder, bad)
        return {"split": split, "classes": classes, "skipped": bad.skipped}


def _annotations(store: Zip) -> dict[str, str]:
    """File name → class of the validation images, from lines of file name, class and box, divided by tabs."""
    path = f"{ROOT}/val/val_annotations.txt"
    try:
        return dict(line.split("\t")[:2] for line in store.text(path).splitlines())
    except ValueError as error:
        raise UserError(f"tiny_imagenet: a line of {path} is no file name, a tab and a class ({error}).") from error


def _items(names: list[str], class_of: Callable[[str], str | None], classes: list[str], bad: BadImages) -> list[Item]:
    """The images with the numbers of their classes."""
    numbers: dict[str | None, int] = {wnid: number for number, wnid in enumerate(classes)}
    items = []
    for name in names:
        number = numbers.get(class_of(name))
        if number is None:
            bad.add(name, "has no class that wnids.txt names")
        else:
            items.append(Item(name, number))
    return items
