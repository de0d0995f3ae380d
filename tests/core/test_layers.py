"""Imports run downwards: nobody has to read what stands above to understand what stands below."""

from __future__ import annotations

import ast
from pathlib import Path

from conftest import ROOT

PIPELINE = ROOT / "pipeline"
LAYERS = [
    {"core"},
    {"papers", "datasets", "quantizers"},
    {"autoencoder", "metrics", "search"},
    {"codec"},
    {"plan", "download", "preprocess", "train", "evaluate", "benchmark", "report", "run"},
    {"__init__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
BETWEEN_STAGES = {
    ("plan", "benchmark"),  # the names of its parts
    ("benchmark", "train"),  # whose loop it measures
}


def imports(path: Path) -> set[str]:
    """The parts of the pipeline that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports by a relative name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("pipeline.")}


def test_every_part_has_its_layer() -> None:
    parts = {path.stem for path in PIPELINE.iterdir() if path.suffix == ".py" or list(path.glob("*.py"))}
    assert parts == set(LEVEL)


def test_imports_run_downwards() -> None:
    up = set()
    for path in PIPELINE.rglob("*.py"):
        part = path.relative_to(PIPELINE).parts[0].removesuffix(".py")
        up |= {(part, other) for other in imports(path) - {part} if LEVEL[other] >= LEVEL[part]}
    assert up == BETWEEN_STAGES
