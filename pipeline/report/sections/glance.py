"""Every claim with its verdict."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.report import claims, verdicts
from pipeline.report.blocks import Table, Text, paragraph
from pipeline.report.results import Results

TITLE = "Verdicts at a glance"


def section(results: Results) -> Iterator[Text | Table]:
    yield verdicts.glance(results, claims.judge(results))
    several = len(results.plan["datasets"]) >= verdicts.MANY
    yield paragraph(NOTE + (SHORT if several else ""))


NOTE = """Each verdict is computed from this run; [verdicts in full](#verdicts) shows the numbers and the rules.
**Open** means that the seeds do not decide: in so many of them the claim is true, but the 95 % interval of their mean
reaches to the other side. With n = 2 that interval is 12.7 standard errors to either side, with n = 3 it is 4.3: more
`grid.seeds` decide more. **Not run** names a row that is not in the grid. Numbers are mean ± standard deviation over n
seeds, of the claim's model against the other. Claims marked "ours" are not the papers': they put the same question at
equal rate, at a constant learning rate, on one epoch, or against a control."""

SHORT = """ "2 of 3" after open: so many seeds agree. The numbers of so many data sets stand with the
[verdicts in full](#verdicts)."""
