"""FFHQ: 70,000 faces from Flickr, 1024×1024, or their official thumbnails, 128×128."""

from __future__ import annotations

import bisect
import json
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import PositiveInt

from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Checksums, Source
from pipeline.datasets._pictures import OnBadImage, PictureDataset
from pipeline.datasets.io import fetch
from pipeline.datasets.io.archives import Folder, Store, Zip
from pipeline.datasets.io.fetch import File
from pipeline.datasets.io.images import BadImages, Decoder, Item, write_encoded, write_split

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


class Ffhq(PictureDataset):
    """Colours in [0, 1]; images 0 to 59,999 train, as the source recommends and LL-VQ-VAE's code does.

    Of the other 10,000 the first half validates and the second half tests; the paper's code validates with all of them.
    That code also mirrors images at random: the setting train.flip. At 1024 pixels the files stay as they are, one
    after the other, and are decoded while training: as pixels they would fill 220 GB.

    Args:
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

    def __init__(
        self,
        *,
        size: PositiveInt = FULL,
        layout: Literal["zip", "tree"] = "zip",
        train: PositiveInt = 60_000,
        val: PositiveInt = 5_000,
        on_bad_image: OnBadImage = "error",
        checksums: Checksums | None = None,
    ) -> None:
        super().__init__(on_bad_image=on_bad_image, checksums=checksums)
        self.size, self.layout = size, layout
        self.bounds = (train, train + val)
        self.image_shape = (size, size)
        self.original = THUMBNAIL if size == THUMBNAIL else FULL
        self.files = (LISTING,) if layout == "tree" else (ZIPS[self.original],)

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"pixels": self.original}

    def download(self, folder: Path, mirror: str | None) -> None:
        super().download(folder, mirror)
        if self.layout == "tree":
            listed = read_listing(folder / LISTING.name, "thumbnail" if self.original == THUMBNAIL else "image")
            fetch.fetch_all(listed, folder, self.name, mirror, self.terms)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        from pipeline.datasets.io import transforms

        bad = self.bad_images()
        store = Folder(raw, self.name) if self.layout == "tree" else Zip(raw / ZIPS[self.original].name, self.name)
        items = self._divided(store, bad)
        decoder = Decoder(
            (self.size, self.size),
            partial(transforms.resized, size=self.size),
            expected=(self.original, self.original),
            most_pixels=FULL * FULL,
        )
        special = {"split": "by number: {train} train, {val} val, {test} test".format(**_ranges(items))}
        if self.size == FULL:
            means = {split: write_encoded(folder, split, store, items[split], decoder, bad) for split in SPLITS}
            return special | {"shape": [FULL, FULL, 3], "mean": means["train"], "skipped": bad.skipped}
        for split in SPLITS:
            write_split(folder, split, store, items[split], decoder, bad)
        return special | {"skipped": bad.skipped}

    def _divided(self, store: Store, bad: BadImages) -> dict[str, list[Item]]:
        """The images by split, in the order of their numbers, which are their names."""
        numbers: dict[int, str] = {}
        for name in store.below("", (".png",)):
            stem = PurePosixPath(name).stem
            if stem.isdecimal():
                numbers[int(stem)] = name
            else:
                bad.add(name, "is not named by a number")
        items: dict[str, list[Item]] = {split: [] for split in SPLITS}
        for number in sorted(numbers):
            items[SPLITS[bisect.bisect_right(self.bounds, number)]].append(Item(numbers[number]))
        return items


def _ranges(items: dict[str, list[Item]]) -> dict[str, str]:
    return {
        split: f"{PurePosixPath(some[0].name).stem} to {PurePosixPath(some[-1].name).stem}" if some else "none"
        for split, some in items.items()
    }


def read_listing(path: Path, kind: str) -> list[File]:
    """The files that the official list names.

    Args:
        kind: `image` or `thumbnail`.

    Raises:
        UserError: it is not such a list, or names a path that leads out of the folder.
    """

    def kept(entry: dict[str, Any]) -> dict[str, Any]:
        """Of the many numbers about a face only what downloading needs, or the list fills gigabytes of memory."""
        keys = ("file_path", "file_md5", "file_size", "file_url")
        return {key: entry[key] for key in keys} if "file_path" in entry else entry

    try:
        entries = json.loads(path.read_bytes(), object_hook=kept)
        listed = [
            File(spec["file_path"], f"md5:{spec['file_md5']}", int(spec["file_size"]), (spec["file_url"],))
            for spec in (entry[kind] for entry in entries.values())
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"ffhq: {path} is not the official list of files ({error!r}).") from error
    return listed
