"""Which code a number rests on: a digest of every source file that makes it.

May be edited without training a row again:
    comments and docstrings; the sentences of errors and logs; `title`, `meaning` and `colour` of a class
    the modules in WITHOUT_EFFECT, for the reasons given there
    whatever `train.loop` and the row's quantizer do not import: writing, validating, measuring, the report
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

WITHOUT_EFFECT = {
    "pipeline": "the map, and `load`, which uses models that are trained",
    "pipeline.core.cli": "the command line, logs, progress bars",
    "pipeline.core.errors": "classes of errors",
    "pipeline.core.files": "reads and writes whole files",
    "pipeline.core.parallel": "hands seeds to processes",
    "pipeline.core.paths": "names of folders and files",
    "pipeline.core.provenance": "commit, versions and hardware, which stand beside the numbers",
    "pipeline.core.registry": "finds the class that a setting names",
    "pipeline.core.schema": "checks settings; what it lets pass stands in the settings file",
    "pipeline.datasets.io.fetch": "brings files, whose checksums stand in the data set",
}
"""Module → why no number depends on it."""

LABELS = {"title", "meaning", "colour"}
ROOT = Path(__file__).resolve().parents[2]


def digests(*modules: str, without: Collection[str] = ()) -> dict[str, str]:
    """File → digest, for these modules and all modules of the pipeline that they import, directly or not.

    Args:
        modules: dotted names, e.g. `pipeline.train.loop`. Imports by name at run time, as of quantizers, are not seen:
            name those modules too.
        without: modules that are left out besides WITHOUT_EFFECT.
    """
    seen: set[str] = set()
    files: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is None or module in seen or module in WITHOUT_EFFECT or module in without:
            continue
        seen.add(module)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        files[path.relative_to(ROOT).as_posix()], imports = _read(path.read_text(encoding="utf-8"), package)
        waiting += [package, package.rpartition(".")[0], *imports]
    return dict(sorted(files.items()))


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


@functools.cache  # rows share most modules
def _read(source: str, package: str) -> tuple[str, tuple[str, ...]]:
    """A module's digest, and what it imports."""
    tree = ast.parse(source)
    return _digest(tree), tuple(_imports(tree, package))


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Every dotted name that may be a module: `from package import name` imports either a module or what is in one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


class _WithoutWords(ast.NodeTransformer):
    """Takes out of a syntax tree what is said to people."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Docstrings, and calls of `cli.log`."""
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        logged = isinstance(node.value, ast.Call) and ast.unparse(node.value.func).startswith("cli.log.")
        return None if text or logged else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """The arguments of an error."""
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [line for line in node.body if not _is_label(line)]
        return self.generic_visit(node)


def _is_label(line: ast.stmt) -> bool:
    targets = line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id in LABELS for target in targets)


def _digest(tree: ast.Module) -> str:
    return hashlib.sha256(ast.unparse(_WithoutWords().visit(tree)).encode()).hexdigest()[:16]
