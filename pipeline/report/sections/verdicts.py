"""Every verdict with its numbers, the rules, and the published numbers met."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.report import claims, verdicts
from pipeline.report.blocks import Block, Heading, Text, paragraph
from pipeline.report.results import Results

TITLE = "Verdicts in full"


def section(results: Results) -> Iterator[Block]:
    judged = claims.judge(results)
    yield paragraph(RULES)
    yield Text(verdicts.rules(judged))
    for name in claims.PAPERS:
        paper = results.papers[name]
        yield Heading(paper["title"])
        yield verdicts.full(results, judged, name)
    met = verdicts.met_table(results)
    if met:
        yield Heading("Published numbers met", anchor="met")
        yield paragraph(MET)
        yield met


RULES = """Numbers are mean ± standard deviation over n seeds. Differences and ratios are taken seed by seed, since rows
with the same seed start from the same weights and see the same order of images; brackets hold Student's 95 % interval
of their mean. Times include each quantizer's own search for the nearest code: by distances for a codebook, exactly; by
rounding for a lattice. The benchmark sets the exact search beside the plain distance matrix on trained codebooks. Rows
whose learning rate falls are never compared with rows whose learning rate is constant. The rule for
each claim:"""

MET = """A published number counts as met if it lies within the 95 % prediction interval that the measured seeds give
for a mean of as many seeds as the paper's, widened by half a unit of its last printed digit ("may differ by"). Few
seeds make this wide; one seed shows no spread, so that it can meet a number but not miss it. Times are not compared:
the hardware differs."""
