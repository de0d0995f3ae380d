"""What the papers claim and what was found: a few sentences on each paper, and every claim with its verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.blocks import Block, Cell, Details, Line, Table, Text, escape, paragraph, table
from pipeline.report.describe import few, joined
from pipeline.report.evidence import wording
from pipeline.report.evidence.claims import judge
from pipeline.report.evidence.decisions import Decision, Verdict, Why
from pipeline.report.evidence.statistics import FEWEST_SEEDS
from pipeline.report.results import Results
from pipeline.report.sections import forest

TITLE = "The papers' claims"


def section(results: Results) -> Iterator[Block]:
    decisions = judge(results)
    for name, paper in results.papers.items():
        sentences = list(said(results, name, decisions))
        if sentences:
            yield Text(f"**[{escape(paper['short'])}]({paper['url']})**{only(results)}. {' '.join(sentences)}")
    yield from missing(results, decisions)
    yield from forest.figure(results, decisions)
    if forest.shown(decisions):
        yield Details("The same as a table", [glance(results, decisions)])
        yield paragraph(NOTE)


NOTE = """Every verdict is computed from this run; [verdicts in full](#verdicts) shows its numbers and the rules.
**Undecided** means that the seeds do not decide; more `grid.seeds` may. **Not judged** means that no number of seeds
would; the table says why. Claims "(ours)" are not the papers': they put the same question at equal rate, at a constant
learning rate, on one epoch, or against a control."""


# a few sentences


@dataclass(frozen=True)
class Saying:
    """A claim in a sentence.

    Attributes:
        holds, fails: what is found where it does or does not hold; {} takes the object.
        thing: the object; claims of the same words and the same verdicts are said together.
    """

    claim: str
    holds: str
    fails: str
    thing: str = ""


LOWER = ("the lattice has a lower error than {}", "the lattice has a higher error than {}")
NO_MORE_BITS = (
    "at no more bits the lattice has a lower error than {}",
    "at no fewer bits the lattice has a higher error than {}",
)
LEARNED = ("learning its spacings gives a lower error than {}", "learning its spacings gives a higher error than {}")
HALF = (
    "the lattice needs at most half of VQ-VAE's time for {}",
    "the lattice needs more than half of VQ-VAE's time for {}",
)
SMALLER = (
    "the adaptive quantizer has a smaller {} than the best fixed codebook",
    "the adaptive quantizer has a larger {} than the best fixed codebook",
)
SAYINGS: dict[str, list[list[Saying]]] = {  # paper → sentences → what stands in each
    "ll_vq_vae": [
        [
            Saying("lattice-beats-vq", *LOWER, "VQ-VAE"),
            Saying("lattice-beats-vq-ema", *LOWER, "VQ-VAE (EMA)"),
        ],
        [
            Saying("lattice-beats-vq-at-equal-rate", *NO_MORE_BITS, "VQ-VAE"),
            Saying("lattice-beats-vq-ema-at-equal-rate", *NO_MORE_BITS, "VQ-VAE (EMA)"),
        ],
        [
            Saying("learned-lattice-beats-frozen", *LEARNED, "keeping them where they began"),
            Saying("learned-lattice-beats-ramp", *LEARNED, "letting them only grow with the steps"),
        ],
        [
            Saying(
                "lattice-does-not-collapse",
                "the lattice uses more than 90 % of K codes",
                "the lattice uses less than 90 % of K codes",
            ),
            Saying("vq-collapses", "VQ-VAE uses less than 10 % of K codes", "VQ-VAE uses more than 10 % of K codes"),
        ],
        [
            Saying("lattice-halves-time-of-vq", *HALF, "the whole training"),
            Saying("first-epoch-halves-time-of-vq", *HALF, "the first epoch"),
        ],
    ],
    "balance": [
        [
            Saying(
                "optimum-between-ends",
                "among codebooks of one capacity, the lowest error lies between [512, 128] and [65536, 1]",
                "among codebooks of one capacity, the lowest error lies at an end, [512, 128] or [65536, 1]",
            )
        ],
        [
            Saying(
                "loss-grows-past-optimum",
                "past that optimum the quantization loss grows",
                "past that optimum the quantization loss does not grow at every step",
            )
        ],
        [
            Saying("adaptive-beats-best-codebook", *SMALLER, "error"),
            Saying("adaptive-has-smallest-gradient-gap", *SMALLER, "gradient gap"),
            Saying("adaptive-has-smallest-quantization-loss", *SMALLER, "quantization loss"),
        ],
        [
            Saying(
                "selection-leaves-large-codebooks",
                "selection begins with the larger codebooks and moves on from them",
                "selection does not move on from the larger codebooks",
            )
        ],
    ],
}


def said(results: Results, paper: str, decisions: Sequence[Decision]) -> Iterator[str]:
    """The sentences about a paper, of claims that were tested."""
    for sayings in SAYINGS.get(paper, []):
        together: dict[tuple[str, tuple[str, ...]], list[Saying]] = {}
        for saying in sayings:
            found = tuple(findings(results, [one for one in decisions if one.claim.id == saying.claim]))
            if found:
                together.setdefault((saying.holds, found), []).append(saying)
        clauses = [
            clause.format(holds=several[0].holds, fails=several[0].fails).format(
                joined([saying.thing for saying in several])
            )
            for (_, found), several in together.items()
            for clause in found
        ]
        if clauses:
            text = "; ".join(clauses)
            yield text[0].upper() + text[1:] + "."


def findings(results: Results, decisions: Sequence[Decision]) -> Iterator[str]:
    """What was found of a claim, with the data sets of which it is true; without what was not run or not judged."""
    datasets: dict[str, list[str]] = {}
    for decision in decisions:
        clause = finding(decision)
        if clause:
            datasets.setdefault(clause, []).append(results.title(decision.dataset))
    for clause, names in datasets.items():
        where = f" on {escape(joined(names))}" if len(results.plan["datasets"]) > 1 else ""
        if len(names) == len(results.plan["datasets"]) > 2:
            where = f" on all {len(names)} data sets"
        yield clause.replace("<where>", where)


def finding(decision: Decision) -> str:
    """A clause, with the place for the data sets; empty for nothing to say."""
    every = {1: "the one seed", 2: "both seeds"}.get(decision.n, f"all {decision.n} seeds")
    match decision.verdict:
        case Verdict.HOLDS:
            return "{holds}<where>"
        case Verdict.FAILS:
            return "{fails}<where>"
        case Verdict.OPEN if decision.agree in (0, decision.n):
            found = "{holds}" if decision.agree else "{fails}"
            if decision.n < FEWEST_SEEDS:
                return f"with {every} {found}<where>"
            return f"with {every} {found}<where>, but their spread leaves it undecided"
        case Verdict.OPEN:
            return "whether {holds} is undecided<where>"
        case Verdict.NOT_JUDGED if decision.reason and decision.reason.why is Why.RATES_DIFFER:
            spends = "more bits for the lower" if decision.reason.more else "fewer bits for the higher"
            return f"it spends {spends} error than {{{{}}}}<where>, so that at equal rate nothing is decided"
    return ""


def only(results: Results) -> str:
    """The data set, where there is but one."""
    datasets = results.plan["datasets"]
    return f", on {escape(results.title(datasets[0]))}" if len(datasets) == 1 else ""


def missing(results: Results, decisions: Sequence[Decision]) -> Iterator[Text]:
    """The rows that claims need and that were not run, once for all."""
    not_run = [one for one in decisions if one.verdict is Verdict.NOT_RUN]
    names = dict.fromkeys(name for one in not_run if one.reason for name in one.reason.variants)
    claims = len({one.claim.id for one in not_run})
    if names:
        rows = joined([name if " " in name else f"`{name}`" for name in few(list(names), 6)])
        yield paragraph(f"""Not tested: {claims} claim{"s" * (claims > 1)} that need rows which are not in this run:
            {rows}. Name them in `grid.variants`; those of sweeps come with `make sweeps`.""")


# every claim


def glance(results: Results, decisions: Sequence[Decision]) -> Table:
    """A line per claim that was tested, a column per data set."""
    lines: list[Line] = [
        [
            Cell(several[0].claim.claim, link="#verdicts"),
            wording.place(several[0].claim) + (" (ours)" if several[0].claim.origin == "ours" else ""),
            *(mark(decision, results) for decision in several),
        ]
        for several in forest.shown(decisions).values()
    ]
    heads = [f"{results.title(name)} ({seeds(results, name)})" for name in results.plan["datasets"]]
    return table(["claim", "where in the paper", *heads], lines, left=2 + len(heads))


def mark(decision: Decision, results: Results) -> Cell:
    """The verdict, and why no number of seeds would give one."""
    why = wording.reason(decision, results) if decision.verdict is Verdict.NOT_JUDGED else ""
    return Cell(f"{wording.word(decision)}: {why}" if why else wording.word(decision))


def seeds(results: Results, dataset: str) -> str:
    """How many seeds the rows of a data set have."""
    counts = {len(row.seeds) for row in results.of(dataset)}
    return f"n = {min(counts)}" if len(counts) == 1 else f"n = {min(counts)} to {max(counts)}"
