"""What bad data does: a sentence that names file and data set, or skipped and counted; never silence."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import made_sources
import numpy as np
import pytest
from made_sources import encoded, picture
from PIL import Image

from pipeline import datasets
from pipeline.core.errors import UserError
from pipeline.datasets.diabetic_retinopathy import fundus
from pipeline.datasets.io import archives
from pipeline.datasets.io.archives import BadFile, Folder, Joined, Zip, unpack_tar
from pipeline.datasets.io.images import Recipe, Tally, as_is, decode

RNG = np.random.default_rng(1)
RECIPE = Recipe((64, 64), as_is, source=(64, 64), most=1 << 20)
ROOT = "tiny-imagenet-200"


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
    "cut jpeg": (encoded(picture(RNG, 64, 64), "JPEG")[:-400], "is damaged or cut short"),
    "cut png": (encoded(picture(RNG, 64, 64), "PNG")[:3000], "is damaged or cut short"),
    "corrupt png": (corrupt_png(), "is damaged or cut short"),
    "head only": (encoded(picture(RNG, 64, 64), "JPEG")[:20], "is"),
    "size": (encoded(picture(RNG, 64, 63), "JPEG"), "has 64×63 pixels, expected 64×64"),
    "bomb": (bomb(9_000, 9_000), "declares 9000×9000 pixels, more than [0-9]+, and was not decoded"),
    "great bomb": (bomb(1 << 30, 1 << 30), "declares .* pixels"),
    "16 bits": (encoded(Image.fromarray(np.full((64, 64), 999, np.uint16)), "PNG"), "has pixels of kind I"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "is not an image"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_says_what_is_wrong(kind: str) -> None:
    content, says = BAD[kind]
    with pytest.raises(BadFile, match=f"^{says}"):
        decode(content, RECIPE)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_stops_with_its_name_or_is_skipped_and_counted(kind: str, tmp_path: Path) -> None:
    contents = made_sources.tiny_imagenet_contents(RNG)
    name = f"{ROOT}/train/n02/images/n02_3.JPEG"
    contents[name] = BAD[kind][0]
    with pytest.raises(UserError, match=f"^tiny_imagenet: {name} {BAD[kind][1]}.*; data.on_bad_image: skip would"):
        prepare_tiny(tmp_path / "stops", contents)
    said, folder = prepare_tiny(tmp_path / "skips", contents, on_bad_image="skip")
    assert list(said["skipped"]) == [name]
    assert len(np.load(folder / "train.npy")) == len(np.load(folder / "train_labels.npy")) == 9


def test_the_log_names_the_first_skipped_images(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally("made", "skip")
    with caplog.at_level("INFO", logger="pipeline"):
        for number in range(25):
            tally.bad(f"{number}.png", "is not an image")
    assert caplog.messages[0] == "made: left out 0.png, which is not an image"
    assert (
        caplog.messages[-1] == "made: left out 9.png, which is not an image; further ones are told in about.yaml only"
    )
    assert len(tally.skipped) == 25


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
        (without("val_annotations.txt"), "lacks tiny-imagenet-200/val/val_annotations.txt"),
        (without("wnids.txt"), "lacks tiny-imagenet-200/wnids.txt"),
        (without("val_2.JPEG"), "val_2.JPEG is named in .*val_annotations.txt but not there"),
        (annotations(b"val_0.JPEG\tn01\n"), "val_1.JPEG has no class in wnids.txt"),
        (annotations(b"val_0.JPEG n01\n"), "line 1 of .*val_annotations.txt lacks a tab: 'val_0.JPEG n01'"),
        (annotations(b"a\tn01\na\tn02\n"), "line 2 of .*val_annotations.txt names a file for the second time"),
        (annotations(b"\xff\xfe"), "val_annotations.txt in .* cannot be read as text"),
    ],
)
def test_bad_lists_of_tiny_imagenet(change: Callable[[dict[str, bytes]], None], says: str, tmp_path: Path) -> None:
    contents = made_sources.tiny_imagenet_contents(RNG)
    change(contents)
    with pytest.raises(UserError, match=f"^tiny_imagenet: .*{says}"):
        prepare_tiny(tmp_path, contents)


# archives


@pytest.mark.parametrize("name", ["../climbs.png", "/root.png", "a/../../b.png", "c:/x.png", "a\\..\\b.png"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    made_sources.zipped(tmp_path / "a.zip", {"good.png": b"", name: b""})
    with pytest.raises(UserError, match=r"^made: .*a\.zip holds .*leads out of its folder; nothing was unpacked"):
        Zip(tmp_path / "a.zip", "made")
    made_sources.tarred(tmp_path / "a.tar.gz", {name: b"x"})
    with pytest.raises(UserError, match=r"^made: .*a\.tar\.gz holds .*leads out of its folder"):
        unpack_tar(tmp_path / "a.tar.gz", tmp_path / "out", "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "a.zip"]


@pytest.mark.parametrize(
    ("kind", "says"), [(tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (b"3", "special")]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, says: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("inside")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(UserError, match=f"made: .*a.tar holds 'inside', .*{says}"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", "made")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("inside")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match=r"made: .*a\.zip holds 'inside', a link"):
        Zip(tmp_path / "a.zip", "made")


def test_a_link_out_of_a_folder_is_bad(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside.png").write_bytes(b"secret")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(BadFile, match="is a link that leads out of its folder"):
        Folder(tmp_path / "in", "made").read("link.png")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_stand_twice_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/b.png", b"1")
        archive.writestr("a/./b.png", b"2")
    with pytest.raises(UserError, match=r"made: .*a\.zip holds a/b\.png 2 times, expected every name once"):
        Zip(tmp_path / "a.zip", "made")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("b.png"), io.BytesIO())
    with pytest.raises(UserError, match=r"made: .*a\.tar holds b\.png twice"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", "made")


def test_archives_cut_short_or_of_other_bytes_are_refused(tmp_path: Path) -> None:
    made_sources.zipped(tmp_path / "a.zip", {"a.png": bytes(5000)})
    made_sources.tarred(tmp_path / "a.tgz", {"a.png": RNG.bytes(5000)})
    for name in ("a.zip", "a.tgz"):
        (tmp_path / f"cut-{name}").write_bytes((tmp_path / name).read_bytes()[:-2500])
        (tmp_path / f"no-{name}").write_bytes(b"<html></html>")
    for name in ("cut-a.zip", "no-a.zip"):
        with pytest.raises(UserError, match=f"made: .*{name} is not a whole zip archive"):
            Zip(tmp_path / name, "made")
    for name in ("cut-a.tgz", "no-a.tgz"):
        with pytest.raises(UserError, match=f"made: .*{name} is not a whole tar archive"):
            unpack_tar(tmp_path / name, tmp_path / f"out-{name}", "made")
    for call in (lambda: Zip(tmp_path / "x.zip", "made"), lambda: unpack_tar(tmp_path / "x", tmp_path / "o", "made")):
        with pytest.raises(UserError, match=r"x.* is not there; run `python -m pipeline\.download made`"):
            call()


def test_damaged_and_far_too_large_members_are_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_sources.zipped(tmp_path / "a.zip", {"a.png": b"A" * 500, "b.png": b"B" * 90})
    content = (tmp_path / "a.zip").read_bytes().replace(b"A" * 500, b"A" * 499 + b"!")
    (tmp_path / "a.zip").write_bytes(content)
    store = Zip(tmp_path / "a.zip", "made")
    with pytest.raises(BadFile, match="cannot be unpacked .*CRC"):
        store.read("a.png")
    assert store.read("b.png") == b"B" * 90
    monkeypatch.setattr(archives, "LARGEST", 80)
    with pytest.raises(BadFile, match="declares 90 bytes, more than 80"):
        store.read("b.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.png").write_bytes(b"B" * 90)
    with pytest.raises(BadFile, match="has 90 bytes, more than 80"):
        Folder(tmp_path / "in", "made").read("b.png")
    made_sources.tarred(tmp_path / "a.tgz", {"b.png": b"B" * 90})
    with pytest.raises(UserError, match=r"b\.png in .*a\.tgz has 90 bytes, more than 80"):
        unpack_tar(tmp_path / "a.tgz", tmp_path / "out", "made")


def test_joined_files_read_as_one(tmp_path: Path) -> None:
    whole = RNG.bytes(1000)
    paths = []
    for number, (start, end) in enumerate([(0, 1), (1, 400), (400, 400), (400, 1000)]):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(whole[start:end])
    joined = Joined(paths)
    assert joined.read() == whole
    for position, size in [(0, 5), (390, 20), (999, 5), (1000, 5), (0, 2000)]:
        joined.seek(position)
        assert joined.read(size) == whole[position : position + size]
        assert joined.tell() == min(1000, position + size)
    assert joined.seek(-3, io.SEEK_END) == 997
    assert joined.seek(2, io.SEEK_CUR) == 999


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
        (None, r"the partition file .*list_eval_partition\.txt is not there"),
        ("000001.jpg\n", r"line 1 of .*list_eval_partition\.txt is '000001\.jpg', expected a file name and 0, 1 or 2"),
        ("000001.jpg 3\n", r"line 1 of .* is '000001\.jpg 3'"),
        ("000001.jpg 0\n000001.jpg 1\n", r"line 2 of .* names 000001\.jpg for the second time"),
        ("000001.jpg 0\n", r"img_align_celeba/000002\.jpg is not in list_eval_partition\.txt"),
    ],
)
def test_bad_partitions_of_celeba(text: str | None, says: str, tmp_path: Path) -> None:
    def change(raw: Path) -> None:
        path = raw / "list_eval_partition.txt"
        path.unlink() if text is None else path.write_text(text)

    with pytest.raises(UserError, match=f"^celeba: {says}"):
        prepare("celeba", tmp_path, change)


def test_an_image_that_celeba_lists_but_lacks_is_named(tmp_path: Path) -> None:
    def change(raw: Path) -> None:
        with (raw / "list_eval_partition.txt").open("a") as file:
            file.write("000099.jpg 2\n")

    with pytest.raises(UserError, match=r"^celeba: 000099\.jpg is named in list_eval_partition\.txt but not in"):
        prepare("celeba", tmp_path, change)
    assert list(prepare("celeba", tmp_path, change, on_bad_image="skip")["skipped"]) == ["000099.jpg"]


class Spiteful:
    """Unpickling this would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must not run",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps(Spiteful()), "cannot be read as plain data .*it asks for builtins.print"),
        (pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"labels": [0, 1]}), r"holds data \(2, 9\) for 2 labels"),
        (pickle.dumps({b"labels": [0]}), "is not a batch of images and labels"),
        (pickle.dumps([1, 2]), "is not a batch of images and labels"),
        (b"", "cannot be read as plain data"),
        (None, "is not there"),
    ],
)
def test_bad_batches_of_cifar10(
    content: bytes | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(raw: Path) -> None:
        store = unpack_tar(raw / "cifar-10-python.tar.gz", tmp_path / "unpacked", "cifar10")
        contents = {name: store.read(name) for name in store.names}
        name = "cifar-10-batches-py/data_batch_3"
        contents.pop(name)
        made_sources.tarred(raw / "cifar-10-python.tar.gz", contents | ({name: content} if content is not None else {}))

    with pytest.raises(UserError, match=f"^cifar10: cifar-10-batches-py/data_batch_3 in cifar-10-python.tar.gz {says}"):
        prepare("cifar10", tmp_path, change)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("image,level\n40_left,5\n", "has the line .*expected an image that stands once and its level from 0 to 4"),
        ("image,level\n40_left,1\n40_left,1\n", "has the line .*expected an image that stands once"),
        ("picture,grade\n40_left,1\n", "has the line"),
        ("image,level\n40_left,1\n", r"train/40_right\.jpeg has no grade in trainLabels\.csv\.zip"),
    ],
)
def test_bad_grades_of_diabetic_retinopathy(table: str, says: str, tmp_path: Path) -> None:
    def change(raw: Path) -> None:
        made_sources.zipped(raw / "trainLabels.csv.zip", {"trainLabels.csv": table.encode()})

    with pytest.raises(UserError, match=f"^diabetic_retinopathy: .*{says}"):
        prepare("diabetic_retinopathy", tmp_path, change)


def test_a_part_that_is_missing_is_a_broken_archive(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"diabetic_retinopathy: .*train\.zip\.001 is not a whole zip archive"):
        prepare("diabetic_retinopathy", tmp_path, lambda raw: (raw / "train.zip.005").unlink())


def test_a_dark_eye_is_bad() -> None:
    recipe = Recipe((8, 8), partial(fundus, size=8))
    with pytest.raises(BadFile, match="shows no fundus: it is dark all over"):
        decode(encoded(Image.new("RGB", (50, 40)), "PNG"), recipe)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["thumbnails128x128/00000.png", "thumbnails128x128/00000/00000.png"], "holds the number 0 as"),
        (["thumbnails128x128/cover.png"], r"thumbnails128x128/cover\.png is not named by a number"),
        (["thumbnails128x128/00000.png"], "has no usable image for val"),
    ],
)
def test_bad_names_of_ffhq(names: list[str], says: str, tmp_path: Path) -> None:
    def change(raw: Path) -> None:
        content = encoded(picture(RNG, 128, 128), "PNG")
        made_sources.zipped(raw / "thumbnails128x128.zip", dict.fromkeys(names, content))

    with pytest.raises(UserError, match=f"^ffhq: .*{says}"):
        prepare("ffhq", tmp_path, change)


def test_what_a_folder_needs(tmp_path: Path) -> None:
    cls = datasets.find("folder")
    with pytest.raises(UserError, match=r"datasets\.folder\.data\.path must name"):
        cls().download(tmp_path, None)
    with pytest.raises(UserError, match=r"there is no .*nowhere; datasets\.folder\.data\.path"):
        cls(path=str(tmp_path / "nowhere")).download(tmp_path, None)
    with pytest.raises(UserError, match=r"holds no pictures; expected names that end in \.jpg"):
        cls(path=str(tmp_path)).download(tmp_path, None)
    with pytest.raises(UserError, match=r"split_folders names val, expected train"):
        cls(path="x", split_folders={"val": "v"})
