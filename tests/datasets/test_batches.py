"""Batches hold what the arrays hold, each image once, and the same for the same seed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.datasets.io import batches
from pipeline.datasets.io.batches import THREADS, Images

CPU = torch.device("cpu")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 23), ("val", 5), ("test", 4)):
        np.save(tmp_path / f"{split}.npy", rng.integers(0, 256, (count, 4, 6, 3), dtype=np.uint8))
    (tmp_path / "about.yaml").write_text(yaml.safe_dump({"offset": 0.5}))
    return tmp_path


@pytest.fixture
def as_files(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images, kept as PNG files one after the other."""
    folder = tmp_path_factory.mktemp("files")
    about = {"offset": 0.5, "shape": [4, 6, 3]}
    (folder / "about.yaml").write_text(yaml.safe_dump(about))
    for split in ("train", "val", "test"):
        contents = []
        for image in np.load(prepared / f"{split}.npy"):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            contents.append(file.getvalue())
        (folder / f"{split}.bin").write_bytes(b"".join(contents))
        np.save(folder / f"{split}_index.npy", np.cumsum([0, *map(len, contents)]))
    return folder


@pytest.mark.parametrize("limit", [None, 9])
@pytest.mark.parametrize("flip", [False, True])
def test_resident_mapped_and_encoded_give_the_same_batches(
    prepared: Path, as_files: Path, flip: bool, limit: int | None
) -> None:
    resident = Images(prepared, "train", CPU, limit)
    assert resident.pixels is not None
    for streamed in (Images(prepared, "train", CPU, limit, resident=0), Images(as_files, "train", CPU, limit)):
        assert streamed.pixels is None
        assert (len(streamed), streamed.shape, streamed.offset) == (len(resident), resident.shape, 0.5)
        one, two = (torch.Generator().manual_seed(3) for _ in range(2))
        for _ in range(2):
            pairs = zip(resident.shuffled(2, one, flip), streamed.shuffled(2, two, flip), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)
        assert all(torch.equal(a, b) for a, b in zip(resident.in_order(4), streamed.in_order(4), strict=True))
        assert torch.equal(resident.batch(torch.tensor([5, 0, 5])), streamed.batch(torch.tensor([5, 0, 5])))


def test_what_takes_too_much_memory_is_streamed(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.datasets.io.batches._room", lambda device: 23 * 4 * 6 * 3 - 1)
    assert Images(prepared, "train", CPU).pixels is None
    assert Images(prepared, "val", CPU).pixels is not None


def test_streaming_reads_only_a_few_batches_ahead(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(prepared, "train", CPU, resident=0)
    read = []
    real = images.source.read
    monkeypatch.setattr(images.source, "read", lambda index: (read.append(index), real(index))[1])
    stream = images.in_order(1)
    next(stream)
    assert len(read) <= THREADS + 1
    stream.close()  # type: ignore[attr-defined]
    assert len(read) <= THREADS + 1


def test_batches_can_be_written_to_without_changing_the_images(prepared: Path) -> None:
    for images in (Images(prepared, "val", CPU), Images(prepared, "val", CPU, resident=0)):
        before = images.batch(slice(None)).clone()
        images.batch(slice(None)).zero_()
        assert torch.equal(images.batch(slice(None)), before)


def test_values_and_shape(prepared: Path) -> None:
    images = Images(prepared, "val", CPU)
    array = np.load(prepared / "val.npy")
    assert (len(images), images.shape) == (5, (3, 4, 6))
    expected = array.transpose(0, 3, 1, 2) / 255 - 0.5
    np.testing.assert_allclose(images.batch(slice(0, 5)).numpy(), expected, atol=1e-7)
    assert images.batch(slice(0, 2)).is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_is_every_image_once(prepared: Path) -> None:
    images = Images(prepared, "train", CPU)
    epoch = list(images.shuffled(5, torch.Generator().manual_seed(0), flip=False))
    assert [len(batch) for batch in epoch] == [5, 5, 5, 5, 3]
    seen = torch.cat(epoch).flatten(1).sum(1).sort().values
    torch.testing.assert_close(seen, torch.cat(list(images.in_order(7))).flatten(1).sum(1).sort().values)


def test_order_follows_the_seed_and_changes_with_every_epoch(prepared: Path) -> None:
    images = Images(prepared, "train", CPU)
    one, two = (torch.Generator().manual_seed(7) for _ in range(2))
    first = torch.cat(list(images.shuffled(5, one, flip=True)))
    assert torch.equal(first, torch.cat(list(images.shuffled(5, two, flip=True))))
    assert not torch.equal(first, torch.cat(list(images.shuffled(5, one, flip=True))))


def test_flips_mirror_about_half(prepared: Path) -> None:
    images = Images(prepared, "train", CPU)
    plain = torch.cat(list(images.shuffled(5, torch.Generator().manual_seed(1), flip=False)))
    flipped = torch.cat(list(images.shuffled(5, torch.Generator().manual_seed(1), flip=True)))
    same = (plain == flipped).flatten(1).all(1)
    mirrored = (plain.flip(3) == flipped).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 5 <= mirrored.sum() <= 18


def test_limit_keeps_the_first(prepared: Path) -> None:
    few, all_ = Images(prepared, "train", CPU, 4), Images(prepared, "train", CPU)
    assert len(few) == 4
    assert torch.equal(few.batch(slice(None)), all_.batch(slice(0, 4)))


def test_a_missing_split_names_the_stage(prepared: Path) -> None:
    (prepared / "val.npy").unlink()
    with pytest.raises(UserError, match=f"dvc repro preprocess@{prepared.name}"):
        Images(prepared, "val", CPU)


def test_pixels_come_back_from_floats(prepared: Path) -> None:
    images = Images(prepared, "val", CPU)
    np.testing.assert_array_equal(batches.to_pixels(images.batch(slice(None)), 0.5), np.load(prepared / "val.npy"))
    beyond = torch.tensor([-0.6, -0.5, 0.0, 0.5, 3.0]).view(1, 1, 1, 5)
    assert batches.to_pixels(beyond, 0.5).ravel().tolist() == [0, 0, 128, 255, 255]


def test_a_file_that_is_not_the_prepared_one_is_named(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{split}.npy" for split in ("train", "val", "test")]
    digests = {name: files.digest(prepared / name) for name in names}
    (prepared / "about.yaml").write_text(yaml.safe_dump({"offset": 0.5, "sha256": digests}))
    batches.check(prepared)
    size = (prepared / "test.npy").stat().st_size
    (prepared / "test.npy").write_bytes(bytes(size))
    with pytest.raises(UserError, match=rf"{prepared}/test.npy is not the file .*preprocess@{prepared.name}` makes"):
        batches.check(prepared)
    monkeypatch.setattr(batches, "CHECKED", size - 1)  # reading a large file would take long
    batches.check(prepared)
