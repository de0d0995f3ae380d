"""Where files lie; and no name that is not one becomes a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths, read_settings


@pytest.mark.parametrize(
    "row",
    ["photos", "photos-", "-vq", "photos-x/../../../evil", "../a-b", "a-b-c", "photos-a b", "photos-$(id)", "a-b\n"],
)
def test_what_is_no_name_of_a_row_is_refused_before_a_path_is_made(row: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no row; write <dataset>-<variant>, each of letters, digits and _"):
        read_settings(row, Paths(tmp_path))


def test_settings_are_read_as_the_plan_wrote_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"photos-vq.yaml is not there; name a row of the grid"):
        read_settings("photos-vq", Paths(tmp_path))
    files.write_yaml(Paths(tmp_path).row_settings("photos-vq"), {"dataset": "photos"})
    assert read_settings("photos-vq", Paths(tmp_path)) == {"dataset": "photos"}
