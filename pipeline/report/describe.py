"""Rows, settings and machines in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.report.blocks import Cell
from pipeline.report.results import Row

PARTS = ("model", "train", "quantizer")
"""Of the settings, those that decide what is trained."""


def link(row: Row) -> Cell:
    """The row's title, which leads to its settings."""
    return Cell(row.title, link=f"settings/{row.name}.yaml")


def joined(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def few(names: Sequence[str], most: int = 3) -> list[str]:
    """The first names, and how many more there are."""
    return [*names[:most], f"{len(names) - most} more"] if len(names) > most + 1 else list(names)


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key → value; without the quantizer's name, which the table of the rows shows."""
    pairs = {f"{part}.{key}": value for part in PARTS for key, value in settings[part].items()}
    return {key: value for key, value in pairs.items() if key != "quantizer.name"}


def listed(settings: Mapping[str, Any]) -> str:
    """Settings in one line of markdown, values as in YAML."""
    return ", ".join(f"`{key} = {json.dumps(value, ensure_ascii=False)}`" for key, value in settings.items())


def differences(base: Row, row: Row) -> dict[str, Any]:
    """Dotted key → value, for the settings of a row that `base` has otherwise."""
    before = flat(base.settings)
    return {key: value for key, value in flat(row.settings).items() if before.get(key) != value}


def run_command(dataset: str, variants: Sequence[str] = ()) -> str:
    """How to run a data set that was not run."""
    chosen = f" -S 'grid.variants=[{','.join(variants)}]'" if variants else ""
    return f"`dvc exp run -S 'grid.datasets=[{dataset}]'{chosen}`"


def commit(environment: Mapping[str, Any]) -> str:
    """The code's commit in a few characters."""
    if environment["commit"] is None:
        return "not under git"
    return str(environment["commit"])[:10] + (" with uncommitted changes" if environment["dirty"] else ", clean")


def moment(environment: Mapping[str, Any]) -> str:
    """When something was measured, to the minute."""
    return datetime.fromisoformat(environment["date"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def hardware(environment: Mapping[str, Any]) -> str:
    threads = environment["threads"]
    return f"{environment['device']}, {threads} thread{'s' if threads > 1 else ''}"
