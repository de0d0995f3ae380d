"""The first screen: findings in sentences and verdicts at a glance; further below, the verdicts in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.report import balance, codebooks, summary
from pipeline.report.evidence import published, wording
from pipeline.report.evidence.decisions import Decision, Published, Verdict
from pipeline.report.evidence.published import Meeting
from pipeline.report.read import Results, Row
from pipeline.report.summary import NONE
from pipeline.report.tables import link, table

MANY = 3  # data sets, from which on the first screen leaves numbers to the verdicts in full


def findings(results: Results, decisions: Sequence[Decision]) -> str:
    """What was found, one line per data set, from this run's numbers."""
    return "\n".join(finding(results, decisions, dataset) for dataset in results.plan["datasets"])


def finding(results: Results, decisions: Sequence[Decision], dataset: str) -> str:
    """A data set's errors, how many claims hold, which do not, and how many published numbers were met."""
    rows = {row.variant: row for row in results.of(dataset)}
    errors = [short(rows[variant]) for variant in ("lattice", "vq", "vq_ema") if variant in rows]
    sentences = [f"**[{results.title(dataset)}](#{dataset}).**"]
    if errors:
        sentences.append(f"Error (MSE on test): {'; '.join(errors)}.")
    sentences += codebooks_in_short(results, dataset)
    here = [decision for decision in decisions if decision.dataset == dataset and decision.claim.origin == "paper"]
    counts = {verdict: sum(decision.verdict is verdict for decision in here) for verdict in Verdict}
    counted = ", ".join(f"{wording.WORDS[verdict]}: {count}" for verdict, count in counts.items() if count)
    sentences.append(f"Of {len(here)} claims of the papers, {counted}.")
    many = len(results.plan["datasets"]) >= MANY
    failed = [decision.claim.claim for decision in here if decision.verdict is Verdict.FAILS]
    if failed:
        sentences.append(f"Not found here: {'; '.join(failed)}.")
    checked = [meeting for meeting in published.meetings(results) if meeting.row.dataset == dataset]
    if checked:
        sentences.append(meeting_in_short(checked))
    audited = audit_in_short(rows)
    if audited and not many:
        sentences.append(f"From the [audit](#audit): {'; '.join(audited)}.")
    return "- " + " ".join(sentences)


def codebooks_in_short(results: Results, dataset: str) -> list[str]:
    """The best fixed codebook of one capacity, and the adaptive quantizer beside it."""
    fixed, adaptive = codebooks.family(results, dataset)
    best = balance.best_fixed(fixed) if len(fixed) > 1 else None
    if best is None:
        return []
    beside = f"; {short(adaptive)}" if adaptive else ""
    return [f"Of {len(fixed)} codebooks [N, D] of one capacity, the lowest mean error: {short(best)}{beside}."]


def meeting_in_short(checked: Sequence[Meeting]) -> str:
    counts = {answer: sum(meeting.answer is answer for meeting in checked) for answer in wording.ANSWERS}
    counted = ", ".join(f"{wording.ANSWERS[answer]}: {count}" for answer, count in counts.items())
    return f"Of {len(checked)} [published numbers](#met), {counted}."


def audit_in_short(rows: Mapping[str, Row]) -> list[str]:
    """The two findings of the audit that bear most on the claims: the lattice's ramp, and the counts of VQ-EMA."""
    sentences = []
    off = summary.of(rows["lattice"], "spacing_off_ramp") if "lattice" in rows else None
    if off:
        sentences.append(
            f"every spacing of the lattice ends within {summary.write(off, 4)} of its start plus the steps taken"
        )
    frozen, moved = (
        summary.of(rows["vq_ema"], key) if "vq_ema" in rows else None for key in ("codes_in_use", "codes_moving")
    )
    if frozen and moved:
        batches = int(rows["vq_ema"].pictures["moving_batches"][-1])
        sentences.append(
            f"VQ-VAE (EMA) uses {summary.write(frozen, 0)} codes with the model frozen, and {summary.write(moved, 0)} "
            f"are counted over {batches} batches in training mode"
        )
    return sentences


def short(row: Row) -> str:
    error, bits = summary.number(row, "test_mse"), summary.write(summary.of(row, "bits_per_latent"), 1)
    return f"{row.title} {error} at {bits} bits per latent"


def glance(results: Results, decisions: Sequence[Decision]) -> str:
    """A line per claim, a column per data set."""
    datasets = results.plan["datasets"]
    lines = [
        [
            f"[`{claim}`](#verdicts)",
            several[0].claim.claim,
            wording.place(several[0].claim) + (" (ours)" if several[0].claim.origin == "ours" else ""),
            *(mark(decision, results, len(datasets) < MANY) for decision in several),
        ]
        for claim, several in by_claim(decisions).items()
    ]
    heads = ["", "claim", "where in the paper"]
    heads += [f"{results.title(name)} ({seeds(results, name)})" for name in datasets]
    return table(heads, lines, left=len(heads))


def by_claim(decisions: Sequence[Decision]) -> dict[str, list[Decision]]:
    groups: dict[str, list[Decision]] = {}
    for decision in decisions:
        groups.setdefault(decision.claim.id, []).append(decision)
    return groups


def mark(decision: Decision, results: Results, in_full: bool) -> str:
    """A verdict, and in full the reason why there is none, or its numbers."""
    word = wording.word(decision)
    text = wording.reason(decision, results) or wording.numbers(decision, results)
    return f"{word}: {text}" if in_full else word


def published_text(numbers: Sequence[Published], dataset: str) -> str:
    """Published numbers in a cell, with their data set where it is another."""
    text = " against ".join(f"{summary.plain(number.value)} {number.unit}".rstrip() for number in numbers)
    other = numbers[0].dataset if numbers and numbers[0].dataset != dataset else ""
    return (f"{text} on {other}" if other else text) or NONE


def seeds(results: Results, dataset: str) -> str:
    """How many seeds the rows of a data set have."""
    counts = {len(row.seeds) for row in results.of(dataset)}
    return f"n = {min(counts)}" if len(counts) == 1 else f"n = {min(counts)} to {max(counts)}"


def full(results: Results, decisions: Sequence[Decision], paper: str) -> str:
    """A line per claim of a paper and data set."""
    lines = [
        [
            f"`{decision.claim.id}`",
            decision.claim.claim,
            f"[{results.title(decision.dataset)}](#{decision.dataset})",
            published_text(decision.published, decision.dataset),
            wording.sentence(decision, results),
        ]
        for decision in decisions
        if decision.paper == paper
    ]
    return table(["", "claim", "data set", "published", "verdict"], lines, left=5)


def rules(decisions: Sequence[Decision]) -> str:
    """How each kind of test decides, and which claims it decides."""
    kinds: dict[str, dict[str, None]] = {}
    for decision in decisions:
        kinds.setdefault(wording.rule(decision.claim.test), {})[f"`{decision.claim.id}`"] = None
    return "\n".join(f"- {', '.join(claims)}: {rule}" for rule, claims in kinds.items())


def met_table(results: Results) -> str:
    """Published numbers and whether they were met; empty where no data set of the plan has any."""
    lines = []
    for meeting in published.meetings(results):
        measure = meeting.row.measure(meeting.measured.measure)
        cells = [
            results.title(meeting.row.dataset),
            link(meeting.row),
            measure.title + (", recounted" if meeting.recount else ""),
            summary.plain(meeting.published),
            summary.number(meeting.row, measure.key),
            str(meeting.measured.n),
            f"{meeting.measured.mean / meeting.published:.2f}",
            wording.ANSWERS[meeting.answer],
        ]
        lines.append(cells)
    heads = ["data set", "model", "number", "published", "measured", "n", "measured / published", ""]
    return table(heads, lines, left=3) if lines else ""
