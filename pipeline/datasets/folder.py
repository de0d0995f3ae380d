"""Folder: a person's own pictures, in any tree of folders or in a zip or tar archive."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from pipeline.core import cli
from pipeline.core import files as disk
from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Checksums, Source
from pipeline.datasets._pictures import PictureDataset
from pipeline.datasets._splits import Share, hash_split
from pipeline.datasets.io.archives import Folder as FolderStore
from pipeline.datasets.io.archives import Store, Zip, unpack_tar
from pipeline.datasets.io.images import ENDINGS, Decoder, Item, shuffled, write_splits

LISTING = "listing.csv"
NAMES: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file's name need not be UTF-8


@dataclass(kw_only=True)
class Folder(PictureDataset):
    """Colours in [0, 1]: the largest square in the middle of every picture, turned upright and resized.

    `download` only lists the pictures; they stay where they are. `dvc repro -f download@folder` lists them anew.

    Attributes:
        path: the folder or archive, relative to the project or absolute.
        size: pixels of the side.
        split_folders: split → its folder below `path`; for a split that is not named, pictures are taken from train's
            folder by a hash of the name. Null: all splits by a hash of the name.
        val, test: shares of the pictures, where a hash decides.
    """

    source = Source(title="Folder of pictures", url="", licence="the pictures' own", cite="")

    path: str = ""
    size: PositiveInt = 64
    split_folders: dict[str, str] | None = None
    val: Share = 0.1
    test: Share = 0.1
    checksums: Checksums | None = field(default=None, init=False)  # no setting, since there are no official files

    def __post_init__(self) -> None:
        self.image_shape = (self.size, self.size)
        folders = self.split_folders
        if folders is not None and ("train" not in folders or not set(folders) <= set(SPLITS)):
            raise UserError(
                f"split_folders names {', '.join(folders) or 'nothing'}, "
                "expected train and, as one likes, val and test."
            )

    def identity(self) -> dict[str, Any]:
        return {"path": self.path}

    def download(self, folder: Path, mirror: str | None) -> None:
        """Write down which pictures there are. A mirror is not looked at."""
        if not self.path:
            raise UserError("datasets.folder.data.path must name a folder or an archive of pictures.")
        unpacked = folder / "unpacked"
        names = self._store(unpacked).below("", ENDINGS)
        disk.remove(unpacked)
        if not names:
            raise UserError(f"folder: {self.path} holds no pictures; expected names that end in {', '.join(ENDINGS)}.")
        with (folder / LISTING).open("w", newline="", **NAMES) as file:
            csv.writer(file, lineterminator="\n").writerows([name] for name in names)

    def _store(self, unpacked: Path) -> Store:
        path = Path(self.path)
        if path.is_dir():
            return FolderStore(path, self.name)
        if not path.is_file():
            raise UserError(f"folder: there is no {path}; datasets.folder.data.path should name it.")
        if path.suffix.lower() == ".zip":
            return Zip(path, self.name)
        return unpack_tar(path, unpacked, self.name)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        from pipeline.datasets.io import transforms

        unpacked = folder / "unpacked"
        store = self._store(unpacked)
        with (raw / LISTING).open(newline="", **NAMES) as file:
            listed = [row[0] for row in csv.reader(file)]
        if listed != store.below("", ENDINGS):
            raise UserError(f"folder: {self.path} has changed since it was listed; run `dvc repro -f download@folder`.")
        items = self._divided(listed)
        decoder = Decoder((self.size, self.size), partial(transforms.centre_resized, size=self.size))
        skipped = write_splits(folder, store, shuffled(items), decoder, self.on_bad_image)
        disk.remove(unpacked)
        others = len(listed) - sum(map(len, items.values()))
        if others:
            cli.log.info("folder: %d pictures lie in no folder that split_folders names; they are not used", others)
        by = "by folder" if self.split_folders else "by the sha256 of the name"
        return {"split": by, "in_no_split": others, "skipped": skipped}

    def _divided(self, names: list[str]) -> dict[str, list[Item]]:
        folders = self.split_folders or {"train": ""}
        prefixes = {split: f"{name.strip('/')}/" if name else "" for split, name in folders.items()}
        val, test = (0.0 if split in folders else share for split, share in (("val", self.val), ("test", self.test)))
        items: dict[str, list[Item]] = {split: [] for split in SPLITS}
        for name in names:
            split = next((s for s, prefix in prefixes.items() if name.startswith(prefix)), None)
            if split == "train":
                split = hash_split(name, val, test)
            if split is not None:
                items[split].append(Item(name))
        for split in SPLITS:
            if not items[split]:
                raise UserError(
                    f"folder: none of the {len(names)} pictures in {self.path} is for {split}; expected more pictures, "
                    "a larger share in datasets.folder.data, or a folder for it in datasets.folder.data.split_folders."
                )
        return items
