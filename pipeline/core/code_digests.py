"""Which code a row depends on: a digest of each source file that its stage uses, blind to comments and docstrings."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

NO_EFFECT = (
    "pipeline.core.errors",
    "pipeline.core.paths",
    "pipeline.plan.config",
    "pipeline.core.files",
    "pipeline.core.registry",
    "pipeline.core.cli",
    "pipeline.core.provenance",
)
"""Modules that read, check, write and log; what they find stands in the settings, and no number depends on them."""

ROOT = Path(__file__).resolve().parents[2]


def digests(*modules: str) -> dict[str, str]:
    """File → digest, for these modules and all modules of the pipeline that they import, directly or not.

    Args:
        modules: dotted names, e.g. `pipeline.train`. Imports by name at run time, as of quantizers, are not seen:
            name those modules too.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        path = _file(waiting.pop())
        name = path.relative_to(ROOT).as_posix() if path else ""
        if path and name not in found:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            waiting += _imports(tree)
            found[name] = _digest(tree)
    return dict(sorted(found.items()))


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.startswith("pipeline.") and name not in NO_EFFECT]


def _digest(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                first.value.value = ""
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]
