"""Writing a list into params.yaml, in which nothing else changes, not even a space."""

from __future__ import annotations

from collections.abc import Sequence

from ruamel.yaml import YAML


def replace_list(text: str, section: str, key: str, items: Sequence[str | int]) -> str:
    """The YAML `text` with another list at `section`.`key`: a line for each item, or [] for none.

    ruamel.yaml tells where the old list stands. It could also write the whole file, but it would wrap long lines and
    lose the comments that follow the list.
    """
    sections = {name.value: value for name, value in YAML().compose(text).value}
    name, old = next((name, value) for name, value in sections[section].value if name.value == key)
    if sections[section].flow_style:
        return f"{text[: old.start_mark.index]}[{', '.join(map(str, items))}]{text[old.end_mark.index :]}"
    last = old if old.flow_style else old.value[-1]
    colon = name.end_mark.index + 1
    header_end = last.end_mark.index if old.flow_style else colon
    line_start, line_end = text.rfind("\n", 0, colon) + 1, _line_end(text, header_end)
    comment = text[header_end:line_end].strip()
    line = text[line_start:colon] + ("" if items else " []")
    if comment:
        line = line.ljust(line_end - line_start - len(comment) - 1) + f" {comment}"
    lines = [f"{' ' * name.start_mark.column}- {item}" for item in items]
    return text[:line_start] + "\n".join([line, *lines]) + text[_line_end(text, last.end_mark.index) :]


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end
