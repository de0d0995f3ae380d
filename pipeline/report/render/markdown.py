"""The report as markdown, whose tables line up in plain text too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from tabulate import tabulate

from pipeline.report.blocks import Block, Cell, Details, Figure, Heading, Section, Table, Text, escape, parts_of


def render(title: str, sections: Sequence[Section]) -> str:
    """The whole report, its figures in the folder `figures` beside it."""
    parts = [f"# {escape(title)}"]
    for section in sections:
        parts += [f'<a id="{section.name}"></a>\n\n## {escape(section.title)}', *map(block, section.blocks)]
    return "\n\n".join([*parts, targets(sections)]) + "\n"


def block(shown: Block) -> str:
    match shown:
        case Text():
            return shown.markdown
        case Heading():
            anchor = f'<a id="{shown.anchor}"></a>\n\n' if shown.anchor else ""
            return f"{anchor}{'#' * shown.level} {escape(shown.text)}"
        case Table():
            title = f"**{escape(shown.title)}.**\n\n" if shown.title else ""
            return title + table(shown)
        case Figure():
            picture = f"![{escape(shown.alt)}](figures/{shown.file})"
            caption = " ".join(shown.caption.split())
            return f'<a id="figure-{shown.key}"></a>\n\n{picture}\n\n**{escape(shown.title)}.** {caption}'
        case Details():
            inside = "\n\n".join(map(block, shown.blocks))
            return f"<details><summary>{escape(shown.title)}</summary>\n\n{inside}\n\n</details>"


def table(shown: Table) -> str:
    """A GitHub table."""
    heads = [cell(column.title) for column in shown.columns]
    lines = [[cell(one) for one in row] for row in shown.rows]
    align = [column.align for column in shown.columns]
    return tabulate(lines, headers=heads, tablefmt="pipe", colalign=align, disable_numparse=True)


def cell(shown: Cell) -> str:
    """Inline markdown that cannot end its cell. A link to a row's settings is short: see `targets`."""
    text = escape(shown.text) if shown.kind == "plain" else shown.text.replace("|", "\\|")
    text = f"`{text}`" if shown.kind == "code" and text else text
    text = f"**{text}**" if shown.bold else text
    text = f'<a id="{shown.anchor}"></a>{text}' if shown.anchor else text
    if not shown.link:
        return text
    row = row_of(shown.link)
    return f"[{text}][{row}]" if row else f"[{text}]({shown.link})"


def row_of(link: str) -> str:
    """The row whose settings file a link names, or nothing."""
    path = PurePosixPath(link)
    return path.stem if path.parent == PurePosixPath("settings") else ""


def targets(sections: Sequence[Section]) -> str:
    """Where the links to settings files lead, each once."""
    tables = [part for part in parts_of(sections) if isinstance(part, Table)]
    links = dict.fromkeys(cell.link for table in tables for row in table.rows for cell in row if row_of(cell.link))
    return "\n".join(f"[{row_of(link)}]: {link}" for link in links)
