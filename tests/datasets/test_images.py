"""Image files to arrays: values against Pillow, on one and on many processes, the layouts of the sources."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import made_sources
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_sources import encoded, picture
from PIL import Image
from server import serving

from pipeline import datasets
from pipeline.core.errors import UserError
from pipeline.datasets._splits import hashed
from pipeline.datasets.diabetic_retinopathy import LABELS, PARTS, fundus, read_grades
from pipeline.datasets.ffhq import LISTING, Ffhq, read_listing
from pipeline.datasets.folder import Folder as FolderDataset
from pipeline.datasets.io import images
from pipeline.datasets.io.archives import Folder, Zip
from pipeline.datasets.io.images import Item, Recipe, Tally, as_is, centre, covering, decode, growing, in_order, resized
from pipeline.preprocess import describe

RNG = np.random.default_rng(2)


# decoding and cutting


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_kind_of_8_bits_becomes_three_channels(mode: str) -> None:
    original = picture(RNG, 9, 7, mode if mode != "LA" else "L").convert(mode)
    content = encoded(original, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    array = decode(content, Recipe((7, 9), as_is, source=(9, 7)))
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
    assert (
        np.abs(np.asarray(resized(Image.fromarray(pixels), 4)) - expected).max() <= 1
    )  # Pillow rounds twice: along rows and along columns
    assert resized(Image.fromarray(pixels), 5).size == (5, 5)
    assert covering(picture(RNG, 30, 20), 8).size == (8, 8)


def test_a_photograph_taken_on_its_side_is_turned() -> None:
    image = Image.new("RGB", (8, 8))
    image.paste((255, 255, 255), (0, 0, 8, 4))  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    array = decode(file.getvalue(), Recipe((8, 8), partial(covering, size=8)))
    assert array[:, 4:].min() == 255
    assert array[:, :4].max() == 0


@given(width=st.integers(60, 90), height=st.integers(60, 90), radius=st.integers(12, 28), shift=st.integers(-15, 15))
@settings(max_examples=20, deadline=None)
def test_the_fundus_fills_its_square(width: int, height: int, radius: int, shift: int) -> None:
    """Wherever the disc lies in the picture: it touches left and right, and is centred."""
    assume(abs(shift) < width / 2 - radius)
    whole = made_sources.eye(RNG, width, height, radius)
    moved = Image.new("RGB", (width, height))
    moved.paste(whole, (shift, 0))
    cut = np.asarray(fundus(moved, 64).convert("L")) > 40
    columns = np.flatnonzero(cut.any(axis=0))
    assert columns[0] <= 64 / radius + 1
    assert columns[-1] >= 62 - 64 / radius
    assert cut.mean() == pytest.approx(np.pi / 4, abs=0.08)


def test_what_the_camera_cut_off_is_black() -> None:
    eye = made_sources.eye(RNG, 100, 60, 45)  # wider than high: cut above and below
    cut = np.asarray(fundus(eye, 90))
    assert cut[:12].max() < 12
    assert cut[-12:].max() < 12
    assert cut[45, 2:-2].max(axis=1).min() > 40


def test_sums_are_exact_up_to_the_largest_block() -> None:
    images_ = RNG.integers(0, 256, (3, 5, 7, 3), np.uint8)
    assert images.sums(images_) == images_.astype(np.int64).sum(axis=(0, 1, 2)).tolist()
    assert images.sums(np.full((1 << 24, 1, 1, 1), 255, np.uint8)) == [255 << 24]


# writing


@given(counts=st.lists(st.integers(0, 9), max_size=6))
@settings(max_examples=20, deadline=None)
def test_a_growing_array_is_what_was_added(counts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("growing") / "a.npy"
    pieces = [RNG.integers(0, 256, (count, 3, 2, 1), np.uint8) for count in counts]
    with growing(path, (3, 2, 1)) as array:
        for piece in pieces:
            array.add(piece)
    expected = np.concatenate([np.empty((0, 3, 2, 1), np.uint8), *pieces])
    assert np.array_equal(np.load(path), expected)
    assert not expected.size or np.array_equal(np.load(path, mmap_mode="r"), expected)


def square(number: int) -> int:
    return number**2


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_come_back_in_order_and_not_all_are_asked_for_at_once(workers: int) -> None:
    asked = []

    def tasks() -> Any:
        for number in range(20):
            asked.append(number)
            yield number

    for done, (number, result) in enumerate(in_order(square, tasks(), workers)):
        assert (number, result) == (done, done**2)
        assert len(asked) <= done + 2 * workers


def test_many_processes_write_the_same_bytes_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}.png" for number in range(30)]
    contents = {name: encoded(picture(RNG, 16, 16), "PNG") for name in names}
    contents["7.png"] = b"bad"
    made_sources.zipped(tmp_path / "a.zip", contents)
    store = Zip(tmp_path / "a.zip", "made")
    items = [Item(name, place) for place, name in enumerate(names)]
    written = {}
    monkeypatch.setattr(images, "BATCH", 4)
    for workers in (1, 2):
        monkeypatch.setattr(images, "FEW", 0)
        monkeypatch.setattr(images, "cores", lambda workers=workers: workers)
        folder = tmp_path / str(workers)
        folder.mkdir()
        tally = Tally("made", "skip")
        images.write_split(folder, "train", store, items, Recipe((16, 16), as_is), tally)
        mean = images.write_encoded(folder, "val", store, items, Recipe((16, 16), as_is), tally)
        assert tally.skipped == {"7.png": "is not an image"}
        written[workers] = ({path.name: path.read_bytes() for path in folder.iterdir()}, mean)
    assert written[1] == written[2]
    arrays = np.load(tmp_path / "1" / "train.npy")
    kept = [name for name in names if name != "7.png"]
    assert np.load(tmp_path / "1" / "train_labels.npy").tolist() == [place for place in range(30) if place != 7]
    assert all(
        np.array_equal(a, decode(contents[n], Recipe((16, 16), as_is))) for a, n in zip(arrays, kept, strict=True)
    )
    assert mean == pytest.approx((arrays / 255).mean(axis=(0, 1, 2)), abs=1e-6)
    index, whole = np.load(tmp_path / "1" / "val_index.npy"), (tmp_path / "1" / "val.bin").read_bytes()
    assert [whole[a:b] for a, b in pairwise(index)] == [contents[name] for name in kept]


def test_a_full_disk_is_seen_before_the_first_image(tmp_path: Path) -> None:
    made_sources.zipped(tmp_path / "a.zip", {"a.png": encoded(picture(RNG, 9, 9), "PNG")})
    recipe = Recipe((10**7, 10**7), as_is)
    with pytest.raises(UserError, match=r"^made: .* needs 300000\.\d GB on the disk, but \d+\.\d GB are free\.$"):
        images.write_split(
            tmp_path, "train", Zip(tmp_path / "a.zip", "made"), [Item("a.png")], recipe, Tally("made", "error")
        )
    assert not (tmp_path / "train.npy").exists()


# splits by a hash


@given(names=st.lists(st.text(max_size=20), unique=True, max_size=30), val=st.floats(0, 0.5), test=st.floats(0, 0.5))
@settings(max_examples=50)
def test_a_hash_divides_all_and_does_not_look_at_the_others(names: list[str], val: float, test: float) -> None:
    splits = {name: hashed(name, val, test) for name in names}
    assert set(splits.values()) <= set(datasets.SPLITS)
    assert all(hashed(name, val, test) == split for name, split in reversed(splits.items()))
    assert all(hashed(name, 0.0, 0.0) == "train" for name in names)
    assert all(hashed(name, 0.0, test) == "test" for name, split in splits.items() if split == "test")


def test_a_hash_gives_the_stated_shares() -> None:
    splits = [hashed(f"{number}.png", 0.1, 0.2) for number in range(5000)]
    assert splits.count("val") == pytest.approx(500, abs=5 * 21)  # five standard deviations
    assert splits.count("test") == pytest.approx(1000, abs=5 * 28)


# the layouts


def prepared(name: str, tmp_path: Path, maker: Any = None, **others: Any) -> tuple[dict[str, Any], Path]:
    """Make the source, bring it over HTTP and prepare it; what about.yaml says of it, and where it is."""
    (tmp_path / "mirror" / name).mkdir(parents=True)
    arguments = (maker or getattr(made_sources, name))(tmp_path / "mirror" / name, RNG) | others
    dataset = datasets.find(name)(**arguments)
    raw, folder = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    folder.mkdir()
    with serving(tmp_path / "mirror") as web:
        dataset.download(raw, web.url)
    special = dataset.prepare(raw, folder)
    return describe(name, dataset, folder) | special, folder


def test_cifar10_is_what_was_pickled(tmp_path: Path) -> None:
    about, folder = prepared("cifar10", tmp_path)
    assert about["counts"] == {"train": 16, "val": 4, "test": 4}
    with tarfile.open(tmp_path / "raw" / "cifar-10-python.tar.gz") as archive:
        batch = pickle.load(archive.extractfile("cifar-10-batches-py/test_batch"))  # type: ignore[arg-type]
    array = np.load(folder / "test.npy")
    for place in range(4):  # 1024 values of red, then of green, then of blue, row by row
        assert array[place, 5, 6].tolist() == [batch[b"data"][place][c * 1024 + 5 * 32 + 6] for c in range(3)]
    assert np.load(folder / "test_labels.npy").tolist() == batch[b"labels"]


def test_tiny_imagenet_with_and_without_its_test_set(tmp_path: Path) -> None:
    about, folder = prepared("tiny_imagenet", tmp_path / "whole")
    assert about["counts"] == {"train": 10, "val": 6, "test": 3}
    assert about["classes"] == ["n01", "n02"]
    assert sorted(np.load(folder / "val_labels.npy")) == [0, 0, 0, 1, 1, 1]
    assert not (folder / "test_labels.npy").exists()
    grey = [image for image in np.load(folder / "train.npy") if np.array_equal(image[..., 0], image[..., 1])]
    assert len(grey) == 1
    about, folder = prepared("tiny_imagenet", tmp_path / "less", partial(made_sources.tiny_imagenet, with_test=False))
    assert about["counts"]["val"] + about["counts"]["test"] == 6
    assert "half of the validation images" in about["split"]
    parts = [{image.tobytes() for image in np.load(folder / f"{split}.npy")} for split in ("val", "test")]
    assert len(parts[0] | parts[1]) == 6


def test_celeba_follows_its_partition(tmp_path: Path) -> None:
    about, folder = prepared("celeba", tmp_path)
    assert (about["counts"], about["shape"]) == ({"train": 4, "val": 2, "test": 1}, [148, 148, 3])
    content = Zip(tmp_path / "raw" / "img_align_celeba.zip", "celeba").read("img_align_celeba/000007.jpg")
    whole = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(np.load(folder / "test.npy")[0], whole[35:183, 15:163])


def test_celeba_at_another_size(tmp_path: Path) -> None:
    assert prepared("celeba", tmp_path, crop=140, size=64)[0]["shape"] == [64, 64, 3]


def test_both_eyes_of_a_patient_are_in_one_split(tmp_path: Path) -> None:
    dataset = datasets.find("diabetic_retinopathy")(val=0.2, test=0.2)
    raw = tmp_path / "raw"
    raw.mkdir()
    made_sources.diabetic_retinopathy(raw, RNG)
    store = Zip([raw / part for part in PARTS], "diabetic_retinopathy")
    items = dataset._divided(store, read_grades(raw / LABELS), Tally("diabetic_retinopathy", "error"))  # type: ignore[attr-defined]
    patients = {split: {Path(item.name).stem.split("_")[0] for item in some} for split, some in items.items()}
    assert sum(len(some) for some in patients.values()) == 24
    assert len(set.union(*patients.values())) == 24
    assert sum(len(some) for some in items.values()) == 48


def test_diabetic_retinopathy_from_its_five_parts(tmp_path: Path) -> None:
    about, _ = prepared("diabetic_retinopathy", tmp_path)
    assert sum(about["counts"].values()) == 48
    assert about["shape"] == [16, 16, 3]


def test_ffhq_thumbnails_by_number(tmp_path: Path) -> None:
    about, folder = prepared("ffhq", tmp_path)
    assert (about["counts"], about["shape"]) == ({"train": 5, "val": 2, "test": 2}, [128, 128, 3])
    content = Zip(tmp_path / "raw" / "thumbnails128x128.zip", "ffhq").read("thumbnails128x128/00000/00005.png")
    assert np.array_equal(np.load(folder / "val.npy")[0], np.asarray(Image.open(io.BytesIO(content))))


def ffhq_tree(folder: Path, rng: made_sources.Rng) -> dict[str, Any]:
    """The single files and the official list of them."""
    entries = {}
    for number, (name, content) in enumerate(made_sources.ffhq_contents(rng, 128, 20).items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        spec = {
            "file_path": name,
            "file_md5": made_sources.digest(path, "md5"),
            "file_size": len(content),
            "file_url": "",
        }
        entries[str(number)] = {"category": "training", "image": {}, "thumbnail": spec}
    (folder / LISTING.name).write_text(json.dumps(entries))
    sums = {LISTING.name: f"md5:{made_sources.digest(folder / LISTING.name, 'md5')}"}
    return {"size": 128, "layout": "tree", "train": 12, "val": 4, "checksums": sums}


def test_ffhq_as_a_tree_is_checked_file_by_file(tmp_path: Path) -> None:
    about, _ = prepared("ffhq", tmp_path / "good", ffhq_tree)
    assert about["counts"] == {"train": 12, "val": 4, "test": 4}
    (tmp_path / "mirror" / "ffhq").mkdir(parents=True)
    (tmp_path / "raw").mkdir()
    arguments = ffhq_tree(tmp_path / "mirror" / "ffhq", RNG)
    path = tmp_path / "mirror" / "ffhq" / "thumbnails128x128" / "00000" / "00007.png"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"ffhq: .*00007\.png has md5 \w+, expected \w+"):
        Ffhq(**arguments).download(tmp_path / "raw", str(tmp_path / "mirror"))
    (tmp_path / "bad.json").write_text(
        '{"0": {"thumbnail": {"file_path": "../x", "file_md5": "", "file_size": 1, "file_url": ""}}}'
    )
    with pytest.raises(UserError, match="leads out of its folder"):
        read_listing(tmp_path / "bad.json", "thumbnail")
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(UserError, match=r"bad\.json is not the official list of files"):
        read_listing(tmp_path / "bad.json", "thumbnail")


def ffhq_full(folder: Path, rng: made_sources.Rng) -> dict[str, Any]:
    made_sources.zipped(folder / "images1024x1024.zip", made_sources.ffhq_contents(rng, 1024, 4))
    return {"train": 2, "val": 1, "checksums": made_sources.checksums(folder)}


def test_ffhq_at_full_size_stays_as_files(tmp_path: Path) -> None:
    about, folder = prepared("ffhq", tmp_path / "full", ffhq_full)
    assert (about["counts"], about["shape"]) == ({"train": 2, "val": 1, "test": 1}, [1024, 1024, 3])
    assert not list(folder.glob("train.npy"))
    store = Zip(tmp_path / "full" / "raw" / "images1024x1024.zip", "ffhq")
    contents = [store.read(f"images1024x1024/00000/{number:05}.png") for number in range(4)]
    assert (folder / "train.bin").read_bytes() == contents[0] + contents[1]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in contents[:2]])
    assert about["mean"] == pytest.approx((pixels / 255).mean(axis=(0, 1, 2)), abs=1e-6)
    about, folder = prepared("ffhq", tmp_path / "small", ffhq_full, size=256)
    assert about["shape"] == [256, 256, 3]


def test_a_folder_by_its_own_split_folders_and_as_archives(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    for split, count in (("learn", 20), ("try", 5), ("other", 3)):
        for number in range(count):
            path = root / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(RNG, 20, 16).save(path)
    contents = {name: (root / name).read_bytes() for name in Folder(root, "folder").names}
    made_sources.zipped(tmp_path / "p.zip", contents)
    made_sources.tarred(tmp_path / "p.tar.gz", contents)
    found = []
    for number, path in enumerate((root, tmp_path / "p.zip", tmp_path / "p.tar.gz")):
        dataset = FolderDataset(path=str(path), size=8, split_folders={"train": "learn", "test": "try/"}, val=0.3)
        raw, folder = tmp_path / f"raw{number}", tmp_path / f"out{number}"
        raw.mkdir()
        folder.mkdir()
        dataset.download(raw, None)
        about = dataset.prepare(raw, folder)
        assert about["in_no_split"] == 3
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
        assert len(np.load(folder / "test.npy")) == 5
        assert len(np.load(folder / "train.npy")) + len(np.load(folder / "val.npy")) == 20
    assert found[0] == found[1] == found[2]
    picture(RNG, 20, 16).save(root / "learn" / "new.png")
    with pytest.raises(UserError, match=r"folder: .*pictures has changed since it was listed; run `dvc repro -f"):
        FolderDataset(path=str(root)).prepare(tmp_path / "raw0", tmp_path / "out0")
