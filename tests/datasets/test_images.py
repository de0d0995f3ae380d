"""Image files to arrays: values against Pillow, on one and on many processes; what bad files do."""

from __future__ import annotations

import io
import struct
import zlib
from functools import partial
from itertools import pairwise
from pathlib import Path

import made_sources
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sources import encoded, picture
from PIL import Image

from pipeline.core.errors import UserError
from pipeline.datasets.io import images
from pipeline.datasets.io.archives import BadFile, Zip
from pipeline.datasets.io.images import Decoder, Item
from pipeline.datasets.io.transforms import centre, centre_resized, resized

RNG = np.random.default_rng(2)


# decoding and cutting


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_kind_of_8_bits_becomes_three_channels(mode: str) -> None:
    original = picture(RNG, 9, 7, mode if mode != "LA" else "L").convert(mode)
    content = encoded(original, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    array = Decoder((7, 9), expected=(9, 7))(content)
    assert array.dtype == np.uint8
    assert np.array_equal(array, np.asarray(original.convert("RGB")))
    if mode in ("L", "1", "LA"):
        assert np.array_equal(array[..., 0], array[..., 2])


@given(width=st.integers(1, 40), height=st.integers(1, 40), data=st.data())
@settings(max_examples=30, deadline=None)
def test_centre_takes_the_middle(width: int, height: int, data: st.DataObject) -> None:
    crop = data.draw(st.integers(1, min(width, height)))
    image = Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))
    left, top = (width - crop) // 2, (height - crop) // 2
    assert np.array_equal(np.asarray(centre(image, crop)), np.asarray(image)[top : top + crop, left : left + crop])


def test_celebas_crop_is_the_papers() -> None:
    """Of 178×218 pixels, columns 15 … 162 and rows 35 … 182."""
    image = Image.fromarray(RNG.integers(0, 256, (218, 178, 3), np.uint8))
    assert np.array_equal(np.asarray(centre(image, 148)), np.asarray(image)[35:183, 15:163])


def test_resizing_by_a_whole_factor_averages() -> None:
    """To the next whole number or so: Pillow rounds along rows and again along columns."""
    pixels = RNG.integers(0, 256, (12, 12, 3), np.uint8)
    expected = pixels.reshape(4, 3, 4, 3, 3).astype(np.float64).mean(axis=(1, 3))
    assert np.abs(np.asarray(resized(Image.fromarray(pixels), 4)) - expected).max() <= 1
    assert resized(Image.fromarray(pixels), 5).size == (5, 5)
    assert centre_resized(picture(RNG, 30, 20), 8).size == (8, 8)


def test_a_photograph_taken_on_its_side_is_turned() -> None:
    image = Image.new("RGB", (8, 8))
    image.paste((255, 255, 255), (0, 0, 8, 4))  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    array = Decoder((8, 8), partial(centre_resized, size=8))(file.getvalue())
    assert array[:, 4:].min() == 255
    assert array[:, :4].max() == 0


# writing


@pytest.mark.parametrize("workers", [0, 2])
def test_every_number_of_workers_writes_the_same_bytes(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.png" for number in range(30)]
    contents = {name: encoded(picture(RNG, 16, 16), "PNG") for name in names}
    expected = [np.asarray(Image.open(io.BytesIO(contents[name]))) for name in names if name != "7.png"]
    contents["7.png"] = b"bad"
    made_sources.zipped(tmp_path / "a.zip", contents)
    store = Zip(tmp_path / "a.zip", "made")
    items = [Item(name, place) for place, name in enumerate(names)]
    monkeypatch.setattr(images, "BATCH", 4)
    monkeypatch.setattr(images, "FEW", 4 if workers else len(items))
    monkeypatch.setattr(torch, "get_num_threads", lambda: workers)
    for split, encoded_ in (("train", False), ("val", True)):
        skipped = images.write_splits(tmp_path, store, {split: items}, Decoder((16, 16)), "skip", encoded_)
        assert skipped == {"7.png": "is not an image"}
    assert np.array_equal(np.load(tmp_path / "train.npy", mmap_mode="r"), expected)
    assert np.load(tmp_path / "train_labels.npy").tolist() == [place for place in range(30) if place != 7]
    index, whole = np.load(tmp_path / "val_index.npy"), (tmp_path / "val.bin").read_bytes()
    assert [whole[a:b] for a, b in pairwise(index)] == [contents[name] for name in names if name != "7.png"]


def test_only_a_few_images_are_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first image is written, the one process has read no more than a batch."""
    made_sources.zipped(tmp_path / "a.zip", {f"{n:02}.png": encoded(picture(RNG, 9, 9), "PNG") for n in range(40)})
    store = Zip(tmp_path / "a.zip", "made")
    read = []
    real = store.read
    monkeypatch.setattr(store, "read", lambda name: (read.append(name), real(name))[1])
    monkeypatch.setattr(images, "BATCH", 4)
    good = images._good(store, [Item(name) for name in store.names], Decoder((9, 9)), "train", "error", {})
    for place, (item, _) in enumerate(good):
        assert item.name == f"{place:02}.png"
        assert len(read) <= place + 4


def test_a_full_disk_is_seen_before_the_first_image(tmp_path: Path) -> None:
    made_sources.zipped(tmp_path / "a.zip", {"a.png": encoded(picture(RNG, 9, 9), "PNG")})
    store, decoder = Zip(tmp_path / "a.zip", "made"), Decoder((10**7, 10**7))
    with pytest.raises(UserError, match=r"^made: .* needs 300000\.\d GB on the disk, but \d+\.\d GB are free\.$"):
        images.write_splits(tmp_path, store, {"train": [Item("a.png")]}, decoder, "error")
    assert not (tmp_path / "train.npy").exists()


# bad images


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares a huge picture."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head = struct.pack(">I", len(body)) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    data = zlib.compress(b"\0" * 100)
    middle = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    return b"\x89PNG\r\n\x1a\n" + head + middle + b"\0\0\0\0IEND\xaeB`\x82"


def corrupt_png() -> bytes:
    content = bytearray(encoded(picture(RNG, 64, 64), "PNG"))
    content[60:90] = bytes(30)
    return bytes(content)


BAD: dict[str, tuple[bytes, str]] = {
    "no image": (b"GIF98 but not really", "is not an image"),
    "empty": (b"", "is not an image"),
    "page": (b"<html>404</html>", "is not an image"),
    "cut jpeg": (encoded(picture(RNG, 64, 64), "JPEG")[:-400], "cannot be decoded"),
    "cut png": (encoded(picture(RNG, 64, 64), "PNG")[:3000], "cannot be decoded"),
    "corrupt png": (corrupt_png(), "cannot be decoded"),
    "head only": (encoded(picture(RNG, 64, 64), "JPEG")[:20], "is"),
    "size": (encoded(picture(RNG, 64, 63), "JPEG"), "has 64×63 pixels, expected 64×64"),
    "bomb": (bomb(10_000, 10_000), r"cannot be decoded \(.*100000000 pixels.* could be decompression bomb"),
    "great bomb": (bomb(1 << 30, 1 << 30), r"cannot be decoded \(.* pixels.* could be decompression bomb"),
    "16 bits": (encoded(Image.fromarray(np.full((64, 64), 999, np.uint16)), "PNG"), "has pixels of kind I"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "is not an image"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_stops_with_its_name(kind: str, tmp_path: Path) -> None:
    content, says = BAD[kind]
    made_sources.zipped(tmp_path / "a.zip", {"bad.png": content})
    store, decoder = Zip(tmp_path / "a.zip", "made"), Decoder((64, 64), expected=(64, 64))
    with pytest.raises(UserError, match=f"^made: bad.png {says}.*; data.on_bad_image: skip would leave such files out"):
        images.write_splits(tmp_path, store, {"train": [Item("bad.png")]}, decoder, "error")


def test_bad_images_are_skipped_and_counted(tmp_path: Path) -> None:
    good = {"first.png": encoded(picture(RNG, 64, 64), "PNG"), "last.png": encoded(picture(RNG, 64, 64), "PNG")}
    contents = {"first.png": good["first.png"], **{kind: content for kind, (content, _) in BAD.items()}, **good}
    made_sources.zipped(tmp_path / "a.zip", contents)
    store, decoder = Zip(tmp_path / "a.zip", "made"), Decoder((64, 64), expected=(64, 64))
    items = {"train": [Item(name, len(name)) for name in contents]}
    assert list(images.write_splits(tmp_path, store, items, decoder, "skip")) == list(BAD)
    assert np.load(tmp_path / "train_labels.npy").tolist() == [len("first.png"), len("last.png")]
    assert np.array_equal(
        np.load(tmp_path / "train.npy"), [np.asarray(Image.open(io.BytesIO(content))) for content in good.values()]
    )


def test_a_picture_that_was_cut_to_another_shape_is_never_written() -> None:
    with pytest.raises(BadFile, match="cannot be decoded .*reshape"):
        Decoder((7, 9))(encoded(picture(RNG, 5, 4), "PNG"))
