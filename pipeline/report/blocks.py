"""What a report is made of. Sections yield blocks; `render` writes them as markdown and as a page.

Text that comes from data (titles, file names, licences) is escaped here or by the renderings: cells, headings, titles
of figures and alternative texts are plain text; what is markdown says so, and takes such text through `escape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class Heading:
    """The beginning of a part, which folds on the page.

    Attributes:
        level: 3 or 4; the title of a section has 2.
        anchor: what links to it name; made from the text where there is none.
    """

    text: str
    level: int = 3
    anchor: str = ""


@dataclass(frozen=True)
class Text:
    """Paragraphs or a list in markdown, without HTML and without tables."""

    markdown: str


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        kind: `plain` text, `code`, or inline `markdown`.
        link: where it leads: an address, an anchor of the report (`#speed`), or settings/<row>.yaml.
        value: what its column is sorted by; without it, the text.
        anchor: what links to it name.
    """

    text: str
    kind: Literal["plain", "code", "markdown"] = "plain"
    link: str = ""
    value: float | None = None
    bold: bool = False
    anchor: str = ""


@dataclass(frozen=True)
class Column:
    """The head of a column. Numbers stand flush right, so that their digits stand in line."""

    title: Cell
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True)
class Table:
    """
    Attributes:
        rows: a cell for each column.
        title: above the table, plain text.
    """

    columns: list[Column]
    rows: list[list[Cell]]
    title: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture with all that belongs to it.

    Attributes:
        key: its file under reports/figures, without the ending, and its anchor: #figure-<key>.
        caption: markdown: what to look for, and how it was made.
        alt: what it shows, for those who do not see it.
        draw: makes the matplotlib figure.
        photographs: it is kept as pixels (PNG) instead of lines (SVG).
    """

    key: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], Drawing]
    photographs: bool = False

    @property
    def file(self) -> str:
        return f"{self.key}.{'png' if self.photographs else 'svg'}"


@dataclass(frozen=True)
class Details:
    """Blocks that are folded until one asks for them."""

    title: str
    blocks: list[Text | Table | Figure]


Block = Heading | Text | Table | Figure | Details
Line = Sequence[str | Cell]
"""Of a table; a string is plain text."""


@dataclass(frozen=True)
class Section:
    """A part of the report, with its title at level 2; `name` is its anchor."""

    name: str
    title: str
    blocks: list[Block]


def parts_of(sections: Sequence[Section]) -> Iterator[Heading | Text | Table | Figure]:
    """All blocks in the order of the report, also those that are folded."""
    for section in sections:
        for block in section.blocks:
            yield from block.blocks if isinstance(block, Details) else [block]


def paragraph(text: str) -> Text:
    """Markdown that is one paragraph, however it is broken into lines."""
    return Text(" ".join(text.split()))


def bullets(lines: Sequence[str]) -> Text:
    """A list of lines in markdown."""
    return Text("\n".join(f"- {line}" for line in lines))


def table(heads: Line, rows: Sequence[Line], left: int = 1, title: str = "") -> Table:
    """A table whose first `left` columns stand flush left."""
    columns = [Column(as_cell(head), "left" if place < left else "right") for place, head in enumerate(heads)]
    return Table(columns, [[as_cell(cell) for cell in row] for row in rows], title)


def as_cell(text: str | Cell) -> Cell:
    return text if isinstance(text, Cell) else Cell(text)


def code(text: str) -> Cell:
    return Cell(text, "code")


def markdown(text: str) -> Cell:
    return Cell(text, "markdown")


ESCAPES: dict[str, str | int | None] = {character: f"\\{character}" for character in "\\`*_"}
ESCAPES |= {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}


def escape(text: str) -> str:
    """Plain text as markdown that shows it as it is, in and outside of tables."""
    shown = " ".join(text.translate(str.maketrans(ESCAPES)).split())
    return shown.replace("](", "]\\(").replace("][", "]\\[")  # brackets alone are no link
