"""Photos: 32×32 colour patches of the photographs that ship inside scikit-image. Needs no download."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from pydantic import NonNegativeInt, PositiveInt

from pipeline.core import files as disk
from pipeline.core.errors import UserError
from pipeline.datasets import SPLITS, Checksums, Dataset, Source

SIZE = 32  # pixels of a patch
WINDOWS = (1, 2)  # a patch shows SIZE times this many pixels of the photograph, times the photograph's own scale
BLOCK = 96  # pixels: at least the side of a block, times the photograph's own scale
STRIDE = 2  # pixels between two patches that may be chosen, times the photograph's own scale
LEAST_CONTRAST = 8.0  # grey levels of 0 … 255: the least deviation of a channel, lest empty sky prevails


@dataclass(frozen=True)
class Photograph:
    """A photograph of the package, and on which terms.

    Attributes:
        files: file name → sha256; two for a stereo pair.
        scale: how many of its pixels make one of a patch at least; more than 1 where fine detail is only blur.
        weight: its share of every split, relative to the others.
        splits: those it may give patches to.
    """

    name: str
    files: dict[str, str]
    credit: str
    licence: str
    scale: int = 1
    weight: int = 2
    splits: tuple[str, ...] = SPLITS


# Grey and uniform photographs weigh half. Left out: drawings, scans, texture maps, and pictures that are mostly empty.
PHOTOGRAPHS = (
    Photograph(
        "astronaut",
        {"astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"},
        "Eileen Collins, NASA Great Images database",
        "public domain",
    ),
    Photograph(
        "chelsea",
        {"chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"},
        "a cat, by Stefan van der Walt",
        "CC0",
    ),
    Photograph(
        "coffee",
        {"coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"},
        "by Rachel Michetti, courtesy of Pikolo Espresso Bar",
        "CC0",
    ),
    Photograph(
        "hubble",
        {"hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"},
        "Hubble eXtreme Deep Field, NASA, HubbleSite",
        "public domain, by NASA's media guidelines",
        weight=1,
    ),
    Photograph(
        "ihc",
        {"ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"},
        "stained colonic glands under a microscope, Center for Microscopy And Molecular Imaging",
        "no known copyright restrictions",
    ),
    Photograph(
        "motorcycle",
        {
            "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
            "motorcycle_right.png": "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
        },
        "stereo pair of the Middlebury 2014 benchmark, by Nesic, Westling, Wang, Kitajima, Krathwohl and Scharstein",
        "none stated; published for research with a request to cite (Scharstein et al., GCPR 2014)",
        weight=3,
        splits=("train",),  # what one picture shows, the other shows too
    ),
    Photograph(
        "retina",
        {"retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6"},
        "fundus of a left eye, by Mikael Häggström",
        "CC0",
        scale=2,
        weight=1,
    ),
    Photograph(
        "rocket",
        {"rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"},
        "Falcon 9 with DSCOVR, by SpaceX",
        "public domain",
    ),
    Photograph(
        "camera",
        {"camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"},
        "a man with a camera (grey), by Lav Varshney",
        "CC0",
        weight=1,
    ),
    Photograph(
        "coins",
        {"coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"},
        "Greek coins from Pompeii (grey), Brooklyn Museum Collection",
        "no known copyright restrictions",
        weight=1,
    ),
    Photograph(
        "grass",
        {"grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"},
        "grass (grey), by linolafett",
        "CC0",
        weight=1,
    ),
)


class Patch(NamedTuple):
    """Where a patch was cut: the square of `side` pixels of the photograph's file at column x, row y."""

    file: str
    x: int
    y: int
    side: int


@dataclass(kw_only=True)
class Photos(Dataset):
    """Every photograph is cut into blocks, a block belongs to one split, and a patch lies within one block.

    So no pixel of a photograph is in two splits. Squares of 32 and of 64 pixels (of the retina 64 and 128) become
    patches of 32×32, by averaging.

    Attributes:
        train, val, test: how many patches.
        seed: of the draw of blocks and patches.
    """

    image_shape = (SIZE, SIZE)
    source = Source(
        title="Photos: patches of the photographs inside scikit-image",
        url="https://scikit-image.org/docs/stable/api/skimage.data.html",
        licence="per photograph, see `photographs`",
        cite="van der Walt et al.: scikit-image: image processing in Python, PeerJ 2:e453, 2014",
    )

    train: PositiveInt = 12000
    val: PositiveInt = 1000
    test: PositiveInt = 1000
    seed: NonNegativeInt = 0
    checksums: Checksums | None = field(default=None, init=False)  # no setting: there are no other photographs

    def identity(self) -> dict[str, Any]:
        return {"files": {name: f"sha256:{sha}" for photo in PHOTOGRAPHS for name, sha in photo.files.items()}}

    def download(self, folder: Path, mirror: str | None) -> None:
        """Copy the photographs out of the installed package; a mirror is not looked at."""
        import skimage

        for name, expected in self.identity()["files"].items():
            path = Path(skimage.__file__).parent / "data" / name
            found = f"sha256:{disk.digest(path)}"
            if found != expected:
                raise UserError(f"photos: {path} has {found}, expected {expected}.")
            shutil.copyfile(path, folder / name)

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        """Cut the patches; `patches.csv` says where each was cut, the labels which photograph (in the order below)."""
        rng = np.random.RandomState(self.seed)  # the generator whose numbers NumPy promises never to change
        chosen: dict[str, list[tuple[int, Patch]]] = {split: [] for split in SPLITS}
        pictures = {name: _read(raw / name) for photograph in PHOTOGRAPHS for name in photograph.files}
        for label, photograph in enumerate(PHOTOGRAPHS):
            candidates = _candidates(photograph, pictures, rng)
            for split in photograph.splits:
                patches, quota = candidates[split], quotas(getattr(self, split), split)[photograph.name]
                if len(patches) < quota:
                    raise UserError(
                        f"datasets.photos.data.{split} asks {quota} patches of {photograph.name}, which has "
                        f"{len(patches)} to give; choose a smaller number or another seed."
                    )
                chosen[split] += [(label, patches[index]) for index in rng.permutation(len(patches))[:quota]]
        for split in SPLITS:  # in random order, so that the first few are of many photographs
            chosen[split] = [chosen[split][index] for index in rng.permutation(len(chosen[split]))]
            images = [cut(pictures[patch.file], patch) for _, patch in chosen[split]]
            np.save(folder / f"{split}.npy", np.stack(images))
            np.save(folder / f"{split}_labels.npy", np.array([label for label, _ in chosen[split]], np.int64))
        _write_patches(folder / "patches.csv", chosen)
        return {"photographs": [_summary(label, photograph, chosen) for label, photograph in enumerate(PHOTOGRAPHS)]}


def quotas(count: int, split: str) -> dict[str, int]:
    """How many patches of a split each photograph gives: by weight, the remainder to the first ones."""
    takers = [photograph for photograph in PHOTOGRAPHS if split in photograph.splits]
    total = sum(photograph.weight for photograph in takers)
    shares = {photograph.name: count * photograph.weight // total for photograph in takers}
    for photograph in takers[: count - sum(shares.values())]:
        shares[photograph.name] += 1
    return shares


def blocks(width: int, height: int, least: int) -> list[tuple[int, int, int, int]]:
    """Cut a picture into rectangles (left, top, right, bottom) with sides of `least` pixels or more, all covered."""
    xs = np.linspace(0, width, max(1, width // least) + 1).astype(int)
    ys = np.linspace(0, height, max(1, height // least) + 1).astype(int)
    return [
        (int(left), int(top), int(right), int(bottom)) for top, bottom in pairwise(ys) for left, right in pairwise(xs)
    ]


def _candidates(
    photograph: Photograph, pictures: dict[str, UInt8[np.ndarray, "h w 3"]], rng: np.random.RandomState
) -> dict[str, list[Patch]]:
    """Where there is enough contrast, by the split that the block was drawn for: six of eight blocks train."""
    places: dict[str, list[Patch]] = {split: [] for split in photograph.splits}
    for name in photograph.files:
        height, width, _ = pictures[name].shape
        cells = blocks(width, height, BLOCK * photograph.scale)
        rest = max(1, round(len(cells) / 8)) if len(photograph.splits) > 1 else 0
        order = rng.permutation(len(cells))
        for split, part in zip(SPLITS, np.split(order, [len(cells) - 2 * rest, len(cells) - rest]), strict=True):
            for index in part:
                places[split] += _within(cells[index], pictures[name], name, photograph.scale)
    return places


def _within(cell: tuple[int, int, int, int], picture: UInt8[np.ndarray, "h w 3"], name: str, scale: int) -> list[Patch]:
    left, top, right, bottom = cell
    places = []
    for side in (SIZE * window * scale for window in WINDOWS):
        step = STRIDE * scale
        contrasts = contrast(picture[top:bottom, left:right], side, step)
        for j, i in np.argwhere(contrasts >= LEAST_CONTRAST).tolist():
            places.append(Patch(name, left + i * step, top + j * step, side))
    return places


def contrast(picture: UInt8[np.ndarray, "h w 3"], side: int, step: int) -> Float[np.ndarray, "p q"]:
    """Standard deviation of the liveliest channel in squares of `side` pixels, one every `step` pixels."""
    pixels, numbers = side * side, picture.astype(np.int64)
    squares, sums = _sums(numbers**2, side, step), _sums(numbers, side, step)
    deviation = np.sqrt(pixels * squares - sums**2) / pixels  # whole numbers until the root
    return deviation.max(axis=2)


def _sums(values: Int[np.ndarray, "h w 3"], side: int, step: int) -> Int[np.ndarray, "p q 3"]:
    table = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))  # table[j, i]: the sum above and left
    first, last = slice(None, -side, step), slice(side, None, step)
    return table[last, last] - table[first, last] - table[last, first] + table[first, first]


def cut(picture: UInt8[np.ndarray, "h w 3"], patch: Patch) -> UInt8[np.ndarray, "32 32 3"]:
    """The patch, every pixel the mean of a square of the photograph, rounded."""
    square = picture[patch.y : patch.y + patch.side, patch.x : patch.x + patch.side]
    factor = patch.side // SIZE
    sums = square.reshape(SIZE, factor, SIZE, factor, 3).sum(axis=(1, 3), dtype=np.int64)
    return ((sums + factor**2 // 2) // factor**2).astype(np.uint8)


def _read(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _write_patches(path: Path, chosen: dict[str, list[tuple[int, Patch]]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "file", "x", "y", "side"))
        writer.writerows((split, p.file, p.x, p.y, p.side) for split, patches in chosen.items() for _, p in patches)


def _summary(label: int, photograph: Photograph, chosen: dict[str, list[tuple[int, Patch]]]) -> dict[str, Any]:
    return {
        "name": photograph.name,
        "files": list(photograph.files),
        "credit": photograph.credit,
        "licence": photograph.licence,
        "patches": {split: sum(number == label for number, _ in patches) for split, patches in chosen.items()},
    }
