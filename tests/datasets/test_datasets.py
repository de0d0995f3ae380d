"""Data sets: every file of pipeline/datasets keeps the contract; splits; the photographs' regions."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import made_sources
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import datasets
from pipeline.core import registry
from pipeline.core.errors import UserError
from pipeline.datasets import _idx, _splits, photos
from pipeline.datasets.photos import PHOTOGRAPHS, Photos
from pipeline.preprocess import describe, mean

RNG = np.random.default_rng(0)


def made(name: str, root: Path, **others: Any) -> tuple[datasets.Dataset, Path]:
    """A data set of small made files, downloaded from a folder as mirror; and where its raw files are."""
    (root / "mirror" / name).mkdir(parents=True)
    arguments = getattr(made_sources, name)(root / "mirror" / name, np.random.default_rng(0)) | others
    dataset = datasets.find(name)(**arguments)
    raw = root / "raw"
    raw.mkdir()
    dataset.download(raw, str(root / "mirror"))
    return dataset, raw


@pytest.mark.parametrize("name", datasets.names())
def test_every_data_set_prepares_what_it_promises(name: str, tmp_path: Path) -> None:
    dataset, raw = made(name, tmp_path)
    outputs = []
    for run in ("first", "second"):
        folder = tmp_path / run
        folder.mkdir()
        special = dataset.prepare(raw, folder)
        about = describe(name, dataset, folder)
        outputs.append((about, special, {path.name: path.read_bytes() for path in folder.iterdir()}))
        assert set(about["counts"]) == {"train", "val", "test"}
        for split, count in about["counts"].items():
            array = np.load(folder / f"{split}.npy", mmap_mode="r")
            assert isinstance(array, np.memmap)
            assert list(array.shape) == [count, *about["shape"]]
            assert array.dtype == np.uint8
            labels = folder / f"{split}_labels.npy"
            assert not labels.exists() or (np.load(labels).dtype, len(np.load(labels))) == (np.int64, count)
    assert outputs[0] == outputs[1]
    assert all(0 < value < 1 for value in about["mean"])
    assert 0 <= dataset.offset < 1
    assert all((dataset.source.title, dataset.source.licence))
    assert name == "folder" or all((dataset.source.url, dataset.source.cite))


@pytest.mark.parametrize("name", datasets.names())
def test_every_data_set_has_defaults_and_an_official_source(name: str) -> None:
    dataset = datasets.find(name)
    registry.settings_of(dataset).model_validate({})
    assert dataset(**({"path": "x"} if name == "folder" else {})).name == name
    for file in dataset().files if name != "folder" else ():
        assert bool(file.urls) + bool(file.drive) + bool(file.kaggle) == 1
        assert file.urls or dataset.terms
        if file.checksum is not None:
            assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum)


def test_unknown_data_set_and_unknown_file_are_one_sentence() -> None:
    with pytest.raises(UserError, match=r"there is no dataset 'mnits'; there is .*fashion_mnist, .*mnist"):
        datasets.find("mnits")
    with pytest.raises(
        UserError, match=r"datasets\.mnist\.data\.checksums: there is no file 'a\.gz'; there is train-images"
    ):
        datasets.find("mnist")(checksums={"a.gz": "md5:0"}).wanted()


# MNIST and Fashion-MNIST


@given(count=st.integers(2, 300), data=st.data(), seed=st.integers(0, 2**31))
@settings(max_examples=50)
def test_split_gives_every_image_to_one_part(count: int, data: st.DataObject, seed: int) -> None:
    val = data.draw(st.integers(1, count - 1))
    train, held = _splits.drawn(count, val, seed)
    assert len(held) == val
    assert sorted([*train, *held]) == list(range(count))
    again = _splits.drawn(count, val, seed)
    assert np.array_equal(train, again[0])
    assert np.array_equal(held, again[1])


def test_the_papers_split_is_the_stated_one() -> None:
    train, val = _splits.drawn(60_000, 5_000, 0)
    assert (len(train), len(val)) == (55_000, 5_000)
    # golden: RandomState's numbers are promised never to change
    assert val[:5].tolist() == sorted(np.random.RandomState(0).permutation(60_000)[:5_000].tolist())[:5]
    assert not np.array_equal(val, _splits.drawn(60_000, 5_000, 1)[1])


def test_idx_images_and_labels_stay_together(tmp_path: Path) -> None:
    dataset, raw = made("mnist", tmp_path)
    images = _idx.read_idx(raw / "train-images-idx3-ubyte.gz", "mnist")
    labels = _idx.read_idx(raw / "train-labels-idx1-ubyte.gz", "mnist")
    known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    folder = tmp_path / "out"
    folder.mkdir()
    dataset.prepare(raw, folder)
    seen = []
    for split in ("train", "val"):
        for image, label in zip(np.load(folder / f"{split}.npy"), np.load(folder / f"{split}_labels.npy"), strict=True):
            assert known[image.tobytes()] == label
            seen.append(image.tobytes())
    assert sorted(seen) == sorted(known)
    test = _idx.read_idx(raw / "t10k-images-idx3-ubyte.gz", "mnist")
    assert np.array_equal(np.load(folder / "test.npy")[..., 0], test)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no gzip at all", "is not a whole gzip file"),
        (made_sources.idx(np.zeros((4, 28, 28), np.uint8))[:-9], "is not a whole gzip file"),
        (made_sources.gzip.compress(b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00"), "does not start as an idx file"),
        (made_sources.gzip.compress(b"\x00\x00\x08\x03\x00\x00"), "ends within its head"),
        (made_sources.gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x09\x00"), r"declares \(9,\) but holds 1 bytes"),
    ],
)
def test_a_bad_idx_file_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^mnist: .*train-images-idx3-ubyte.gz {says}"):
        _idx.read_idx(path, "mnist")


def test_more_validation_than_training_images_is_refused(tmp_path: Path) -> None:
    dataset, raw = made("mnist", tmp_path, val=30)
    (tmp_path / "out").mkdir()
    with pytest.raises(
        UserError, match=r"datasets\.mnist\.data\.val must be less than the 30 training images, found 30"
    ):
        dataset.prepare(raw, tmp_path / "out")


# photos


@pytest.fixture(scope="module")
def prepared_photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The default data set, as everybody gets it: where its raw and its prepared files are."""
    raw, folder = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("prepared")
    photos_set = Photos()
    photos_set.download(raw, None)
    photos_set.prepare(raw, folder)
    return raw, folder


def read_patches(folder: Path) -> list[dict[str, str]]:
    with (folder / "patches.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_no_pixel_of_a_photograph_is_in_two_splits(prepared_photos: tuple[Path, Path]) -> None:
    raw, folder = prepared_photos
    shapes = {path.name: photos._read(path).shape[:2] for path in raw.iterdir()}
    owners: dict[str, np.ndarray] = {}
    bits = {"train": 1, "val": 2, "test": 4}
    for patch in read_patches(folder):
        image = owners.setdefault(patch["file"], np.zeros(shapes[patch["file"]], np.uint8))
        x, y, side = int(patch["x"]), int(patch["y"]), int(patch["side"])
        assert 0 <= x <= image.shape[1] - side
        assert 0 <= y <= image.shape[0] - side
        image[y : y + side, x : x + side] |= bits[patch["split"]]
    for name, owner in owners.items():
        assert set(np.unique(owner)) <= {0, 1, 2, 4}, name
        assert (owner > 0).any()


def test_recorded_patches_are_the_arrays(prepared_photos: tuple[Path, Path]) -> None:
    raw, folder = prepared_photos
    patches = read_patches(folder)
    for split in ("train", "val", "test"):
        rows = [patch for patch in patches if patch["split"] == split]
        array = np.load(folder / f"{split}.npy")
        assert len(rows) == len(array)
        for index in RNG.integers(0, len(rows), 20):
            row = rows[index]
            x, y, side = int(row["x"]), int(row["y"]), int(row["side"])
            square = photos._read(raw / row["file"])[y : y + side, x : x + side].astype(np.float64)
            expected = square.reshape(32, side // 32, 32, side // 32, 3).mean(axis=(1, 3))
            assert np.abs(array[index] - expected).max() <= 0.5


def test_photos_are_many_and_diverse(prepared_photos: tuple[Path, Path]) -> None:
    _, folder = prepared_photos
    counts = {split: np.bincount(np.load(folder / f"{split}_labels.npy")) for split in ("train", "val", "test")}
    assert counts["train"].sum() >= 8_000
    assert min(counts["val"].sum(), counts["test"].sum()) >= 1_000
    assert max(count.max() / count.sum() for count in counts.values()) <= 0.25
    total = sum(np.pad(count, (0, len(PHOTOGRAPHS) - len(count))) for count in counts.values())
    assert total.max() / total.sum() <= 0.25
    patches = read_patches(folder)
    assert len({tuple(patch.values()) for patch in patches}) == len(patches), "a patch was taken twice"


def test_a_stereo_pair_belongs_to_one_split(prepared_photos: tuple[Path, Path]) -> None:
    of_pair = {patch["split"] for patch in read_patches(prepared_photos[1]) if patch["file"].startswith("motorcycle")}
    assert of_pair == {"train"}


def test_no_photo_patch_is_flat(prepared_photos: tuple[Path, Path]) -> None:
    raw, folder = prepared_photos
    pictures = {path.name: photos._read(path) for path in raw.iterdir()}
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
    monkeypatch.setattr(photos, "PHOTOGRAPHS", (photos.Photograph("cat", {"chelsea.png": "0" * 64}, "", ""),))
    with pytest.raises(UserError, match=r"chelsea\.png of scikit-image .* has sha256 596aa1e7\w+, expected 0{64}"):
        Photos().download(tmp_path, None)


# what about.yaml says


def test_mean_is_the_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = RNG.integers(0, 256, (23, 5, 4, 3), np.uint8)
    np.save(tmp_path / "a.npy", images)
    monkeypatch.setattr("pipeline.preprocess.BLOCK", 7 * 5 * 4 * 3)  # blocks that do not divide the number of images
    assert mean(tmp_path / "a.npy") == pytest.approx((images.astype(np.float64) / 255).mean(axis=(0, 1, 2)), abs=1e-12)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"train": np.zeros((2, 4, 4, 1), np.uint8)}, r"left no val\.npy"),
        ({split: np.zeros((2, 4, 4), np.uint8) for split in datasets.SPLITS}, r"train\.npy is uint8 \(2, 4, 4\)"),
        ({split: np.zeros((0, 4, 4, 1), np.uint8) for split in datasets.SPLITS}, "N at least 1"),
        (
            {split: np.zeros((2, 4, 4 + (split == "val"), 1), np.uint8) for split in datasets.SPLITS},
            "different shapes",
        ),
    ],
)
def test_what_preparing_left_is_checked(arrays: dict[str, np.ndarray], says: str, tmp_path: Path) -> None:
    for split, array in arrays.items():
        np.save(tmp_path / f"{split}.npy", array)
    with pytest.raises(UserError, match=says):
        describe("photos", Photos(), tmp_path)
