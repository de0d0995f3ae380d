"""Every claim with its verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.report.blocks import Cell, Line, Table, Text, paragraph, table
from pipeline.report.evidence import wording
from pipeline.report.evidence.claims import judge
from pipeline.report.evidence.decisions import Decision
from pipeline.report.results import Results

TITLE = "Verdicts at a glance"


def section(results: Results) -> Iterator[Text | Table]:
    yield glance(results, judge(results))
    yield paragraph(NOTE)


NOTE = """Each verdict is computed from this run; [verdicts in full](#verdicts) shows the numbers and the rules.
**Undecided** means that the seeds do not decide: fewer than three decide nothing, and more `grid.seeds` decide more.
**Not run** names a row that is not in the grid. Claims marked "ours" are not the papers': they put the same question at
equal rate, at a constant learning rate, on one epoch, or against a control."""


def glance(results: Results, decisions: Sequence[Decision]) -> Table:
    """A line per claim, a column per data set."""
    claims: dict[str, list[Decision]] = {}
    for decision in decisions:
        claims.setdefault(decision.claim.id, []).append(decision)
    lines: list[Line] = [
        [
            Cell(several[0].claim.claim, link="#verdicts"),
            wording.place(several[0].claim) + (" (ours)" if several[0].claim.origin == "ours" else ""),
            *(mark(decision, results) for decision in several),
        ]
        for several in claims.values()
    ]
    heads = [f"{results.title(name)} ({seeds(results, name)})" for name in results.plan["datasets"]]
    return table(["claim", "where in the paper", *heads], lines, left=2 + len(heads))


def mark(decision: Decision, results: Results) -> Cell:
    """The verdict, and why there is none."""
    why = wording.reason(decision, results)
    return Cell(f"{wording.word(decision)}: {why}" if why else wording.word(decision))


def seeds(results: Results, dataset: str) -> str:
    """How many seeds the rows of a data set have."""
    counts = {len(row.seeds) for row in results.of(dataset)}
    return f"n = {min(counts)}" if len(counts) == 1 else f"n = {min(counts)} to {max(counts)}"
