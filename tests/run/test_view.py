"""The time left, as the view tells it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.run.view import View


def stage(kind: str, row: str = "photos-vq") -> Any:
    return SimpleNamespace(name=f"{kind}@{row}")


@pytest.mark.parametrize(
    ("work", "running", "expected"),
    [
        ({}, [("train", 3.0)], 0),  # nothing is known
        ({"plan": [9.0]}, [("train", 3.0)], 0),
        ({"train": [10.0]}, [("train", 4.0)], (10 + 2 * 10 + 6) / 2),  # an evaluation as long as a training
        ({"train": [10.0], "evaluate": [2.0]}, [("train", 4.0)], (10 + 2 * 2 + 6) / 2),
        ({"train": [10.0], "evaluate": [2.0]}, [("train", 30.0)], (20 + 2 * 2) / 2),  # the mean is 20 by now
    ],
)
def test_time_left_of_a_training_and_two_evaluations_to_come(
    work: dict[str, list[float]], running: list[tuple[str, float]], expected: float
) -> None:
    stages = SimpleNamespace(rows=[], waiting=[stage("evaluate"), stage("evaluate_sweep")], ready=[stage("train")])
    jobs: Any = SimpleNamespace(
        stages=stages,
        work=work,
        running=[SimpleNamespace(stage=stage(kind), work=spent) for kind, spent in running],
        places=[None, None],
    )
    assert View(jobs).seconds_left() == pytest.approx(expected)
