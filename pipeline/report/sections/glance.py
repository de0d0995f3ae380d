"""What the papers claim and what was found: a few sentences on each paper, and every claim with its verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.report.blocks import Block, Cell, Details, Line, Table, Text, escape, paragraph, table
from pipeline.report.describe import few, joined
from pipeline.report.evidence import wording
from pipeline.report.evidence.claims import judge
from pipeline.report.evidence.decisions import Decision, Verdict, Why
from pipeline.report.evidence.statistics import FEWEST_SEEDS
from pipeline.report.results import Results
from pipeline.report.sections import forest
from pipeline.report.sections.verdicts import anchor

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
                "the lattice uses more than 90 % of the K codes",
                "the lattice uses less than 90 % of the K codes",
            ),
            Saying(
                "vq-collapses", "VQ-VAE uses less than 10 % of the K codes", "VQ-VAE uses more than 10 % of the K codes"
            ),
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
                "the lowest error among codebooks of one capacity lies between [512, 128] and [65536, 1]",
                "the lowest error among codebooks of one capacity lies at an end, [512, 128] or [65536, 1]",
            )
        ],
        [
            Saying(
                "loss-grows-past-optimum",
                "the quantization loss grows past that optimum",
                "the quantization loss does not grow at every step past that optimum",
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
        together: dict[tuple[str, str, str], list[str]] = {}
        for saying in sayings:
            clauses = found(results, [one for one in decisions if one.claim.id == saying.claim])
            if clauses:
                together.setdefault((saying.holds, saying.fails, clauses), []).append(saying.thing)
        text = "; ".join(
            clauses.format(holds=holds, fails=fails).format(joined(things))
            for (holds, fails, clauses), things in together.items()
        )
        if text:
            yield text[0].upper() + text[1:] + "."


def found(results: Results, decisions: Sequence[Decision]) -> str:
    """What was found of a claim on which data sets, {holds} and {fails} standing for its words.

    Nothing is said of data sets on which it was not run or not judged.
    """
    true, untrue, undecided, dearer, cheaper = (
        [one for one in decisions if state(one) == kind] for kind in ("true", "untrue", "open", "dearer", "cheaper")
    )
    seeds = next((one.n for one in true + untrue if one.verdict is Verdict.OPEN), 0)
    shown = {0: "", 1: "with the one seed ", 2: "with both seeds "}[seeds]
    clauses = []
    if true:
        clauses.append(f"{shown}{{holds}}{where(results, true)}")
    if untrue:
        clauses.append(f"not so{where(results, untrue)}" if true else f"{shown}{{fails}}{where(results, untrue)}")
    if undecided:
        rest = len(undecided) > 1 and len(true) + len(untrue) + len(undecided) == len(decisions)
        others = "undecided on the others" if rest else f"undecided{where(results, undecided)}"
        clauses.append(others if clauses else f"whether {{holds}} is undecided{where(results, undecided)}")
    for several, bits in ((dearer, "more bits for the lower"), (cheaper, "fewer bits for the higher")):
        if several:
            at = where(results, several)
            clauses.append(f"it spends {bits} error than {{{{}}}}{at}, so that at equal rate nothing is decided")
    return "; ".join(clauses)


def state(decision: Decision) -> str:
    """Decided, or with too few seeds what all of them show; empty where there is nothing to say."""
    match decision.verdict:
        case Verdict.HOLDS:
            return "true"
        case Verdict.FAILS:
            return "untrue"
        case Verdict.OPEN if decision.n < FEWEST_SEEDS and decision.agree in (0, decision.n):
            return "true" if decision.agree else "untrue"
        case Verdict.OPEN:
            return "open"
        case Verdict.NOT_JUDGED if decision.reason and decision.reason.why is Why.RATES_DIFFER:
            error = decision.comparisons[0].estimate
            return "dearer" if error.mean < 0 else "cheaper"
    return ""


def where(results: Results, decisions: Sequence[Decision]) -> str:
    """On which data sets; nothing where there is but one."""
    every = len(results.plan["datasets"])
    if every == 1:
        return ""
    if len(decisions) == every > 2:
        return f" on all {every} data sets"
    return f" on {escape(joined([results.title(one.dataset) for one in decisions]))}"


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
            Cell(several[0].claim.claim, link=f"#{anchor(several[0].claim)}"),
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
