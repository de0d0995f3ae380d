"""The data set folder: a person's own pictures, however they are named and packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_sources
import numpy as np
import pytest
from made_sources import encoded, picture

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.datasets.folder import Folder
from pipeline.download import download
from pipeline.preprocess import preprocess

RNG = np.random.default_rng(3)


def prepared(root: Path, path: Path, **settings: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Both stages for the pictures at `path`: the files that are left, and what about.yaml says."""
    paths = Paths(root)
    settings = {"path": str(path), "size": 8, "val": 0.3, "test": 0.3} | settings
    files.write_yaml(paths.dataset_settings("folder"), {"dataset": "folder", "settings": settings})
    download("folder", paths)
    preprocess("folder", paths)
    folder = paths.prepared("folder")
    about = files.read_yaml(folder / "about.yaml")
    return {file.name: file.read_bytes() for file in folder.glob("*.npy")}, about


def contents_of(names: list[str]) -> dict[str, bytes]:
    return {name: encoded(picture(RNG, 20, 16), "PNG") for name in names}


def write(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_split_folders_and_archives_give_the_same_bytes(tmp_path: Path) -> None:
    counts = {"learn": 20, "try": 5, "other": 3}
    contents = contents_of([f"{split}/{number}.png" for split, count in counts.items() for number in range(count)])
    sources = [write(tmp_path / "pictures", contents)]
    for name in ("p.zip", "P.ZIP"):
        made_sources.zipped(tmp_path / name, contents)
        sources.append(tmp_path / name)
    made_sources.tarred(tmp_path / "p.tar.gz", contents)
    outputs = []
    for number, path in enumerate([*sources, tmp_path / "p.tar.gz"]):
        arrays, about = prepared(
            tmp_path / f"project{number}", path, split_folders={"train": "learn", "test": "try/"}, val=0.3
        )
        assert about["in_no_split"] == 3
        assert about["counts"]["test"] == 5
        assert about["counts"]["train"] + about["counts"]["val"] == 20
        outputs.append(arrays)
    assert all(arrays == outputs[0] for arrays in outputs)


def test_pictures_that_changed_since_they_were_listed_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "pictures", contents_of([f"{number}.png" for number in range(20)]))
    prepared(tmp_path, path)
    write(path, contents_of(["new.png"]))
    with pytest.raises(UserError, match=r"^folder: .*pictures has changed since it was listed; run `dvc repro -f"):
        preprocess("folder", Paths(tmp_path))


NAMES = [
    "caf\udce9.png",
    "a\\b.png",
    "new\nline.png",
    "日本.png",
    "c:d.png",
    "$(x).png",
    *(f"{n}.png" for n in range(14)),
]
"""Among them a name of bytes that are no UTF-8."""


@pytest.mark.parametrize("packed", [False, True])
def test_whatever_bytes_a_name_has(packed: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    contents = contents_of(NAMES)
    contents["caf\udce9.png"] = b"bad"
    if packed:
        path = tmp_path / "p.tar"
        made_sources.tarred(path, contents)
    else:
        path = write(tmp_path / "pictures", contents)
    with caplog.at_level("INFO", logger="pipeline"):
        _, about = prepared(tmp_path, path, on_bad_image="skip")
    assert "; 1 left out, for the reasons in about.yaml" in caplog.text
    assert about["skipped"] == {"caf\udce9.png": "is not an image"}
    assert sum(about["counts"].values()) == len(NAMES) - 1


def test_a_split_without_pictures_says_what_to_set(tmp_path: Path) -> None:
    path = write(tmp_path / "pictures", contents_of(["1.png", "2.png"]))
    with pytest.raises(
        UserError,
        match=r"^folder: none of the 2 pictures in .*pictures is for (train|val|test); expected more pictures, .*, "
        r"or a folder for it in datasets\.folder\.data\.split_folders\.$",
    ):
        prepared(tmp_path, path)
    assert not Paths(tmp_path).prepared("folder").exists()


def test_what_a_folder_needs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"datasets\.folder\.data\.path must name"):
        Folder().download(tmp_path, None)
    with pytest.raises(UserError, match=r"there is no .*nowhere; datasets\.folder\.data\.path"):
        Folder(path=str(tmp_path / "nowhere")).download(tmp_path, None)
    with pytest.raises(UserError, match=r"holds no pictures; expected names that end in \.jpg"):
        Folder(path=str(tmp_path)).download(tmp_path, None)
    with pytest.raises(UserError, match=r"split_folders names val, expected train"):
        Folder(path="x", split_folders={"val": "v"})
    (tmp_path / "note.txt").write_text("no archive")
    with pytest.raises(UserError, match=r"^folder: .*note\.txt cannot be unpacked as a whole tar archive"):
        Folder(path=str(tmp_path / "note.txt")).download(tmp_path, None)
