"""The stages download and preprocess: from a settings file to prepared arrays, and what they say when they cannot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_sources
import numpy as np
import pytest
from filelock import FileLock
from server import Handler, serving

from pipeline import datasets
from pipeline.core import files, registry
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.download import download, find_mirror
from pipeline.preprocess import preprocess


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A project with settings and a mirror of a small mnist, elsewhere than in the working directory."""
    mirror = tmp_path / "mirror" / "mnist"
    mirror.mkdir(parents=True)
    monkeypatch.delenv("VQ_MIRROR", raising=False)
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))  # between two attempts
    paths = Paths(tmp_path)
    write_settings(paths, "mnist", made_sources.mnist(mirror, np.random.default_rng(0)))
    paths.params.write_text(f"data:\n  mirror: {tmp_path / 'mirror'}\n")
    return paths


def write_settings(paths: Paths, name: str, settings: dict[str, Any]) -> None:
    files.write_yaml(paths.dataset_settings(name), {"dataset": name, "settings": settings, "code": {}})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_twice_from_the_mirror_gives_the_same_bytes(project: Paths) -> None:
    outputs = []
    for _ in range(2):
        download("mnist", project)
        preprocess("mnist", project)
        outputs.append((tree(project.raw("mnist")), tree(project.prepared("mnist"))))
    assert outputs[0] == outputs[1]
    prepared = project.prepared("mnist")
    about = files.read_yaml(prepared / "about.yaml")
    assert about["counts"] == {"train": 24, "val": 6, "test": 7}
    assert (about["dataset"], about["shape"], about["offset"], about["skipped"]) == ("mnist", [28, 28, 1], 0.5, {})
    assert about["settings"]["val"] == 6
    assert about["mean"] == pytest.approx([np.load(prepared / "train.npy").mean() / 255], abs=1e-6)
    assert about["sha256"] == {
        path.name: files.digest(path) for path in prepared.iterdir() if path.name != "about.yaml"
    }
    assert not list(project.root.rglob("*.partial"))


def test_the_environment_overrides_the_mirror_of_the_parameters(
    project: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = project.root / "mirror"
    project.params.write_text("data:\n  mirror: nowhere\n")
    assert find_mirror(project) == "nowhere"
    with serving(mirror) as web:
        monkeypatch.setenv("VQ_MIRROR", web.url)
        assert find_mirror(project) == web.url
        download("mnist", project)
        assert len(web.asked) == 4
    names = {path.name for path in (mirror / "mnist").iterdir()}
    assert set(tree(project.raw("mnist"))) == {"about.yaml", *names}


@pytest.mark.parametrize("params", [b"data: [1]\n", b"data: {mirror: [\n", "data: {mirror: é}\n".encode("latin-1")])
def test_parameters_that_cannot_be_read_are_named(params: bytes, project: Paths) -> None:
    project.params.write_bytes(params)
    with pytest.raises(UserError, match=r"params\.yaml cannot be read: expected a section `data`"):
        download("mnist", project)


@pytest.mark.parametrize("params", [None, "", "data: {}\n", "data:\n  mirror: null\n", "data:\n  mirror: ''\n"])
def test_no_mirror_is_the_official_source(params: str | None, project: Paths) -> None:
    project.params.unlink() if params is None else project.params.write_text(params)
    assert find_mirror(project) is None


def test_wrong_names_settings_and_orders_are_one_sentence(project: Paths) -> None:
    for stage in (download, preprocess):
        with pytest.raises(UserError, match="there is no dataset 'mnits'; there is"):
            stage("mnits", project)
        with pytest.raises(
            UserError, match=r"there is no .*reports/settings/data/photos\.yaml; run `python -m pipeline\."
        ):
            stage("photos", project)
    with pytest.raises(
        UserError, match=r"there is no .*data/raw/mnist; run `python -m pipeline\.download mnist` first"
    ):
        preprocess("mnist", project)
    for settings, says in (
        ({"val": -1}, r"settings\.val is -1, but should be greater than 0\.$"),
        ({"vall": 1}, r"settings\.vall is unknown \(is 'val' meant\?\); mnist takes checksums, val, split_seed\.$"),
        ({"checksums": {"a.gz": "abc"}}, r"settings\.checksums\.a\.gz is 'abc', but should be <kind>:<hex digits>"),
    ):
        write_settings(project, "mnist", settings)
        with pytest.raises(UserError, match=rf"mnist\.yaml: {says}"):
            download("mnist", project)


def test_a_failed_download_leaves_the_old_one_and_what_it_has(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that came are kept beside; the next call asks only for the others."""
    download("mnist", project)
    before = tree(project.raw("mnist"))

    def broken(handler: Handler, content: bytes) -> None:
        if "t10k" in handler.path:
            handler.send_error(503)
        else:
            handler.whole(content)

    with serving(project.root / "mirror", broken) as web:
        monkeypatch.setenv("VQ_MIRROR", web.url)
        with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz could not be fetched"):
            download("mnist", project)
        assert tree(project.raw("mnist")) == before
    with serving(project.root / "mirror") as web:
        monkeypatch.setenv("VQ_MIRROR", web.url)
        download("mnist", project)
        assert [path.rpartition("/")[2].split("-")[0] for path in web.asked] == ["t10k", "t10k"]
    assert tree(project.raw("mnist")) == before


def test_what_a_download_of_other_files_left_beside_is_not_used(project: Paths) -> None:
    beside = project.raw("mnist.partial")
    beside.mkdir(parents=True)
    (beside / "of-an-older-mirror.gz").write_bytes(b"")
    files.write_yaml(beside / "about.yaml", {"dataset": "mnist", "files": {"of-an-older-mirror.gz": "md5:0"}})
    download("mnist", project)
    assert not (project.raw("mnist") / "of-an-older-mirror.gz").exists()


def test_two_downloads_at_once_are_refused(project: Paths) -> None:
    project.raw("mnist").parent.mkdir(parents=True)
    with (
        FileLock(project.raw(".mnist.lock")),
        pytest.raises(UserError, match="mnist is being downloaded by another process"),
    ):
        download("mnist", project)
    download("mnist", project)


def test_a_failed_preparation_leaves_the_old_one(project: Paths) -> None:
    download("mnist", project)
    preprocess("mnist", project)
    before = tree(project.prepared("mnist"))
    os.truncate(project.raw("mnist") / "t10k-labels-idx1-ubyte.gz", 20)
    with pytest.raises(UserError, match=r"^mnist: .*t10k-labels-idx1-ubyte\.gz cannot be unpacked"):
        preprocess("mnist", project)
    assert tree(project.prepared("mnist")) == before
    assert [path.name for path in project.prepared("mnist").parent.iterdir()] == ["mnist"]


@pytest.mark.parametrize("name", datasets.names())
def test_only_what_is_brought_makes_a_download_stale(name: str) -> None:
    """A split's seed, a share, a size in pixels changes what is prepared, not what is downloaded."""
    cls = datasets.find(name)
    others = {"val": 3, "split_seed": 7, "on_bad_image": "skip", "crop": 100, "seed": 5, "train": 8}
    if name in ("folder", "diabetic_retinopathy"):
        others["val"] = 0.3
    taken = {key: value for key, value in others.items() if key in registry.settings_of(cls).model_fields}
    assert taken
    assert cls(**taken).identity() == cls().identity()


def test_other_files_make_a_download_stale() -> None:
    kinds = [
        {},
        {"size": 128},
        {"layout": "tree"},
        {"layout": "tree", "size": 128},
        {"checksums": {"images1024x1024.zip": "md5:1"}},
    ]
    identities = [json.dumps(datasets.find("ffhq")(**kind).identity()) for kind in kinds]
    assert len(set(identities)) == len(kinds)
    assert datasets.find("ffhq")(size=256).identity() == datasets.find("ffhq")().identity()
    assert datasets.find("folder")(path="a").identity() != datasets.find("folder")(path="b").identity()
