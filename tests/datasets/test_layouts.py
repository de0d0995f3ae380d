"""Data sets of picture files: their official layouts, and what is said of files that do not follow them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
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
from pipeline.datasets._splits import hash_split
from pipeline.datasets.diabetic_retinopathy import LABELS, fundus, read_grades
from pipeline.datasets.ffhq import LISTING, Ffhq, read_listing
from pipeline.datasets.io.archives import BadFile, Zip
from pipeline.datasets.io.images import Decoder
from pipeline.preprocess import describe

RNG = np.random.default_rng(2)
ROOT = "tiny-imagenet-200"


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
    _, folder = prepared("diabetic_retinopathy", tmp_path)
    graded = {item.name: item.label for item in read_grades(tmp_path / "raw" / LABELS)}
    counts = {split: len(np.load(folder / f"{split}.npy")) for split in datasets.SPLITS}
    assert sum(counts.values()) == len(graded) == 48
    splits = {name: hash_split(Path(name).stem.split("_")[0], 0.2, 0.2) for name in graded}
    assert all(splits[name] == splits[name.replace("left", "right")] for name in graded)
    for split in datasets.SPLITS:
        expected = sorted(grade for name, grade in graded.items() if splits[name] == split)  # type: ignore[type-var]
        assert sorted(np.load(folder / f"{split}_labels.npy")) == expected


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
        entries[str(number)] = {"category": "training", "image": spec, "thumbnail": spec}
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
    with pytest.raises(UserError, match=r"^ffhq: .*00007\.png: expected md5:\w+ but got \w+\)"):
        Ffhq(**arguments).download(tmp_path / "raw", str(tmp_path / "mirror"))
    spec = {"file_path": "../x.png", "file_md5": "", "file_size": 1, "file_url": ""}
    for content, says in (({"0": {"thumbnail": spec}}, "ValueError.*no relative path"), ([], "AttributeError")):
        (tmp_path / "bad.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=rf"^ffhq: .*bad\.json is not the official list of files \({says}"):
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
    small = tmp_path / "small"
    small.mkdir()
    Ffhq(size=256, train=2, val=1).prepare(tmp_path / "full" / "raw", small)
    expected = pixels[0].reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    assert np.abs(np.load(small / "train.npy")[0] - expected).max() <= 1  # Pillow rounds twice


def prepare_tiny(root: Path, contents: dict[str, bytes], **settings: Any) -> tuple[dict[str, Any], Path]:
    (root / "raw").mkdir(parents=True)
    (root / "out").mkdir()
    made_sources.zipped(root / "raw" / "tiny-imagenet-200.zip", contents)
    return datasets.find("tiny_imagenet")(**settings).prepare(root / "raw", root / "out"), root / "out"


def test_labels_stay_with_their_images_when_some_are_skipped(tmp_path: Path) -> None:
    contents = made_sources.tiny_imagenet_contents(RNG)
    for name in list(contents):
        if "/train/" in name and name.endswith("JPEG"):  # a flat colour tells the class
            colour = (250, 0, 0) if "n01" in name else (0, 0, 250)
            contents[name] = encoded(Image.new("RGB", (64, 64), colour), "JPEG")
    contents[f"{ROOT}/train/n01/images/n01_2.JPEG"] = b"bad"
    _, folder = prepare_tiny(tmp_path, contents, on_bad_image="skip")
    arrays, labels = np.load(folder / "train.npy"), np.load(folder / "train_labels.npy")
    assert sorted(labels) == [0] * 4 + [1] * 5
    assert all(image[0, 0, 0] > 200 for image in arrays[labels == 0])
    assert all(image[0, 0, 2] > 200 for image in arrays[labels == 1])


def test_a_split_without_a_usable_image_is_refused_even_when_skipping(tmp_path: Path) -> None:
    contents = made_sources.tiny_imagenet_contents(RNG)
    bad = {name: b"" if "/val/images" in name else content for name, content in contents.items()}
    with pytest.raises(UserError, match=r"tiny_imagenet: .*tiny-imagenet-200\.zip has no usable image for val"):
        prepare_tiny(tmp_path, bad, on_bad_image="skip")


def without(part: str) -> Callable[[dict[str, bytes]], None]:
    def change(contents: dict[str, bytes]) -> None:
        for name in [name for name in contents if name.endswith(part)]:
            del contents[name]

    return change


def annotations(content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda contents: contents.update({f"{ROOT}/val/val_annotations.txt": content})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("val_annotations.txt"), "val/val_annotations.txt in .* cannot be read as text"),
        (without("wnids.txt"), "tiny-imagenet-200/wnids.txt in .* cannot be read as text"),
        (annotations(b"val_0.JPEG\tn01\n"), "/val/images/val_1.JPEG has no class in .*, as 5 images in .*: skip would"),
        (annotations(b"val_0.JPEG n01\n"), "val_annotations.txt in .* has a line without a tab"),
        (annotations(b"\xff\xfe"), "val_annotations.txt in .* cannot be read as text"),
    ],
)
def test_bad_lists_of_tiny_imagenet(change: Callable[[dict[str, bytes]], None], says: str, tmp_path: Path) -> None:
    contents = made_sources.tiny_imagenet_contents(RNG)
    change(contents)
    with pytest.raises(UserError, match=f"^tiny_imagenet: .*{says}"):
        prepare_tiny(tmp_path, contents)


def test_images_of_tiny_imagenet_without_a_class_can_be_left_out(tmp_path: Path) -> None:
    contents = made_sources.tiny_imagenet_contents(RNG)
    annotations(b"val_0.JPEG\tn01\nval_3.JPEG\tn99\n")(contents)
    contents[f"{ROOT}/train/n98/images/n98_0.JPEG"] = contents[f"{ROOT}/train/n01/images/n01_1.JPEG"]
    about, folder = prepare_tiny(tmp_path, contents, on_bad_image="skip")
    assert len(np.load(folder / "train.npy")) == len(np.load(folder / "train_labels.npy")) == 10
    assert np.load(folder / "val_labels.npy").tolist() == [0]
    left_out = ["train/n98/images/n98_0.JPEG", *(f"val/images/val_{number}.JPEG" for number in range(1, 6))]
    assert set(about["skipped"]) == {f"{ROOT}/{name}" for name in left_out}


# single data sets


def prepare(name: str, tmp_path: Path, change: Callable[[Path], None], **others: Any) -> dict[str, Any]:
    raw, folder = tmp_path / "raw", tmp_path / "out"
    raw.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    settings = getattr(made_sources, name)(raw, RNG)
    settings.pop("checksums")
    change(raw)
    return datasets.find(name)(**(settings | others)).prepare(raw, folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, r"\(.*No such file"),
        ("000001.jpg\n", r"\(not enough values"),
        ("000001.jpg 3\n", r"\(tuple index"),
        ("000001.jpg train\n", r"\(invalid literal"),
    ],
)
def test_bad_partitions_of_celeba(text: str | None, says: str, tmp_path: Path) -> None:
    def change(raw: Path) -> None:
        path = raw / "list_eval_partition.txt"
        path.unlink() if text is None else path.write_text(text)

    with pytest.raises(
        UserError, match=rf"^celeba: .*list_eval_partition\.txt is no list of file names, each with 0, 1 or 2 {says}"
    ):
        prepare("celeba", tmp_path, change)


def test_an_image_that_celeba_lists_but_lacks_is_named(tmp_path: Path) -> None:
    def change(raw: Path) -> None:
        with (raw / "list_eval_partition.txt").open("a") as file:
            file.write("000099.jpg 2\n")

    with pytest.raises(UserError, match=r"^celeba: img_align_celeba/000099\.jpg cannot be unpacked \(.*no item named"):
        prepare("celeba", tmp_path, change)
    skipped = prepare("celeba", tmp_path, change, on_bad_image="skip")["skipped"]
    assert list(skipped) == ["img_align_celeba/000099.jpg"]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("image,level\n40_left,none\n", "is no table of images, .* \\(ValueError"),
        ("picture,grade\n40_left,1\n", "is no table of images, .* \\(KeyError"),
        ("image,level\n99_left,1\n", "train/99_left.jpeg cannot be unpacked"),
    ],
)
def test_bad_grades_of_diabetic_retinopathy(table: str, says: str, tmp_path: Path) -> None:
    def change(raw: Path) -> None:
        made_sources.zipped(raw / "trainLabels.csv.zip", {"trainLabels.csv": table.encode()})

    with pytest.raises(UserError, match=f"^diabetic_retinopathy: .*{says}"):
        prepare("diabetic_retinopathy", tmp_path, change)


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


def test_a_dark_eye_is_bad() -> None:
    with pytest.raises(BadFile, match="shows no fundus: it is dark all over"):
        Decoder((8, 8), partial(fundus, size=8))(encoded(Image.new("RGB", (50, 40)), "PNG"))


def test_too_few_files_of_ffhq(tmp_path: Path) -> None:
    def change(raw: Path) -> None:
        content = encoded(picture(RNG, 128, 128), "PNG")
        names = ("thumbnails128x128/cover.png", "thumbnails128x128/00000.png")
        made_sources.zipped(raw / "thumbnails128x128.zip", dict.fromkeys(names, content))

    with pytest.raises(
        UserError, match=r"^ffhq: .* has no usable image for val; expected more images, or other numbers or shares"
    ):
        prepare("ffhq", tmp_path, change)
