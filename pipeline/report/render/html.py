"""The report as one HTML file that asks for nothing else: figures, settings files, style and script stand inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown import Markdown
from markupsafe import Markup

from pipeline.report.blocks import Block, Figure, Heading, Section
from pipeline.report.render.markdown import row_of


@dataclass
class Part:
    """What folds together: a title, blocks, and smaller parts."""

    anchor: str
    title: str
    level: int
    blocks: list[Block] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


def render(title: str, sections: Sequence[Section], figures: Path, settings: Mapping[str, str]) -> str:
    """
    Args:
        figures: the folder that holds the figures' files.
        settings: row → the text of its settings file.
    """
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    writer = Writer()
    environment.filters |= {
        "prose": writer.prose,
        "inline": writer.inline,
        "target": target,
        "kind": kind,
        "unbroken": unbroken,
    }
    environment.filters["picture"] = lambda figure: picture(figure, figures)
    return environment.get_template("page.html.j2").render(
        title=title,
        parts=tree(sections),
        settings=settings,
        style=Markup((here / "page.css").read_text(encoding="utf-8")),
        script=Markup((here / "page.js").read_text(encoding="utf-8")),
    )


class Writer:
    """Markdown to HTML. HTML inside of it is text, so that nothing from data becomes an element."""

    def __init__(self) -> None:
        self.markdown = Markdown(extensions=["sane_lists"], output_format="html")
        self.markdown.preprocessors.deregister("html_block")
        self.markdown.inlinePatterns.deregister("html")

    def prose(self, text: str) -> Markup:
        return Markup(self.markdown.reset().convert(unbroken(text)))

    def inline(self, text: str) -> Markup:
        """Text without a paragraph around it; what stands in a cell is never a list."""
        return Markup(self.prose(f"\u200b{text}").removeprefix("<p>\u200b").removesuffix("</p>"))


def tree(sections: Sequence[Section]) -> list[Part]:
    """The parts of each section, by the levels of their headings."""
    anchors: set[str] = set()
    parts = []
    for section in sections:
        path = [Part(unique(section.name, anchors), section.title, 2)]
        parts.append(path[0])
        for block in section.blocks:
            if isinstance(block, Heading):
                while path[-1].level >= block.level:
                    path.pop()
                inner = Part(unique(block.anchor or f"{section.name}-{block.text}", anchors), block.text, block.level)
                path[-1].parts.append(inner)
                path.append(inner)
            else:
                path[-1].blocks.append(block)
    return parts


def unique(name: str, taken: set[str]) -> str:
    """An id of letters, digits, _ and -, with a number where it is taken."""
    base = re.sub(r"[^\w-]+", "-", name.lower()).strip("-")
    numbers = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    anchor = next(one for one in (base, *numbers) if one not in taken)
    taken.add(anchor)
    return anchor


def unbroken(text: str) -> str:
    """Numbers that are not torn apart at the end of a line."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" (n = ", " (n\u00a0=\u00a0")


def kind(block: Block) -> str:
    return type(block).__name__.lower()


def target(link: str) -> str:
    """Settings files stand in the page."""
    return f"#settings-{row_of(link)}" if row_of(link) else link


def picture(figure: Figure, folder: Path) -> Markup:
    """The figure's file as an element."""
    path = folder / figure.file
    if not figure.photographs:
        return Markup(path.read_text(encoding="utf-8"))
    content = base64.b64encode(path.read_bytes()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(figure.alt, content)
