"""Digests of code: what is seen of a module's imports, and what of its text does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core import code_digests


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the project's."""
    monkeypatch.setattr(code_digests, "ROOT", tmp_path)
    return tmp_path


def write(root: Path, **modules: str) -> None:
    for name, text in modules.items():
        path = root / "pipeline" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    "line",
    [
        "import pipeline.sub.other",
        "import pipeline.sub.other as o",
        "from pipeline.sub import other",
        "from pipeline.sub.other import X",
        "from . import other",
        "from .other import X",
        "from ..sub import other",
        "from ..sub.other import X",
        "def f():\n    from pipeline.sub import other",
    ],
)
def test_every_way_to_import_a_module_is_seen(root: Path, line: str) -> None:
    write(root, sub__module=line, sub__other="X = 1", sub__stranger="X = 2")
    (root / "pipeline/sub/__init__.py").write_text("")
    assert set(code_digests.digests("pipeline.sub.module")) == {
        "pipeline/sub/__init__.py",
        "pipeline/sub/module.py",
        "pipeline/sub/other.py",
    }


def test_what_a_package_imports_is_seen_from_its_modules(root: Path) -> None:
    write(root, sub__module="", far="")
    (root / "pipeline/sub/__init__.py").write_text("from ..far import x\nfrom . import deep")
    write(root, sub__deep="from .. import far")
    names = ["pipeline/far.py", "pipeline/sub/__init__.py", "pipeline/sub/deep.py", "pipeline/sub/module.py"]
    assert list(code_digests.digests("pipeline.sub.module")) == names


def test_an_empty_module_counts_and_one_that_is_not_there_does_not(root: Path) -> None:
    write(root, empty="")
    assert list(code_digests.digests("pipeline.empty", "pipeline.nothing", "torch")) == ["pipeline/empty.py"]


def test_modules_without_effect_and_what_they_alone_import_are_left_out(root: Path) -> None:
    write(
        root, a="from pipeline.core import cli\nfrom pipeline import b", core__cli="from pipeline import c", b="", c=""
    )
    assert list(code_digests.digests("pipeline.a")) == ["pipeline/a.py", "pipeline/b.py"]
    assert list(code_digests.digests("pipeline.a", without=["pipeline.b"])) == ["pipeline/a.py"]


def test_every_module_without_effect_is_there() -> None:
    assert all(code_digests._file(module) for module in code_digests.WITHOUT_EFFECT)


TEXT = '''
"""What it does."""
from pipeline.core import cli
class A:
    """What it is."""
    title = "A"
    colour: str = "#000000"
    def f(self, x):
        """What it gives."""
        cli.log.info("f of %s", x)
        if x < 0:
            raise ValueError(f"x is {x}")
        return x + 1
'''


def digest(root: Path, text: str) -> str:
    write(root, module=text)
    return code_digests.digests("pipeline.module")["pipeline/module.py"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("What it does.", "What for."),
        ("What it gives.", "What comes back."),
        ('"""What it is."""', "# said elsewhere"),
        ("x + 1", "(x + 1)  # so"),
        ('title = "A"', 'title = "B"'),
        ('    title = "A"\n', ""),
        ('"#000000"', '"#ffffff"'),
        ('f"x is {x}"', '"x is below 0"'),
        ('"f of %s", x', '"f"'),
    ],
)
def test_words_do_not_count(root: Path, before: str, after: str) -> None:
    assert before in TEXT
    assert digest(root, TEXT) == digest(root, TEXT.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x + 1", "x + 2"),
        ("x < 0", "x < 1"),
        ("raise ValueError", "raise TypeError"),
        ("return x", "yield x"),
        ("class A", "class B"),
        ("colour: str", "shade: str"),
        ('title = "A"', 'scale = "A"'),
        ('"""What it gives."""', '_ = "What it gives."'),
    ],
)
def test_code_counts(root: Path, before: str, after: str) -> None:
    assert before in TEXT
    assert digest(root, TEXT) != digest(root, TEXT.replace(before, after))
