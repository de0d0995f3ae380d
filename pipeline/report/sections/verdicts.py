"""Every verdict with its numbers, the rules, and the published numbers met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.papers import PAPERS, Claim
from pipeline.report import summary
from pipeline.report.blocks import Block, Cell, Heading, Line, Table, Text, bullets, escape, paragraph, table
from pipeline.report.describe import link
from pipeline.report.evidence import published, wording
from pipeline.report.evidence.claims import judge
from pipeline.report.evidence.decisions import Decision, Published, Verdict
from pipeline.report.results import Results
from pipeline.report.summary import NONE

TITLE = "Verdicts in full"


def section(results: Results) -> Iterator[Block]:
    decisions = judge(results)
    yield paragraph(wording.METHOD)
    yield paragraph(RULES)
    yield rules(decisions)
    for name in PAPERS:
        tested = [one for one in decisions if one.paper == name and one.verdict is not Verdict.NOT_RUN]
        if tested:
            yield Heading(results.papers[name]["title"])
            yield full(results, tested)
    met = list(met_lines(results))
    if met:
        yield Heading("Published numbers met", anchor="met")
        yield paragraph(MET.format(margin=f"{100 * results.plan['report']['margin']:g} %"))
        heads = ["data set", "model", "number", "published", "measured", "n", "measured / published", ""]
        yield table(heads, met, left=3)


RULES = """Numbers are mean ± standard deviation over n seeds. Times include each quantizer's own search for the nearest
code: by distances for a codebook, exactly; by rounding for a lattice. The benchmark sets the exact search beside the
plain distance matrix on trained codebooks. Rows whose learning rate falls are never compared with rows whose learning
rate is constant. The rule for each claim:"""

MET = """A published number is met if the 95 % interval of the measured mean lies within {margin} of it
(`report.margin`) and half a unit of its last printed digit; missed if it lies outside as a whole; else the mean is too
noisy to tell, as always with one seed, but for counts of parameters. Times are not compared: the hardware differs."""


def rules(decisions: Sequence[Decision]) -> Text:
    """How each kind of test decides, and which claims it decides."""
    kinds: dict[str, dict[str, None]] = {}
    for decision in decisions:
        kinds.setdefault(wording.rule(decision.claim.test), {})[f"`{decision.claim.id}`"] = None
    return bullets([f"{', '.join(claims)}: {rule}" for rule, claims in kinds.items()])


def full(results: Results, decisions: Sequence[Decision]) -> Table:
    """A line per claim and data set."""
    named = dict.fromkeys(decision.claim.id for decision in decisions)
    lines: list[Line] = [
        [
            Cell(
                f"{escape(decision.claim.claim)} `{decision.claim.id}`",
                "markdown",
                anchor=anchor(decision.claim) if named.pop(decision.claim.id, "seen") is None else "",
            ),
            Cell(results.title(decision.dataset), link=f"#{decision.dataset}"),
            ": ".join(filter(None, (wording.word(decision), why(decision, results)))),
            wording.numbers(decision, results) or NONE,
            wording.certainty(decision) or NONE,
            printed(decision.published, decision.dataset),
        ]
        for decision in decisions
    ]
    return table(["claim", "data set", "verdict", "measured", "n, effect, p", "published"], lines, left=6)


def why(decision: Decision, results: Results) -> str:
    """Why there is no answer, and how many seeds would give one."""
    return "; ".join(filter(None, (wording.reason(decision, results), wording.needed(decision))))


def anchor(claim: Claim) -> str:
    """Where a claim's numbers stand."""
    return f"verdict-{claim.id}"


def printed(numbers: Sequence[Published], dataset: str) -> str:
    """Published numbers in a cell, with their data set where it is another."""
    text = " against ".join(f"{summary.plain(number.value)} {number.unit}".rstrip() for number in numbers)
    other = numbers[0].dataset if numbers and numbers[0].dataset != dataset else ""
    return (f"{text} on {other}" if other else text) or NONE


def met_lines(results: Results) -> Iterator[Line]:
    """Published numbers and whether they were met."""
    for meeting in published.meetings(results):
        measure = results.measures[meeting.measured.measure]
        yield [
            results.title(meeting.row.dataset),
            link(meeting.row),
            measure.title + (", recounted" if meeting.recount else ""),
            summary.printed(meeting.published),
            summary.cell(meeting.row, measure.key),
            str(meeting.measured.n),
            f"{meeting.measured.mean / meeting.published:.2f}",
            wording.ANSWERS[meeting.answer],
        ]
