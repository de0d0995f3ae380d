"""The papers' facts: complete in themselves, and written nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import papers

PAPER = papers.read()["ll_vq_vae"]


def leaves(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        for value in content.values():
            yield from leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from leaves(value)
    else:
        yield content


@pytest.mark.parametrize("dataset", sorted(PAPER["results"]))
def test_every_published_row_belongs_to_a_model_and_has_sound_numbers(dataset: str) -> None:
    table = PAPER["results"][dataset]
    assert table["duration_unit"] in {"s", "min"}
    assert table["source"].startswith("Table")
    for variant, numbers in table["rows"].items():
        assert variant in PAPER["models"]
        assert set(numbers) <= {"mse", "codes", "duration", "parameters"}
        assert 0 < numbers["mse"] < 1


def test_recounts_are_of_published_rows_and_no_more_than_the_codebook() -> None:
    for dataset in PAPER["results"]:
        for variant, count in PAPER["recount"][dataset].items():
            assert variant in PAPER["results"][dataset]["rows"]
            assert count <= (PAPER["results"][dataset]["rows"][variant]["codes"])
            assert variant == "lattice" or count <= 512


def test_the_codebooks_of_the_second_paper_have_one_capacity() -> None:
    balance = papers.read()["balance"]
    for variant in balance["models"]:
        if variant.startswith("kd_"):
            codes, dim = (int(number) for number in variant.removeprefix("kd_").split("x"))
            assert codes * dim == balance["capacity"]
            assert balance["models"][variant] == f"[{codes}, {dim}]"


def test_published_numbers_stand_in_no_other_file() -> None:
    known = {
        value
        for value in leaves(PAPER["results"])
        if isinstance(value, int) and value > 1000 and value not in {32768, 65536}
    }
    written = {form for value in known for form in (str(value), f"{value:,}")}
    home = papers.FOLDER.parent
    for path in [*home.rglob("*.py"), *(home.parent / "tests").glob("*.py")]:
        content = Path(path).read_text(encoding="utf-8")
        assert not [form for form in written if form in content], path
