"""FFHQ: 70,000 faces from Flickr, 1024×1024, or their official thumbnails, 128×128."""

from __future__ import annotations

import bisect
import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import PositiveInt

from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Source
from pipeline.datasets._pictures import PictureDataset
from pipeline.datasets.io import fetch
from pipeline.datasets.io.archives import Folder, Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import Decoder, Item, write_splits

FULL, THUMBNAIL = 1024, 128  # pixels
LISTING = File(
    "ffhq-dataset-v2.json",
    "md5:425ae20f06a4da1d4dc0f46d40ba5fd6",
    267_793_842,
    drive="16N0RV4fHI6joBuKbQAoG34V_cQk7vxSA",
)
ZIPS = {
    FULL: File("images1024x1024.zip", size=89_100_000_000, drive="1WvlAIvuochQn_L_f9p3OdFdTiSLlnnhv"),
    THUMBNAIL: File("thumbnails128x128.zip", size=1_950_000_000, drive="1Wrr6qZA1Tr6r9edNL2nSxnwopMW1n6pR"),
}


@dataclass(kw_only=True)
class Ffhq(PictureDataset):
    """Colours in [0, 1]; images 0 to 59,999 train, as the source recommends and LL-VQ-VAE's code does.

    Of the other 10,000 the first half validates and the second half tests; the paper's code validates with all of them.
    That code also mirrors images at random: the setting train.flip. At 1024 pixels the files stay as they are, one
    after the other, and are decoded while training: as pixels they would fill 220 GB.

    Attributes:
        size: 1024 for the images, 128 for the official thumbnails; another one is made from the images.
        layout: `zip` for the official archives; `tree` for the single files, each checked against the official list.
        train: the first image that does not train.
        val: how many of the others validate.
    """

    source = Source(
        title="FFHQ",
        url="https://github.com/NVlabs/ffhq-dataset",
        licence="CC BY-NC-SA 4.0 for the data set; each image has its own licence, in ffhq-dataset-v2.json",
        cite="Karras, Laine, Aila: A style-based generator architecture for generative adversarial networks, CVPR 2019",
    )
    terms = (
        "Read the terms at https://github.com/NVlabs/ffhq-dataset; its drive refuses for a day after many downloads: "
        "try again later,"
    )

    size: PositiveInt = FULL
    layout: Literal["zip", "tree"] = "zip"
    train: PositiveInt = 60_000
    val: PositiveInt = 5_000

    def __post_init__(self) -> None:
        self.image_shape = (self.size, self.size)
        self.original = THUMBNAIL if self.size == THUMBNAIL else FULL
        self.files = (LISTING,) if self.layout == "tree" else (ZIPS[self.original],)

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"pixels": self.original}

    def download(self, folder: Path, mirror: str | None) -> None:
        super().download(folder, mirror)
        if self.layout == "tree":
            listed = read_listing(folder / LISTING.name, "thumbnail" if self.original == THUMBNAIL else "image")
            fetch.fetch_all(listed, folder, self.name, mirror, self.terms)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        from pipeline.datasets.io import transforms

        store = Folder(raw, self.name) if self.layout == "tree" else Zip(raw / ZIPS[self.original].name, self.name)
        items: dict[str, list[Item]] = {split: [] for split in SPLITS}
        for name in store.below("", (".png",)):  # sorted: the numbers have five digits each
            number = PurePosixPath(name).stem
            if number.isdecimal():
                items[SPLITS[bisect.bisect_right((self.train, self.train + self.val), int(number))]].append(Item(name))
        cut = partial(transforms.resized, size=self.size)
        decoder = Decoder((self.size, self.size), cut, expected=(self.original, self.original))
        skipped = write_splits(folder, store, items, decoder, self.on_bad_image, encoded=self.size == FULL)
        return {
            "split": f"by number: {self.train} train, the next {self.val} validate, the others test",
            "shape": [self.size, self.size, 3],
            "skipped": skipped,
        }


def read_listing(path: Path, kind: Literal["image", "thumbnail"]) -> list[File]:
    """The files that the official list names.

    Raises:
        UserError: it is not such a list, or names a path that leads out of the folder.
    """

    def kept(entry: dict[str, Any]) -> dict[str, Any]:
        """Of the many numbers about a face only what downloading needs, or the list fills gigabytes of memory."""
        keys = ("file_path", "file_md5", "file_size", "file_url")
        return {key: entry[key] for key in keys} if "file_path" in entry else entry

    try:
        listed = [face[kind] for face in json.loads(path.read_bytes(), object_hook=kept).values()]
        if not all(re.fullmatch(r"\w+(/\w+)*\.png", spec["file_path"]) for spec in listed):
            raise ValueError("a file_path is no relative path of a .png")
        return [
            File(spec["file_path"], f"md5:{spec['file_md5']}", spec["file_size"], (spec["file_url"],))
            for spec in listed
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"ffhq: {path} is not the official list of files ({error!r}).") from error
