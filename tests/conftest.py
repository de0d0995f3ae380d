"""What several test files use."""

from __future__ import annotations

import functools
from collections import Counter
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one process the tests that share a costly fixture: those of a file, and all of the report's.

    The group with the most slow tests comes first, so that no process is left with it at the end.
    """
    groups = {item: str(item.path.parent if item.path.parent.name == "report" else item.path) for item in items}
    slow = Counter(group for item, group in groups.items() if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[groups[item]])
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))


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
