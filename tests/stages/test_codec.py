"""`pipeline.load`: a trained model takes pictures of one's own and gives what evaluation shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import ROOT
from PIL import Image

import pipeline
from pipeline import evaluate
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.train.__main__ import train_row

CHANNELS = pytest.mark.parametrize("channels", [1, 3])


def trained(root: Path, variant: str = "vq", channels: int = 3) -> Paths:
    """A project with a trained row, of which only the models are needed."""
    paths = tiny.prepare(root, channels)
    train_row(f"photos-{variant}", tiny.settings(variant, epochs=1), paths)
    return paths


def test_importing_the_package_does_not_wait_for_torch() -> None:
    command = [sys.executable, "-c", "import pipeline, sys; assert 'torch' not in sys.modules"]
    subprocess.run(command, cwd=ROOT, check=True)


@CHANNELS
@pytest.mark.parametrize("variant", ["vq", "lattice", "kd", "adaptive", "fsq"])
def test_coding_a_picture_gives_what_evaluation_shows(tmp_path: Path, variant: str, channels: int) -> None:
    paths, row = trained(tmp_path, variant, channels), f"photos-{variant}"
    evaluate.evaluate_row(row, tiny.settings(variant), {**tiny.MEASURING, "pictures": 12}, paths)
    files.remove(paths.prepared("photos"))  # a model can be used alone
    codec = pipeline.load(row, seed=0, root=tmp_path)
    with np.load(paths.arrays(row)) as arrays:
        for original, expected in zip(arrays["originals"], arrays["reconstructions"][0], strict=True):
            codes = codec.encode(original)
            assert codes.shape[:2] == (4, 4)
            found = codec.decode(codes)
            assert (found.shape, found.dtype) == ((8, 8, channels), np.uint8)
            # a batch of one may round otherwise than a batch of twelve
            assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


@CHANNELS
def test_files_pil_images_and_arrays_are_one_picture(tmp_path: Path, channels: int) -> None:
    trained(tmp_path, channels=channels)
    codec = pipeline.load("photos-vq", root=str(tmp_path))
    pixels = np.random.default_rng(1).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "picture.png")
    codes = codec.encode(pixels)
    assert codes.shape == (3, 5)
    for same in (image, tmp_path / "picture.png", str(tmp_path / "picture.png")):
        np.testing.assert_array_equal(codec.encode(same), codes)
    grey = image.convert("L")
    for same in (np.asarray(grey), np.asarray(grey)[..., None]):
        np.testing.assert_array_equal(codec.encode(same), codec.encode(grey))
    assert codec.decode(codes).shape == (6, 10, channels)


def test_a_picture_that_cannot_be_halved_is_named_with_its_size(tmp_path: Path) -> None:
    trained(tmp_path)
    codec = pipeline.load("photos-vq", root=tmp_path)
    with pytest.raises(UserError, match=r"the picture is 10×7 pixels, but this model needs multiples of 2; crop"):
        codec.encode(np.zeros((7, 10, 3), np.uint8))


def test_a_missing_row_or_seed_is_one_sentence(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(UserError, match=r"photos-latice/settings.yaml is not there; `dvc repro train@photos-latice`"):
        pipeline.load("photos-latice", root=tmp_path)
    with pytest.raises(UserError, match=r"photos-vq was not trained with seed 3; there is 0\."):
        pipeline.load("photos-vq", seed=3, root=tmp_path)


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    trained(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pipeline.load("photos-vq", root=tmp_path)
    assert torch.equal(torch.rand(3), expected)
