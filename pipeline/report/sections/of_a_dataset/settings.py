"""What a data set's rows were trained with: what they share, and where a row differs from the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.report.blocks import Table, markdown, table
from pipeline.report.describe import flat, listed
from pipeline.report.results import Results, Row

TITLE = "Settings"


def section(results: Results, dataset: str) -> Iterator[Table]:
    yield from tables(results.of(dataset))


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    """A value is shared if more than half of the rows that have the setting have it so."""
    used = {row.variant: flat(row.settings) for row in rows}
    common = shared(list(used.values()))
    lines: dict[str, dict[str, Any]] = {}
    for key, value in common.items():
        owners = [row.quantizer for row in rows if key in used[row.variant]]
        part, _, name = key.partition(".")
        head = part if len(owners) == len(rows) else f"{part}: {', '.join(dict.fromkeys(owners))}"
        lines.setdefault(head, {})[name] = value
    yield table(["", "shared"], [[head, markdown(listed(stated))] for head, stated in lines.items()], left=2)
    differing: dict[str, list[str]] = {}
    for variant, stated in used.items():
        own = {key: value for key, value in stated.items() if key not in common or common[key] != value}
        if own:
            differing.setdefault(listed(own), []).append(f"`{variant}`")
    if differing:
        body = [[markdown(", ".join(variants)), markdown(own)] for own, variants in differing.items()]
        yield table(["variant", "differs in"], body, left=2)


def shared(used: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Key → the value that more than half of those have that have the key."""
    common = {}
    for key in dict.fromkeys(key for stated in used for key in stated):
        values = [stated[key] for stated in used if key in stated]
        usual = max(values, key=values.count)
        if values.count(usual) > len(values) / 2:
            common[key] = usual
    return common
