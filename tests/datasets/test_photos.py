"""The data set photos: the photographs' regions, the patches and what is recorded of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import datasets
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.datasets import photos
from pipeline.datasets.photos import PHOTOGRAPHS, Photos
from pipeline.download import download
from pipeline.preprocess import preprocess

RNG = np.random.default_rng(0)
SHA256 = {  # with the settings of params.yaml
    "about.yaml": "54f50d6a48b87ae315c9f8ff1d782a7b5cb45e16ed372fa54b556dbcaa65bc07",
    "patches.csv": "91bd07a282064df66eaacf5856941ae5dcf2ecc4f4d53bbbf762c0324f45eb39",
    "test.npy": "3dced22cf33e388fc6f19194ba05b2f664365c02b3bdf118e9b0832ade8322c8",
    "test_labels.npy": "1628ddbf3351b587cff422a16839ba8362b7e53a0b658fa0bc1fce9999108d93",
    "train.npy": "3616e0d6f8b848adc10205d86848a9bec6aede37309c904663bb16554770480d",
    "train_labels.npy": "c5e71d86f9d031ab15d17e3f36fdd3f743cdcd2b5f2f23fed398fa3c7d6d6062",
    "val.npy": "7fd4d08867a108e6984b89866fd6802121f660fc3e51cfc36abb729eb5cbd0c9",
    "val_labels.npy": "db8639fa965c5a9f44f64cf9c46f4fba6a34974fc3b754d0d70a2a1559edec56",
}
Prepared = tuple[dict[str, np.ndarray], Path]


@pytest.fixture(scope="module")
def photos_project(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project in which the photographs are downloaded and prepared."""
    paths = Paths(tmp_path_factory.mktemp("photos"))
    settings = {"train": 4096, "val": 1000, "test": 1000, "seed": 0}
    files.write_yaml(paths.dataset_settings("photos"), {"dataset": "photos", "settings": settings})
    download("photos", paths)
    preprocess("photos", paths)
    return paths


@pytest.fixture(scope="module")
def prepared_photos(photos_project: Paths) -> Prepared:
    """The photographs by file name, and where the prepared files are."""
    pictures = {path.name: photos._read(path) for path in photos_project.raw("photos").glob("*.*g")}
    return pictures, photos_project.prepared("photos")


def test_photos_are_byte_for_byte_the_same(photos_project: Paths) -> None:
    """Whoever changes these digests changes every number that rests on them."""
    prepared = photos_project.prepared("photos")
    assert {path.name: files.digest(path) for path in prepared.iterdir()} == SHA256


def read_patches(folder: Path) -> list[dict[str, str]]:
    with (folder / "patches.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_no_pixel_of_a_photograph_is_in_two_splits(prepared_photos: Prepared) -> None:
    pictures, folder = prepared_photos
    owners: dict[str, np.ndarray] = {}
    bits = {"train": 1, "val": 2, "test": 4}
    for patch in read_patches(folder):
        image = owners.setdefault(patch["file"], np.zeros(pictures[patch["file"]].shape[:2], np.uint8))
        x, y, side = int(patch["x"]), int(patch["y"]), int(patch["side"])
        assert 0 <= x <= image.shape[1] - side
        assert 0 <= y <= image.shape[0] - side
        image[y : y + side, x : x + side] |= bits[patch["split"]]
    for name, owner in owners.items():
        assert set(np.unique(owner)) <= {0, 1, 2, 4}, name
        assert (owner > 0).any()


def test_recorded_patches_are_the_arrays(prepared_photos: Prepared) -> None:
    pictures, folder = prepared_photos
    patches = read_patches(folder)
    for split in ("train", "val", "test"):
        rows = [patch for patch in patches if patch["split"] == split]
        array = np.load(folder / f"{split}.npy")
        assert len(rows) == len(array)
        for index in RNG.integers(0, len(rows), 20):
            row = rows[index]
            x, y, side = int(row["x"]), int(row["y"]), int(row["side"])
            square = pictures[row["file"]][y : y + side, x : x + side].astype(np.float64)
            expected = square.reshape(32, side // 32, 32, side // 32, 3).mean(axis=(1, 3))
            assert np.abs(array[index] - expected).max() <= 0.5


def test_photos_are_many_and_diverse(prepared_photos: Prepared) -> None:
    _, folder = prepared_photos
    counts = {split: np.bincount(np.load(folder / f"{split}_labels.npy")) for split in ("train", "val", "test")}
    assert {split: int(count.sum()) for split, count in counts.items()} == {"train": 4096, "val": 1000, "test": 1000}
    assert max(count.max() / count.sum() for count in counts.values()) <= 0.25
    total = sum(np.pad(count, (0, len(PHOTOGRAPHS) - len(count))) for count in counts.values())
    assert total.max() / total.sum() <= 0.25
    patches = read_patches(folder)
    assert len({tuple(patch.values()) for patch in patches}) == len(patches), "a patch was taken twice"


def test_a_stereo_pair_belongs_to_one_split(prepared_photos: Prepared) -> None:
    of_pair = {patch["split"] for patch in read_patches(prepared_photos[1]) if patch["file"].startswith("motorcycle")}
    assert of_pair == {"train"}


def test_no_photo_patch_is_flat(prepared_photos: Prepared) -> None:
    pictures, folder = prepared_photos
    for row in read_patches(folder)[::7]:
        x, y, side = int(row["x"]), int(row["y"]), int(row["side"])
        assert pictures[row["file"]][y : y + side, x : x + side].std(axis=(0, 1)).max() >= 8


@given(width=st.integers(1, 200), height=st.integers(1, 200), least=st.integers(5, 90))
@settings(max_examples=50)
def test_blocks_cover_a_picture_once(width: int, height: int, least: int) -> None:
    seen = np.zeros((height, width), np.uint8)
    for left, top, right, bottom in photos.blocks(width, height, least):
        assert right - left >= min(least, width)
        assert bottom - top >= min(least, height)
        seen[top:bottom, left:right] += 1
    assert (seen == 1).all()


@given(count=st.integers(1, 100_000), split=st.sampled_from(datasets.SPLITS))
@settings(max_examples=50)
def test_quotas_add_up(count: int, split: str) -> None:
    shares = photos.quotas(count, split)
    assert sum(shares.values()) == count
    assert min(shares.values()) >= 0


def test_too_many_photos_and_a_changed_photograph_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Photos().download(tmp_path, None)
    with pytest.raises(UserError, match=r"datasets\.photos\.data\.val asks \d+ patches of \w+, which has \d+ to give"):
        Photos(train=10, val=900_000).prepare(tmp_path, tmp_path)
    monkeypatch.setattr(photos, "PHOTOGRAPHS", (photos.Photograph("cat", {"chelsea.png": "00"}, "", ""),))
    with pytest.raises(UserError, match=r"^photos: .*chelsea\.png has sha256:596aa1e7\w+, expected sha256:00\.$"):
        Photos().download(tmp_path, None)


def test_contrast_is_the_deviation_of_the_liveliest_channel() -> None:
    picture = RNG.integers(0, 256, (23, 19, 3), np.uint8)
    contrasts = photos.contrast(picture, side=8, step=3)
    assert contrasts.shape == (6, 4)  # corners at 0, 3, … up to 15 and 11
    for j, i in np.ndindex(*contrasts.shape):
        square = picture[3 * j : 3 * j + 8, 3 * i : 3 * i + 8].astype(np.float64)
        assert contrasts[j, i] == pytest.approx(square.std(axis=(0, 1)).max(), rel=1e-12)
