"""Small files in the official layout of every data set, made on the spot: `made_sources.<dataset>(folder, rng)`.

Each function fills `folder` as a mirror's folder of that data set and returns the settings that a data set of this size
needs. `checksums` are those of the made files, so that the same code path as with the official ones is taken.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.core.files import digest

Rng = np.random.Generator


def checksums(folder: Path) -> dict[str, str]:
    return {path.name: f"sha256:{digest(path)}" for path in sorted(folder.iterdir())}


def idx(array: np.ndarray) -> bytes:
    """The bytes of an idx file of unsigned bytes, gzipped without a date."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


def mnist(folder: Path, rng: Rng, train: int = 30, test: int = 7, val: int = 6) -> dict[str, Any]:
    for stem, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return {"val": val, "checksums": checksums(folder)}


fashion_mnist = mnist


def photos(folder: Path, rng: Rng) -> dict[str, Any]:
    return {"train": 60, "val": 20, "test": 20}


def picture(rng: Rng, width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Noise over a slope of colours: every picture is another one, and none is flat."""
    slope = np.linspace(40, 200, width)[None, :, None] + np.array([0, 20, 40])
    pixels = np.clip(slope + rng.normal(0, 20, (height, width, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def zipped(path: Path, contents: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def tarred(path: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def cifar10(folder: Path, rng: Rng, val: int = 4) -> dict[str, Any]:
    """Five training batches of four images and a test batch, pickled as the official ones."""
    contents = {"cifar-10-batches-py/readme.html": b"<html></html>"}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        data = rng.integers(0, 256, (4, 3072), np.uint8)
        batch = {"data": data, "labels": [int(x) for x in rng.integers(0, 10, 4)], "batch_label": name}
        contents[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=2)
    contents["cifar-10-batches-py/batches.meta"] = pickle.dumps({"label_names": ["cat"] * 10}, protocol=2)
    tarred(folder / "cifar-10-python.tar.gz", contents)
    return {"val": val, "checksums": checksums(folder)}


def tiny_imagenet_contents(rng: Rng, with_test: bool = True) -> dict[str, bytes]:
    """The official tree with two classes; one file is grey."""
    root, classes = "tiny-imagenet-200", ("n02", "n01")
    contents = {f"{root}/wnids.txt": "\n".join(classes).encode(), f"{root}/words.txt": b"n01\ta\nn02\tb\n"}
    for wnid in classes:
        contents[f"{root}/train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
        for number in range(5):
            mode = "L" if (wnid, number) == ("n01", 0) else "RGB"
            name = f"{root}/train/{wnid}/images/{wnid}_{number}.JPEG"
            contents[name] = encoded(picture(rng, 64, 64, mode), "JPEG")
    lines = []
    for number in range(6):
        contents[f"{root}/val/images/val_{number}.JPEG"] = encoded(picture(rng, 64, 64), "JPEG")
        lines.append(f"val_{number}.JPEG\t{classes[number % 2]}\t0\t0\t63\t63\n")
    contents[f"{root}/val/val_annotations.txt"] = "".join(lines).encode()
    for number in range(3 if with_test else 0):
        contents[f"{root}/test/images/test_{number}.JPEG"] = encoded(picture(rng, 64, 64), "JPEG")
    return contents


def tiny_imagenet(folder: Path, rng: Rng, with_test: bool = True) -> dict[str, Any]:
    zipped(folder / "tiny-imagenet-200.zip", tiny_imagenet_contents(rng, with_test))
    return {"checksums": checksums(folder)}


def celeba(folder: Path, rng: Rng) -> dict[str, Any]:
    names = [f"{number:06}.jpg" for number in range(1, 8)]
    zipped(
        folder / "img_align_celeba.zip",
        {"img_align_celeba/": b""} | {f"img_align_celeba/{n}": encoded(picture(rng, 178, 218), "JPEG") for n in names},
    )
    lines = [f"{name} {part}\n" for name, part in zip(names, (0, 0, 0, 0, 1, 1, 2), strict=True)]
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    return {"checksums": checksums(folder)}


def eye(rng: Rng, width: int, height: int, radius: int) -> Image.Image:
    """A disc in the middle, brighter to the right, on a dark ground with a little noise."""
    y, x = np.mgrid[:height, :width]
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < radius**2
    pixels = rng.integers(0, 6, (height, width, 3))
    pixels[inside] += np.stack([120 + x[inside] * 100 // width, 60 + 0 * x[inside], 30 + 0 * x[inside]], axis=1)
    return Image.fromarray(pixels.astype(np.uint8))


def diabetic_retinopathy(folder: Path, rng: Rng) -> dict[str, Any]:
    """Kaggle's layout: one zip cut into five parts, and a zipped table of grades."""
    images = [f"{patient}_{side}" for patient in range(40, 64) for side in ("left", "right")]
    contents = {f"train/{name}.jpeg": encoded(eye(rng, 90, 60, 28), "JPEG") for name in images}
    zipped(folder / "whole", contents)
    whole = (folder / "whole").read_bytes()
    (folder / "whole").unlink()
    step = len(whole) // 5 + 1
    for number in range(5):
        (folder / f"train.zip.{number + 1:03}").write_bytes(whole[number * step : (number + 1) * step])
    table = "image,level\n" + "".join(f"{name},{rng.integers(0, 5)}\n" for name in images)
    zipped(folder / "trainLabels.csv.zip", {"trainLabels.csv": table.encode()})
    return {"size": 16, "val": 0.2, "test": 0.2, "checksums": checksums(folder)}


def ffhq_contents(rng: Rng, side: int, count: int) -> dict[str, bytes]:
    top = "images1024x1024" if side == 1024 else "thumbnails128x128"
    return {f"{top}/00000/{number:05}.png": encoded(picture(rng, side, side), "PNG") for number in range(count)}


def ffhq(folder: Path, rng: Rng) -> dict[str, Any]:
    zipped(folder / "thumbnails128x128.zip", ffhq_contents(rng, 128, 9))
    return {"size": 128, "train": 5, "val": 2, "checksums": checksums(folder)}


def folder(folder: Path, rng: Rng) -> dict[str, Any]:
    """Pictures of many sizes and kinds in subfolders."""
    for number in range(24):
        path = folder / "pictures" / f"album {number % 3}" / f"{number}.{('png', 'jpg', 'webp')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = ("RGB", "L")[number % 2]
        image = picture(rng, 20 + number, 40 - number, mode)
        image.save(path)
    (folder / "pictures" / "notes.txt").write_text("no picture")
    return {"path": str(folder / "pictures"), "size": 16, "val": 0.25, "test": 0.25}
