"""The verbs download and preprocess: from a settings file to prepared arrays, and what they say when they cannot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import made_sources
import numpy as np
import pytest
import tenacity
from filelock import FileLock
from server import Handler, serving

from pipeline import datasets, download, preprocess
from pipeline.core import files, registry
from pipeline.core.errors import UserError
from pipeline.datasets.io import fetch


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with settings and a mirror of a small mnist; the current directory."""
    (tmp_path / "mirror" / "mnist").mkdir(parents=True)
    settings = made_sources.mnist(tmp_path / "mirror" / "mnist", np.random.default_rng(0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VQ_MIRROR", raising=False)
    monkeypatch.setattr(fetch, "WAIT", tenacity.wait_none())
    write_settings("mnist", settings)
    Path("params.yaml").write_text("data:\n  mirror: mirror\n")
    return tmp_path


def write_settings(name: str, settings: dict[str, Any]) -> None:
    path = Path("reports/settings/data") / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_yaml(path, {"dataset": name, "settings": settings, "code": {}})


def tree(folder: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.usefixtures("project")
def test_twice_from_the_mirror_gives_the_same_bytes() -> None:
    outputs = []
    for _ in range(2):
        download.download("mnist")
        preprocess.preprocess("mnist")
        outputs.append((tree("data/raw/mnist"), tree("data/prepared/mnist")))
    assert outputs[0] == outputs[1]
    about = files.read_yaml(Path("data/prepared/mnist/about.yaml"))
    assert about["counts"] == {"train": 24, "val": 6, "test": 7}
    assert (about["dataset"], about["shape"], about["offset"], about["skipped"]) == ("mnist", [28, 28, 1], 0.5, {})
    assert about["settings"]["val"] == 6
    train = np.load("data/prepared/mnist/train.npy")
    assert about["mean"] == pytest.approx([train.mean() / 255], abs=1e-6)
    assert about["sha256"] == {
        path.name: files.digest(path) for path in Path("data/prepared/mnist").iterdir() if path.name != "about.yaml"
    }
    assert not list(Path("data").rglob("*.partial"))


def test_the_environment_overrides_the_mirror_of_the_parameters(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("params.yaml").write_text("data:\n  mirror: nowhere\n")
    assert download.find_mirror() == "nowhere"
    with serving(project / "mirror") as web:
        monkeypatch.setenv("VQ_MIRROR", web.url)
        assert download.find_mirror() == web.url
        download.download("mnist")
        assert len(web.asked) == 4
    assert set(tree("data/raw/mnist")) == {"about.yaml", *(path.name for path in Path("mirror/mnist").iterdir())}


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ("data:\n  mirror: 7\n", "data.mirror must be a folder, an http"),
        ("data: [1]\n", "params.yaml cannot be read"),
        ("data: {mirror: [\n", "params.yaml cannot be read"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_mirror_that_is_no_text_is_refused(params: str, says: str) -> None:
    Path("params.yaml").write_text(params)
    with pytest.raises(UserError, match=says):
        download.download("mnist")


@pytest.mark.parametrize("params", ["", "data: {}\n", "data:\n  mirror: null\n", "data:\n  mirror: ''\n"])
@pytest.mark.usefixtures("project")
def test_no_mirror_is_the_official_source(params: str) -> None:
    Path("params.yaml").write_text(params)
    assert download.find_mirror() is None


@pytest.mark.usefixtures("project")
def test_wrong_names_settings_and_orders_are_one_sentence() -> None:
    for verb in (download.download, preprocess.preprocess):
        with pytest.raises(UserError, match="there is no dataset 'mnits'; there is"):
            verb("mnits")
        with pytest.raises(
            UserError, match=r"there is no reports/settings/data/photos\.yaml; run `python -m pipeline\."
        ):
            verb("photos")
    with pytest.raises(UserError, match=r"there is no data/raw/mnist; run `python -m pipeline\.download mnist` first"):
        preprocess.preprocess("mnist")
    write_settings("mnist", {"val": -1})
    with pytest.raises(UserError, match=r"mnist\.yaml: settings\.val is -1: .*greater than 0"):
        download.download("mnist")
    write_settings("mnist", {"vall": 1})
    with pytest.raises(UserError, match=r"mnist\.yaml: settings\.vall is 1"):
        download.download("mnist")


def test_a_failed_download_leaves_the_old_one_and_what_it_has(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that came are kept beside; the next call asks only for the others."""
    download.download("mnist")
    before = tree("data/raw/mnist")

    def broken(handler: Handler, content: bytes, start: int) -> None:
        if "t10k" in handler.path:
            handler.send_error(503)
        else:
            handler.rest(content, start)

    with serving(project / "mirror", broken) as web:
        monkeypatch.setenv("VQ_MIRROR", web.url)
        with pytest.raises(UserError, match="t10k-images-idx3-ubyte.gz could not be fetched"):
            download.download("mnist")
        assert tree("data/raw/mnist") == before
    with serving(project / "mirror") as web:
        monkeypatch.setenv("VQ_MIRROR", web.url)
        download.download("mnist")
        assert [path.rpartition("/")[2].split("-")[0] for path, _ in web.asked] == ["t10k", "t10k"]
    assert tree("data/raw/mnist") == before


@pytest.mark.usefixtures("project")
def test_what_a_download_of_other_files_left_beside_is_not_used() -> None:
    beside = Path("data/raw/mnist.partial")
    beside.mkdir(parents=True)
    (beside / "train-images-idx3-ubyte.gz").write_bytes(b"of an older mirror")
    files.write_yaml(beside / "about.yaml", {"dataset": "mnist", "files": {"train-images-idx3-ubyte.gz": "md5:0"}})
    download.download("mnist")
    assert Path("data/raw/mnist/train-images-idx3-ubyte.gz").stat().st_size > 100


@pytest.mark.usefixtures("project")
def test_two_downloads_at_once_are_refused() -> None:
    Path("data/raw").mkdir(parents=True)
    with (
        FileLock("data/raw/.mnist.lock"),
        pytest.raises(UserError, match="mnist is being downloaded by another process"),
    ):
        download.download("mnist")
    download.download("mnist")


@pytest.mark.usefixtures("project")
def test_a_failed_preparation_leaves_the_old_one() -> None:
    download.download("mnist")
    preprocess.preprocess("mnist")
    before = tree("data/prepared/mnist")
    path = Path("data/raw/mnist/t10k-labels-idx1-ubyte.gz")
    os.truncate(path, 20)
    with pytest.raises(UserError, match=r"mnist: .*t10k-labels-idx1-ubyte\.gz is not a whole gzip file"):
        preprocess.preprocess("mnist")
    assert tree("data/prepared/mnist") == before
    assert [path.name for path in Path("data/prepared").iterdir()] == ["mnist"]


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
    assert json.loads(json.dumps(cls().identity())) == cls().identity()


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
