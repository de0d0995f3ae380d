"""Reading a report's markdown."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.paths import Paths
from pipeline.report.blocks import Block
from pipeline.report.render import markdown


def text(paths: Paths) -> str:
    return paths.report.read_text(encoding="utf-8")


def rendered(shown: Iterable[Block]) -> str:
    """Blocks as the report's markdown shows them."""
    return "\n\n".join(map(markdown.block, shown))


def section(paths: Paths, heading: str) -> str:
    """What stands between a heading, with its marks, and the next of its level; the heading must be there once."""
    level = heading.split(" ")[0]
    before, after = text(paths).split(f"\n{heading}\n")
    assert before
    return after.split(f"\n{level} ")[0].split("\n## ")[0]


def blocks(page: str) -> list[list[str]]:
    """The markdown tables, as lists of lines."""
    return [block.splitlines() for block in page.strip().split("\n\n") if block.startswith("|")]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def line_of(page: str, start: str) -> dict[str, str]:
    """The one line of a table that starts so, by the heads of its table."""
    found = [(block[0], line) for block in blocks(page) for line in block[2:] if line.startswith(f"| {start}")]
    assert len(found) == 1, (start, len(found))
    return dict(zip(cells(found[0][0]), cells(found[0][1]), strict=True))
