"""Stage: bring a data set's files to data/raw/<dataset>/. `python -m pipeline.download <dataset>`

reports/settings/data/<dataset>.yaml, the mirror → data/raw/<dataset>.partial → data/raw/<dataset>

Its stage runs again when what it brings changes: reports/settings/download/<dataset>.yaml.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import yaml

from pipeline import datasets
from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", help="a file of pipeline/datasets/")
    download(parser.parse_args().dataset)


def download(name: str, paths: Paths = Paths()) -> None:
    """Bring the files of the data set `name`; those that an interrupted download of the same files left are kept.

    Raises:
        UserError: no such data set or settings, the mirror is not there, or the bytes are wrong or cannot be had.
    """
    dataset, _ = datasets.from_settings(name, paths)
    mirror, raw = find_mirror(paths), paths.raw(name)
    with files.alone(raw.with_name(f".{name}.lock"), f"{name} is being downloaded"):
        folder = _begin(raw.with_name(f"{name}.partial"), {"dataset": name, **dataset.identity()})
        dataset.download(folder, mirror)
        files.remove(raw)
        os.replace(folder, raw)
    total = sum(path.stat().st_size for path in raw.rglob("*") if path.is_file())
    cli.log.info("%s: %.1f MB in %s", name, total / 1e6, raw)


def _begin(folder: Path, about: dict[str, Any]) -> Path:
    """The folder to download into: the one that an interrupted download left, if it was for the same files."""
    note = folder / "about.yaml"
    if not note.is_file() or files.read_yaml(note) != about:
        files.remove(folder)
        folder.mkdir()
        files.write_yaml(note, about)
    return folder


def find_mirror(paths: Paths = Paths()) -> str | None:
    """Where to fetch instead of the official source: VQ_MIRROR or, if that is unset, data.mirror in params.yaml.

    Raises:
        UserError: params.yaml cannot be read.
    """
    if from_environment := os.environ.get("VQ_MIRROR"):
        return from_environment
    if not paths.params.is_file():
        return None
    try:
        data = (files.read_yaml(paths.params) or {}).get("data") or {}
        return str(data.get("mirror") or "") or None
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(f"{paths.params} cannot be read: expected a section `data` with a key `mirror`.") from error


if __name__ == "__main__":
    cli.run(main)
