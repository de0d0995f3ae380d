"""Two reports compared: from a project's folder, from a kept report, from a git revision."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.report import compare
from pipeline.report.summary import Summary, summarize


def keep(paths: Paths, folder: Path) -> None:
    """Copy what a comparison reads."""
    shutil.copytree(paths.settings, folder / "settings")
    for path in (paths.decisions, paths.all_measures):
        shutil.copy(path, folder)


@pytest.fixture
def later(made: Paths, tmp_path: Path) -> Paths:
    """The made-up report with another learning rate, other code, a verdict that flipped and an error that doubled."""
    paths = Paths(tmp_path / "later")
    keep(made, paths.reports)
    stated = yaml.safe_load(paths.row_settings("photos-vq").read_text(encoding="utf-8"))
    stated["train"]["lr"], stated["code"] = 0.01, {"pipeline/train/loop.py": "11ee"}
    files.write_yaml(paths.row_settings("photos-vq"), stated)
    decisions = files.read_json(paths.decisions)
    first = next(one for one in decisions if (one["claim"], one["dataset"]) == ("lattice-beats-vq", "photos"))
    assert first["verdict"] == "holds"
    first |= {"verdict": "open", "reason": "spread"}
    files.write_json(paths.decisions, decisions)
    table = pd.read_csv(paths.all_measures)
    table.loc[
        (table["dataset"] == "photos") & (table["variant"] == "vq") & (table["measure"] == "test_mse"), "value"
    ] *= 2
    table.to_csv(paths.all_measures, index=False)
    return paths


FOUND = """Code that numbers rest on differs: `pipeline/train/loop.py`.
| `train.lr` | 0.001 | 0.01 | photos-vq |
1 of 62 verdicts that both have differ.
| `lattice-beats-vq` | photos | holds | undecided (spread) |
0 differ and have one seed, which shows no spread; 1 differ by more than their spread
| photos-vq | `test_mse` | 0.0134 ± 0.0006 | 0.0269 ± 0.0013 | +100.0 % |"""


def compared(paths: Paths) -> str:
    """The comparison without the spaces that make its tables line up."""
    return re.sub(r" +", " ", paths.compared.read_text(encoding="utf-8"))


def test_what_changed_since_the_report_of_a_folder(made: Paths, later: Paths) -> None:
    compare.write(str(made.root), later)
    for line in FOUND.splitlines():
        assert line in compared(later)


def test_a_kept_report_and_a_revision_are_read_alike(made: Paths, later: Paths, tmp_path: Path) -> None:
    compare.write(str(made.root), later)
    expected = compared(later).split("\n", 1)[1]
    kept = tmp_path / "kept"
    keep(made, kept)
    compare.write(str(kept), later)
    assert compared(later).split("\n", 1)[1] == expected

    project = tmp_path / "project"
    keep(made, project / "reports")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(project)]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    shutil.rmtree(project / "reports")
    shutil.copytree(later.reports, project / "reports")
    compare.write("HEAD", Paths(project))
    assert compared(Paths(project)).split("\n", 1)[1] == expected
    for wrong in ("no-such-revision", "--help", "HEAD~1"):
        with pytest.raises(UserError, match="neither a folder nor a git revision"):
            compare.write(wrong, Paths(project))


def test_a_report_against_itself_has_no_differences(made: Paths, tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    keep(made, paths.reports)
    compare.write(str(made.root), paths)
    assert "No setting differs." in compared(paths)
    assert "0 of 62 verdicts that both have differ." in compared(paths)
    assert "0 differ by more than their spread" in compared(paths)


def test_older_kept_reports_have_summaries_and_no_decisions(made: Paths, later: Paths, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(made.settings, old / "settings")
    content = {"photos": {"vq": {"test_mse": {"mean": 0.01, "std": 0.0001, "n": 3}}}}
    (old / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    compare.write(str(old), later)
    assert "One of the two keeps no decisions.json." in compared(later)
    assert "| photos-vq | `test_mse` | 0.0100 ± 0.0001 | 0.0269 ± 0.0013 |" in compared(later)


@pytest.mark.parametrize(("holds", "sentence"), [((), "settings/ is missing"), (("settings",), "neither all_measures")])
def test_a_folder_without_a_report_is_refused(
    made: Paths, tmp_path: Path, holds: tuple[str, ...], sentence: str
) -> None:
    for name in holds:
        shutil.copytree(made.reports / name, tmp_path / name)
    with pytest.raises(UserError, match=sentence):
        compare.write(str(tmp_path), made)


NUMBERS = st.lists(st.floats(-100, 100), min_size=2, max_size=5).filter(lambda values: np.std(values) > 1e-3)


@given(NUMBERS, NUMBERS)
def test_beyond_their_spread_is_what_welchs_test_says(old: list[float], new: list[float]) -> None:
    before, after = summarize(old), summarize(new)
    assert before
    assert after
    assert compare.beyond(before, after) == compare.beyond(after, before)
    assert compare.beyond(before, after) == (stats.ttest_ind(old, new, equal_var=False).pvalue <= 0.05)


def test_numbers_without_spread_differ_if_they_are_not_the_same() -> None:
    assert compare.beyond(Summary(64, 0.0, 3), Summary(65, 0.0, 3))
    assert not compare.beyond(Summary(64, 0.0, 3), Summary(64, 0.0, 2))
    assert not compare.beyond(Summary(64, None, 1), Summary(65, None, 1))
