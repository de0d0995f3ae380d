"""The contract of a data set, checked for every file of pipeline/datasets: a failure says what to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import made_sources
import numpy as np
import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from pipeline import datasets
from pipeline.core import registry
from pipeline.core.errors import UserError
from pipeline.datasets import Dataset, Source
from pipeline.datasets.io.fetch import File
from pipeline.preprocess import describe


def made(name: str, root: Path) -> tuple[Dataset, Path]:
    """A data set of small made files, downloaded from a folder as mirror; and where its raw files are."""
    maker = getattr(made_sources, name, None)
    assert maker, (
        f"there is no made source for the data set {name}: add `def {name}(folder, rng)` to tests/made_sources.py; it "
        "fills `folder` with small files named as the official ones and returns the settings that fit them."
    )
    mirror, raw = root / "mirror" / name, root / "raw"
    mirror.mkdir(parents=True)
    raw.mkdir()
    dataset = datasets.find(name)(**maker(mirror, np.random.default_rng(0)))
    dataset.download(raw, str(root / "mirror"))
    return dataset, raw


def check_contract(name: str, dataset: Dataset, raw: Path, root: Path) -> None:
    """Prepare twice and look at everything that a data set promises.

    Raises:
        AssertionError: a promise that it breaks, and what to do.
    """
    first, second = (prepare(name, dataset, raw, root / run) for run in ("first", "second"))
    different = [file for file in first if first[file] != second.get(file)] + [f for f in second if f not in first]
    assert not different, (
        f"{name}: preparing the same files twice gave different bytes in {', '.join(different)}: let prepare() draw "
        "from np.random.RandomState(a seed of the settings), sort names, and write no date and no path."
    )
    source = dataset.source
    assert all((source.title, source.licence)), f"{name}: fill in `source`: title and licence may not be empty."
    assert 0 <= dataset.offset < 1, f"{name}: offset is {dataset.offset}, but pixels are in [0, 1]: give one below 1."


def prepare(name: str, dataset: Dataset, raw: Path, folder: Path) -> dict[str, Any]:
    """The files that prepare() leaves and what about.yaml says, after a look at them."""
    folder.mkdir()
    special = dataset.prepare(raw, folder)
    assert isinstance(special, dict), (
        f"{name}: prepare() returned {special!r}: return a dictionary for about.yaml, or {{}}."
    )
    for split in datasets.SPLITS:
        path, labels = folder / f"{split}.npy", folder / f"{split}_labels.npy"
        assert path.is_file(), (
            f"{name}: prepare() left no {path.name}: write it with np.save(folder / '{path.name}', images), "
            "images as uint8 of shape (N, H, W, C)."
        )
        array = np.load(path, mmap_mode="r")
        assert (array.dtype, array.ndim, len(array) > 0) == (np.uint8, 4, True), (
            f"{name}: {path.name} is {array.dtype} of shape {array.shape}: make it uint8 of shape (N, H, W, C), 0 … "
            "255, with at least one image."
        )
        assert dataset.image_shape in (None, array.shape[1:3]), (
            f"{name}: {path.name} holds images of {array.shape[1:3]} pixels, but image_shape is {dataset.image_shape}: "
            "set self.image_shape to (height, width) by the settings, or leave it None."
        )
        if labels.exists():
            given = np.load(labels)
            assert (given.dtype, given.shape) == (np.int64, array.shape[:1]), (
                f"{name}: {labels.name} is {given.dtype} of shape {given.shape}: make it int64 of shape "
                f"{array.shape[:1]}."
            )
    inside = [path.name for path in folder.iterdir() if path.is_dir()]
    assert not inside, (
        f"{name}: prepare() left the folder {', '.join(inside)}: remove what it unpacked when it is done."
    )
    about = describe(name, dataset, folder) | special
    json.dumps(about)  # plain values
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {"about.yaml": about}


def check_declaration(name: str, cls: type[Dataset]) -> None:
    """What a data set says of itself before anything is downloaded."""
    defaults = registry.settings_of(cls).model_validate({})  # every setting has a default
    dataset = cls(**{key: getattr(defaults, key) for key in type(defaults).model_fields})
    for file in dataset.files:
        kinds = [kind for kind in ("urls", "drive", "kaggle") if getattr(file, kind)]
        assert len(kinds) == 1, (
            f"{name}: the file {file.name} comes from {' and '.join(kinds) or 'nowhere'}: give it one of urls, drive "
            "and kaggle."
        )
    identity = dataset.identity()
    assert json.loads(json.dumps(identity)) == identity, f"{name}: identity() must hold plain values, found {identity}."


@pytest.mark.parametrize("name", datasets.names())
def test_every_data_set_keeps_the_contract(name: str, tmp_path: Path) -> None:
    check_declaration(name, datasets.find(name))
    dataset, raw = made(name, tmp_path)
    check_contract(name, dataset, raw, tmp_path)


# the contract speaks


class Stripes(Dataset):
    """A data set without fault, of which the ones below break one promise each."""

    source = Source("Stripes", "", "CC0", "")
    image_shape = (4, 6)

    def __init__(self, *, val: int = 2) -> None:
        super().__init__()
        self.arrays = {split: np.full((val, 4, 6, 1), 9, np.uint8) for split in datasets.SPLITS}

    def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
        for split, array in self.arrays.items():
            np.save(folder / f"{split}.npy", array)
            np.save(folder / f"{split}_labels.npy", np.zeros(len(array), np.int64))
        return {}


def without_val(dataset: Stripes, folder: Path) -> None:
    (folder / "val.npy").unlink()


def of_floats(dataset: Stripes, folder: Path) -> None:
    np.save(folder / "test.npy", dataset.arrays["test"] / 255)


def of_another_shape(dataset: Stripes, folder: Path) -> None:
    dataset.image_shape = (6, 4)


def with_short_labels(dataset: Stripes, folder: Path) -> None:
    np.save(folder / "train_labels.npy", np.zeros(1, np.int64))


def with_chance(dataset: Stripes, folder: Path) -> None:
    np.save(folder / "train.npy", np.random.default_rng().integers(0, 255, (2, 4, 6, 1), np.uint8))


def with_rubbish(dataset: Stripes, folder: Path) -> None:
    (folder / "unpacked").mkdir()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (without_val, r"left no val\.npy: write it with np\.save"),
        (of_floats, r"test\.npy is float64 of shape \(2, 4, 6, 1\): make it uint8"),
        (of_another_shape, r"images of \(4, 6\) pixels, but image_shape is \(6, 4\): set self\.image_shape"),
        (with_short_labels, r"train_labels\.npy is int64 of shape \(1,\): make it int64 of shape \(2,\)"),
        (with_chance, r"different bytes in train\.npy.*: let prepare\(\) draw from np\.random\.RandomState"),
        (with_rubbish, "left the folder unpacked: remove what it unpacked"),
    ],
)
def test_the_contract_says_what_a_data_set_failed_and_what_to_do(fault: Any, says: str, tmp_path: Path) -> None:
    class Broken(Stripes):
        def prepare(self, raw: Path, folder: Path) -> dict[str, Any]:
            about = super().prepare(raw, folder)
            fault(self, folder)
            return about

    check_contract("stripes", Stripes(), tmp_path, tmp_path)
    shutil.rmtree(tmp_path / "first")
    shutil.rmtree(tmp_path / "second")
    with pytest.raises(AssertionError, match=f"^stripes: .*{says}"):
        check_contract("stripes", Broken(), tmp_path, tmp_path)


def test_the_contract_speaks_of_a_missing_made_source_and_of_files_from_nowhere(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"add `def stripes\(folder, rng\)` to tests/made_sources\.py"):
        made("stripes", tmp_path)

    class FromNowhere(Stripes):
        files = (File("stripes.zip"),)

    with pytest.raises(AssertionError, match=r"stripes\.zip comes from nowhere: give it one of urls, drive and kaggle"):
        check_declaration("stripes", FromNowhere)


NEW = '''
"""Stripes: a data set that somebody adds."""

import numpy as np

from pipeline.datasets import Dataset, Source
from pipeline.datasets.io.fetch import File


class Stripes(Dataset):
    source = Source("Stripes", "https://example.org", "CC0", "nobody")
    files = (File("stripes.npy", "md5:{md5}", 1000, ("https://example.org/stripes.npy",)),)
    image_shape = (4, 6)

    def __init__(self, *, val: int = 2) -> None:
        super().__init__()
        self.val = val

    def prepare(self, raw, folder):
        images = np.load(raw / "stripes.npy")
        for split, some in (("train", images[2 * self.val:]), ("val", images[:self.val]), ("test", images[-self.val:])):
            np.save(folder / f"{{split}}.npy", some)
        return {{"split": "by order"}}
'''

STAGES = """
import runpy, sys
from pipeline import datasets

for name in datasets.names():
    datasets.find(name)
assert "torchvision" not in sys.modules, "importing it takes a second, which `plan` and `make check` would pay"
for stage, *arguments in (("plan",), ("download", "stripes"), ("preprocess", "stripes")):
    sys.argv = [stage, *arguments]
    runpy.run_module(f"pipeline.{stage}", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_new_data_set_is_one_file(tmp_path: Path) -> None:
    """Its file in a copy of the project, its name in grid.datasets: it is planned, downloaded and prepared."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=ignored)
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["grid"]["datasets"] = ["stripes"]
    params["data"]["mirror"] = "mirror"
    yaml.dump(params, tmp_path / "params.yaml")
    (tmp_path / "mirror" / "stripes").mkdir(parents=True)
    images = np.arange(9 * 4 * 6, dtype=np.uint8).reshape(9, 4, 6, 1)
    np.save(tmp_path / "mirror" / "stripes" / "stripes.npy", images)
    md5 = made_sources.digest(tmp_path / "mirror" / "stripes" / "stripes.npy", "md5")
    (tmp_path / "pipeline" / "datasets" / "stripes.py").write_text(NEW.format(md5=md5))
    environment = {key: value for key, value in os.environ.items() if key != "VQ_MIRROR"}
    done = subprocess.run(
        [sys.executable, "-c", STAGES],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    prepared = tmp_path / "data" / "prepared" / "stripes"
    assert np.array_equal(np.load(prepared / "train.npy"), images[4:])
    assert np.array_equal(np.load(prepared / "val.npy"), images[:2])
    about = YAML(typ="safe").load(prepared / "about.yaml")
    assert (about["title"], about["shape"], about["counts"]) == (
        "Stripes",
        [4, 6, 1],
        {"train": 5, "val": 2, "test": 2},
    )
    assert re.search(r"^stripes: 5 train, 2 val, 2 test in ", done.stderr, re.MULTILINE)


def test_a_file_that_is_no_data_set_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty_handed.py").write_text("")
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path)])
    with pytest.raises(UserError, match=r"empty_handed\.py must hold exactly one Dataset, but it holds 0"):
        datasets.find("empty_handed")
