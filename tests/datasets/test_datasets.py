"""Data sets: what they say of themselves, the splits that are drawn, what torchvision reads, what about.yaml says."""

from __future__ import annotations

import gzip
import pickle
import re
import struct
import tarfile
from pathlib import Path
from typing import Any

import made_sources
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import datasets
from pipeline.core.errors import UserError
from pipeline.datasets import _splits
from pipeline.datasets._splits import hash_split
from pipeline.preprocess import mean

RNG = np.random.default_rng(0)
BATCHES = "cifar-10-batches-py"


def made(name: str, root: Path, **others: Any) -> tuple[datasets.Dataset, Path]:
    """A data set of small made files, downloaded from a folder as mirror; and where its raw files are."""
    (root / "mirror" / name).mkdir(parents=True)
    arguments = getattr(made_sources, name)(root / "mirror" / name, np.random.default_rng(0)) | others
    dataset = datasets.find(name)(**arguments)
    raw = root / "raw"
    raw.mkdir()
    dataset.download(raw, str(root / "mirror"))
    return dataset, raw


@pytest.mark.parametrize("name", [name for name in datasets.names() if name != "folder"])
def test_every_official_source_says_where_on_which_terms_and_whom_to_cite(name: str) -> None:
    dataset = datasets.find(name)()
    assert all((dataset.source.title, dataset.source.url, dataset.source.licence, dataset.source.cite))
    for file in dataset.files:
        assert file.urls or dataset.terms
        assert file.checksum is None or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum)


def test_an_unknown_data_set_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"there is no dataset 'mnits'; there is .*fashion_mnist, .*mnist"):
        datasets.find("mnits")


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("photos", {}, (32, 32)),
        ("fashion_mnist", {}, (28, 28)),
        ("cifar10", {}, (32, 32)),
        ("celeba", {}, (148, 148)),
        ("celeba", {"crop": 140, "size": 64}, (64, 64)),
        ("ffhq", {}, (1024, 1024)),
        ("diabetic_retinopathy", {"size": 96}, (96, 96)),
        ("folder", {"size": 33}, (33, 33)),
    ],
)
def test_settings_tell_the_shape_before_anything_is_downloaded(
    name: str, settings: dict[str, Any], shape: tuple[int, int]
) -> None:
    assert datasets.find(name)(**settings).image_shape == shape


# what torchvision reads


@given(count=st.integers(2, 300), data=st.data(), seed=st.integers(0, 2**31))
@settings(max_examples=50)
def test_split_gives_every_image_to_one_part(count: int, data: st.DataObject, seed: int) -> None:
    val = data.draw(st.integers(1, count - 1))
    train, held = _splits.random_split(count, val, seed)
    assert len(held) == val
    assert sorted([*train, *held]) == list(range(count))
    again = _splits.random_split(count, val, seed)
    assert np.array_equal(train, again[0])
    assert np.array_equal(held, again[1])


def test_the_papers_split_is_the_stated_one() -> None:
    train, val = _splits.random_split(60_000, 5_000, 0)
    assert (len(train), len(val)) == (55_000, 5_000)
    # golden: RandomState's numbers are promised never to change
    assert val[:5].tolist() == sorted(np.random.RandomState(0).permutation(60_000)[:5_000].tolist())[:5]
    assert not np.array_equal(val, _splits.random_split(60_000, 5_000, 1)[1])


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes, by its description: two zeros, 8, the number of sides, the sides, the bytes."""
    content = gzip.decompress(path.read_bytes())
    sides = struct.unpack_from(f">{content[3]}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sides)


def test_idx_images_and_labels_stay_together(tmp_path: Path) -> None:
    dataset, raw = made("mnist", tmp_path)
    images, labels = (read_idx(raw / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
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
    assert np.array_equal(np.load(folder / "test.npy")[..., 0], read_idx(raw / "t10k-images-idx3-ubyte.gz"))


def test_cifar10_is_what_was_pickled(tmp_path: Path) -> None:
    dataset, raw = made("cifar10", tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    dataset.prepare(raw, folder)
    assert [len(np.load(folder / f"{split}.npy")) for split in datasets.SPLITS] == [16, 4, 4]
    with tarfile.open(raw / "cifar-10-python.tar.gz") as archive:
        batch = pickle.load(archive.extractfile("cifar-10-batches-py/test_batch"))  # type: ignore[arg-type]
    array = np.load(folder / "test.npy")
    for place in range(4):  # 1024 values of red, then of green, then of blue, row by row
        assert array[place, 5, 6].tolist() == [batch["data"][place][c * 1024 + 5 * 32 + 6] for c in range(3)]
    assert np.load(folder / "test_labels.npy").tolist() == batch["labels"]


IDX = made_sources.idx(np.zeros((30, 28, 28), np.uint8))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no gzip at all", r"train-images-idx3-ubyte\.gz cannot be unpacked \(.*Not a gzipped file"),
        (IDX[:-9], r"train-images-idx3-ubyte\.gz cannot be unpacked \("),
        (None, r"train-images-idx3-ubyte\.gz cannot be unpacked \(.*No such file"),
        (gzip.compress(gzip.decompress(IDX)[:-9]), r"torchvision cannot read the training set \(RuntimeError"),
        (gzip.compress(b"\x00\x00\x0d"), r"torchvision cannot read the training set \(\w+"),
    ],
    ids=["no gzip", "cut", "missing", "short", "another kind"],
)
def test_a_bad_file_of_mnist_is_one_sentence(content: bytes | None, says: str, tmp_path: Path) -> None:
    dataset, raw = made("mnist", tmp_path)
    path = raw / "train-images-idx3-ubyte.gz"
    path.unlink() if content is None else path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=rf"^mnist: .*{says}"):
        dataset.prepare(raw, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda contents: contents.pop(f"{BATCHES}/data_batch_3"), r"cannot read the training set \(RuntimeError"),
        (lambda contents: contents.update({f"{BATCHES}/data_batch_3": b"no pickle"}), "cannot read the training set"),
        (lambda contents: contents.update({f"{BATCHES}/test_batch": pickle.dumps([1])}), "cannot read the test set"),
    ],
)
def test_bad_batches_of_cifar10_are_one_sentence(change: Any, says: str, tmp_path: Path) -> None:
    dataset, raw = made("cifar10", tmp_path)
    with tarfile.open(raw / "cifar-10-python.tar.gz") as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    change(contents)
    made_sources.tarred(raw / "cifar-10-python.tar.gz", contents)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=f"^cifar10: torchvision {says}"):
        dataset.prepare(raw, tmp_path / "out")


def test_more_validation_than_training_images_is_refused(tmp_path: Path) -> None:
    dataset, raw = made("mnist", tmp_path, val=30)
    (tmp_path / "out").mkdir()
    with pytest.raises(
        UserError, match=r"datasets\.mnist\.data\.val must be less than the 30 training images, found 30"
    ):
        dataset.prepare(raw, tmp_path / "out")


# splits by a hash


@given(names=st.lists(st.text(max_size=20), unique=True, max_size=30), val=st.floats(0, 0.5), test=st.floats(0, 0.5))
@settings(max_examples=50)
def test_a_hash_divides_all_and_does_not_look_at_the_others(names: list[str], val: float, test: float) -> None:
    splits = {name: hash_split(name, val, test) for name in names}
    assert set(splits.values()) <= set(datasets.SPLITS)
    assert all(hash_split(name, val, test) == split for name, split in reversed(splits.items()))
    assert all(hash_split(name, 0.0, 0.0) == "train" for name in names)
    assert all(hash_split(name, 0.0, test) == "test" for name, split in splits.items() if split == "test")


def test_a_hash_gives_the_stated_shares() -> None:
    splits = [hash_split(f"{number}.png", 0.1, 0.2) for number in range(5000)]
    assert splits.count("val") == pytest.approx(500, abs=5 * 21)  # five standard deviations
    assert splits.count("test") == pytest.approx(1000, abs=5 * 28)


# what about.yaml says


def test_mean_is_the_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = RNG.integers(0, 256, (23, 5, 4, 3), np.uint8)
    np.save(tmp_path / "a.npy", images)
    monkeypatch.setattr("pipeline.preprocess.BLOCK", 7)  # blocks that do not divide the number of images
    assert mean(tmp_path / "a.npy") == pytest.approx((images.astype(np.float64) / 255).mean(axis=(0, 1, 2)), abs=1e-12)
