"""Every variant in a few words."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.report.blocks import Line, Table, code, table
from pipeline.report.results import Results

TITLE = "The rows of every table"


def section(results: Results) -> Iterator[Table]:
    rows = {row.variant: row for row in results.rows.values()}
    lines: list[Line] = [[row.title, code(variant), row.quantizer, row.label.meaning] for variant, row in rows.items()]
    yield table(["model", "name in params.yaml", "quantizer", "what it is"], lines, left=4)
