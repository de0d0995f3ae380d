"""The papers' files: what is wrong in one gets one sentence, before anything trains."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline import papers
from pipeline.core.errors import UserError
from pipeline.papers import Claim
from pipeline.plan import check, config


@pytest.fixture
def known(params: dict[str, Any]) -> papers.Known:
    return check.known_names(config.File.model_validate(params))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("side: below", "side: bellow", "side is 'bellow', but should be below, above or within (is 'below' meant?)."),
        ("claim: Past", "clam: Past", "loss-grows-past-optimum.clam is unknown (is 'claim' meant?); a claim takes id"),
        ("measure: gradient_gap", "measure: gradient_gp", "measure names 'gradient_gp' (is 'gradient_gap' meant?)"),
        ("variant: adaptive, against: f", "variant: adaptve, against: f", "variant names 'adaptve' (is 'adaptive' me"),
        ("kind: contrast, measure: sel", "kind: contrats, measure: sel", "kind names 'contrats' (is 'contrast' mean"),
        ("id: optimum-between-ends", "id: lattice-beats-vq", "the id 'lattice-beats-vq' stands twice"),
        (
            "id: optimum-between-ends",
            "id: Optimum",
            "id is 'Optimum', but should be lower-case words joined by -.",
        ),
        ("direction: rises", "direction: up", "direction is 'up', but should be falls or rises."),
        ("start_at_lowest: test_mse", "start_at_lowest: mse", "start_at_lowest names 'mse'"),
        (", against: *codebooks", "", "test.against is missing; contrast takes kind"),
        ("claim: Past that", "claim: Past that\n  claim: Past", "is not valid YAML"),
        ("claim: Past", "follows: none\n  claim: Past", "follows names 'none', but there is lattice-beats-vq"),
        ("side: below}\n- id", "side: below, limit: x}\n- id", "limit is 'x', but should be a valid number."),
        (
            "  source: a summary of the paper\n  test:\n    kind: chain",
            "  test:\n    kind: chain",
            "neither source nor",
        ),
        ("results: {}", "results: {mnist: {title: a, source: b, duration_unit: h, rows: {}}}", "be s or min."),
        (
            "results: {}",
            "results: {mnits: {title: a, source: b, duration_unit: s, rows: {}}}",
            "results names 'mnits' (is 'mnist' meant?)",
        ),
        (
            "results: {}",
            "results: {mnist: {title: a, source: b, duration_unit: s, rows: {vq: {mse: low}}}}",
            "results.mnist.rows.vq.mse is 'low', but should be a valid number",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, known: papers.Known, old: str, new: str, sentence: str
) -> None:
    folder = Path(shutil.copytree(papers.FOLDER, tmp_path / "papers"))
    text = (folder / "balance.yaml").read_text(encoding="utf-8")
    assert old in text
    (folder / "balance.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        papers.read(known, folder)
    assert sentence in str(caught.value)
    assert "balance.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_plan_checks_the_papers_before_anything_is_spent(
    params: dict[str, Any],
) -> None:
    """A variant that params.yaml no longer has is named by a claim."""
    params = copy.deepcopy(params)
    del params["variants"]["lattice_frozen"]
    params["grid"]["variants"].remove("lattice_frozen")
    with pytest.raises(UserError, match=r"claims.learned-lattice-beats-frozen.test.against names 'lattice_frozen'"):
        check.plan(params)


def test_params_may_have_other_sweeps_than_the_claims_name(params: dict[str, Any]) -> None:
    check.plan({**params, "sweeps": {}})


def test_ids_never_change() -> None:
    """A claim may be added; one that is here stays, since reports that are kept know it by its id."""
    ids = [one.id for paper in papers.read().values() for one in paper["claims"]]
    assert len(set(ids)) == len(ids)
    assert {"lattice-beats-vq", "lattice-halves-time-of-vq", "any-start-ends-alike", "optimum-between-ends"} <= set(ids)


def test_readme_tells_how_to_add_a_claim(tmp_path: Path, known: papers.Known) -> None:
    """The lines that README shows, at the end of a paper's file, are a claim."""
    readme = (papers.FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    lines = next(block for block in readme.split("```yaml\n")[1:] if block.startswith("- id: ")).split("```")[0]
    folder = Path(shutil.copytree(papers.FOLDER, tmp_path / "papers"))
    with (folder / "balance.yaml").open("a", encoding="utf-8") as file:
        file.write(lines)
    added = papers.read(known, folder)["balance"]["claims"][-1]
    assert isinstance(added, Claim)
    assert f"- id: {added.id}" in lines
