"""Batches hold what the arrays hold, each image once, and the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pipeline.batches import Images
from pipeline.stage import Refused

CPU = torch.device("cpu")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 23), ("val", 5), ("test", 4)):
        np.save(tmp_path / f"{split}.npy", rng.integers(0, 256, (count, 4, 6, 3), dtype=np.uint8))
    (tmp_path / "about.yaml").write_text(yaml.safe_dump({"offset": 0.5}))
    return tmp_path


def test_values_and_shape(prepared: Path) -> None:
    images = Images(prepared, "val", CPU)
    array = np.load(prepared / "val.npy")
    assert (len(images), images.shape) == (5, (3, 4, 6))
    expected = array.transpose(0, 3, 1, 2) / 255 - 0.5
    np.testing.assert_allclose(images.batch(slice(0, 5)).numpy(), expected, atol=1e-7)
    assert images.batch(slice(0, 2)).is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_is_every_image_once(prepared: Path) -> None:
    images = Images(prepared, "train", CPU)
    batches = list(images.shuffled(5, torch.Generator().manual_seed(0), flip=False))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    seen = torch.cat(batches).flatten(1).sum(1).sort().values
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
    assert torch.equal(Images(prepared, "train", CPU, 4).pixels, Images(prepared, "train", CPU).pixels[:4])


def test_a_missing_split_names_the_stage(prepared: Path) -> None:
    (prepared / "val.npy").unlink()
    with pytest.raises(Refused, match=f"dvc repro preprocess@{prepared.name}"):
        Images(prepared, "val", CPU)
