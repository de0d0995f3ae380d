"""Commit, date, versions and hardware of this run and of every row, and the command that makes each again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.report.blocks import Cell, Line, Table, Text, code, paragraph, table
from pipeline.report.describe import commit, hardware, moment
from pipeline.report.results import Results

TITLE = "Where the numbers come from"


def section(results: Results) -> Iterator[Text | Table]:
    lines = [[label, across_rows(results, say)] for label, say in SAID.items()]
    dates = sorted(moment(row.environment) for row in results.rows.values())
    lines.insert(1, ["measured", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"])
    lines.append(["seeds", ", ".join(str(seed) for seed in results.plan["seeds"])])
    yield table(["", ""], lines, left=2)
    yield paragraph(HOW)
    body: list[Line] = [
        [
            Cell(name, "code", link=f"settings/{name}.yaml"),
            code(commit(row.environment)),
            moment(row.environment),
            str(len(row.seeds)),
            code(f"dvc repro {row.stage}"),
        ]
        for name, row in {**results.rows, **results.swept}.items()
    ]
    yield table(["row, with its settings", "code at commit", "trained", "n", "command"], body, left=5)


HOW = """Every model's name in a table leads to its settings file, which also holds the digests of the code that made
the row. The command makes the row again: it trains it first (`train@<row>`) where settings, code or data have
changed."""

SAID: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "code at commit": commit,
    "Python": lambda environment: str(environment["python"]),
    "PyTorch": lambda environment: str(environment["torch"]),
    "hardware": hardware,
    "platform": lambda environment: str(environment["platform"]),
}


def across_rows(results: Results, say: Callable[[Mapping[str, Any]], str]) -> str:
    """What the rows' environments say, each value once; with counts of rows where there are several."""
    texts = [say(row.environment) for row in results.rows.values()]
    counts = {text: texts.count(text) for text in dict.fromkeys(texts)}
    if len(counts) == 1:
        return texts[0]
    return "; ".join(f"{text} ({count} of {len(texts)} rows)" for text, count in counts.items())
