"""Tiny-ImageNet: photographs of 200 classes, 64×64, 100,000 for training, 10,000 each to validate and to test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core import cli
from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Source
from pipeline.datasets._pictures import PictureDataset
from pipeline.datasets._splits import hash_split
from pipeline.datasets.io.archives import Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import Decoder, Item, shuffled, write_splits

ARCHIVE = "tiny-imagenet-200.zip"
ROOT = "tiny-imagenet-200"
IMAGES = (".jpeg", ".jpg")
SHAPE = (64, 64)
UNKNOWN = "has no class in wnids.txt and val_annotations.txt"


class TinyImagenet(PictureDataset):
    """Colours in [0, 1]; the grey files become three equal channels.

    The source's own splits. Where the archive has no `test/` (it has no labels, and repacked ones leave it out), half
    of the validation images, chosen by a hash of the name, are the test set, and about.yaml says so.
    """

    image_shape = SHAPE
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
        store = Zip(raw / ARCHIVE, self.name)
        classes = sorted(store.text(f"{ROOT}/wnids.txt").split())
        items, unknown = _items(store, classes)
        if unknown and self.on_bad_image != "skip":
            raise UserError(
                f"tiny_imagenet: {unknown[0]} {UNKNOWN}, as {len(unknown)} images in {store.path}; "
                "data.on_bad_image: skip would leave them out."
            )
        split = "the source's; the test set has no labels"
        if not items["test"]:
            split = "training: the source's; the source's test set is not in the archive, so half of the validation "
            split += "images, chosen by the sha256 of their names, are the test set instead"
            cli.log.info("tiny_imagenet: the archive holds no test/; half of the validation images become the test set")
            halves = {item: hash_split(item.name, val=0.5, test=0.5) for item in items["val"]}
            items |= {half: [item for item in halves if halves[item] == half] for half in ("val", "test")}
        decoder = Decoder(SHAPE, expected=SHAPE)
        skipped = write_splits(folder, store, shuffled(items), decoder, self.on_bad_image)
        return {"split": split, "classes": classes, "skipped": dict.fromkeys(unknown, UNKNOWN) | skipped}


def _items(store: Zip, classes: list[str]) -> tuple[dict[str, list[Item]], list[str]]:
    """The images by split, with the numbers of their classes; and those for training and validation that have none.

    A line of val_annotations.txt is a file name, its class and a box, divided by tabs.
    """
    numbers = {wnid: number for number, wnid in enumerate(classes)}
    train, val, test = (store.below(f"{ROOT}/{split}/", IMAGES) for split in SPLITS)
    try:
        wnids = dict(line.split("\t")[:2] for line in store.text(f"{ROOT}/val/val_annotations.txt").splitlines())
    except ValueError:
        raise UserError(
            f"tiny_imagenet: val_annotations.txt in {store.path} has a line without a tab; expected are a file name, "
            "its class and a box, divided by tabs."
        ) from None
    labels = {name: numbers.get(name.split("/")[2]) for name in train}
    labels |= {name: numbers.get(wnids.get(name.rpartition("/")[2], "")) for name in val}
    known = {
        split: [Item(name, labels[name]) for name in names if labels[name] is not None]
        for split, names in (("train", train), ("val", val))
    }
    unknown = [name for name, label in labels.items() if label is None]
    return {**known, "test": [Item(name) for name in test]}, unknown
