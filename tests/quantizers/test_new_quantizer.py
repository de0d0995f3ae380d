"""A quantizer that somebody adds: the README's own passes the contract tests; a faulty one is told what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("new quantizer")]


def snippet() -> str:
    """The quantizer that the README shows."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Add a quantizer\n")[1]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


MINE = snippet()
FAULTY = {
    "untitled": ("    title, ", "    name, ", "the quantizer untitled states no title; Mine needs a line `title = "),
    "unlisted": (
        "beta: NonNegativeFloat",
        "step: float = 1.0, beta: NonNegativeFloat",
        "unlisted: params.yaml does not list step; add `step: 1.0` under `quantizer`",
    ),
    "unfinished": ("def losses", "def loss", "Can't instantiate abstract class Mine with abstract method losses"),
    "crossed": (
        "return F.embedding",
        "return -F.embedding",
        "crossed: decode(codes), with the codebook as it was before the step, should be z",
    ),
    "moving": (
        "        codes =",
        "        self.codebook.data += 1\n        codes =",
        "moving: in evaluation the same latents should give the same z",
    ),
}
"""Name → what to change in the README's quantizer, by what, and what the contract tests say then."""


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the contract tests say about all of them, in a copy of the project with a file more for each."""
    copy = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "pipeline", copy / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests").mkdir()
    for path in (ROOT / "params.yaml", ROOT / "pyproject.toml", *(ROOT / "tests").glob("*.py")):
        shutil.copy(path, copy / path.relative_to(ROOT))
    shutil.copy(Path(__file__).with_name("test_contract.py"), copy / "tests")
    (copy / "pipeline/quantizers/mine.py").write_text(MINE, encoding="utf-8")
    for name, (old, new, _) in FAULTY.items():
        text = MINE.replace("cosine VQ", name).replace(old, new)
        (copy / f"pipeline/quantizers/{name}.py").write_text(text, encoding="utf-8")
    these = " or ".join(["mine", *FAULTY])
    command = [sys.executable, "-m", "pytest", "tests/test_contract.py", "-k", these, "-rA", "--tb=line", "--color=no"]
    environment = {**os.environ, "COLUMNS": "300", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False).stdout


def outcomes(outcome: str, name: str, tested: str) -> str:
    return "\n".join(re.findall(rf"^{outcome} .*\b{name}\b.*", tested, re.MULTILINE))


def test_the_quantizer_of_the_readme_keeps_the_contract(tested: str) -> None:
    assert len(MINE.splitlines()) <= 20
    assert outcomes("PASSED", "mine", tested), tested
    assert not outcomes("(?:FAILED|ERROR)", "mine", tested)


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_quantizer_is_told_what_to_do(name: str, tested: str) -> None:
    assert FAULTY[name][2] in outcomes("FAILED", name, tested)
