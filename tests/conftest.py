"""What several test files use."""

from __future__ import annotations

import functools
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from pipeline import quantizers
from pipeline.core import registry
from pipeline.plan import config

pytest_plugins = ["made_report"]

settings.register_profile("untimed", deadline=None)  # a busy machine is no defect
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share the tests out among processes so that all end at about the same time.

    Those that share a costly fixture stay in one process: the quick ones of a file, and all of the report. Other slow
    ones go to any, unless they name their group. First come those named groups, which take longest, then the quick ones
    of files that have slow ones, then the slow ones.
    """
    slow = {item for item in items if item.get_closest_marker("slow")}
    named = {item for item in items if item.get_closest_marker("xdist_group")}
    groups = {item: str(item.path.parent if item.path.parent.name == "report" else item.path) for item in items}
    long = {groups[item] for item in slow}
    items.sort(key=lambda item: 0 if item in named else 2 if item in slow else 1 if groups[item] in long else 3)
    for item in items:
        if item not in slow or item.path.parent.name == "report":
            item.add_marker(pytest.mark.xdist_group(groups[item]))


def pytest_collection_finish() -> None:
    """What has been imported stays; looking through it for garbage again and again takes a share of the time."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small tensors are quicker on one thread, and two test processes do not get into each other's way."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def params() -> dict[str, Any]:
    return config.read_params(ROOT / "params.yaml")


@functools.cache
def _defaults() -> dict[str, Any]:
    return config.read_params(ROOT / "params.yaml")["quantizer"]


def make_quantizer(name: str, dim: int = 4, seed: int = 0, **settings: Any) -> quantizers.Quantizer:
    """A small quantizer with the defaults of params.yaml, less what `settings` changes."""
    small = {"num_codes": 8, "code_dim": 3, "capacity": 8, "sizes": [2, 4, 8]}
    given = {**_defaults(), **small, **settings}
    cls = quantizers.find(name)
    fields = registry.settings_of(cls).model_fields
    for key, field in fields.items():
        assert key in given or not field.is_required(), f"{name}: give the setting {key} a default"
    torch.manual_seed(seed)
    return cls(dim, **{key: value for key, value in given.items() if key in fields})
