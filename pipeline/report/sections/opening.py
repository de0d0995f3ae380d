"""What the report is about, and what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.report import summary
from pipeline.report.blocks import Text, bullets, escape, paragraph
from pipeline.report.evidence import wording
from pipeline.report.evidence.claims import judge
from pipeline.report.evidence.decisions import Decision, Verdict
from pipeline.report.evidence.published import meetings
from pipeline.report.results import Results, Row
from pipeline.report.sections import balance
from pipeline.report.sections.of_a_dataset import codebooks

TITLE = "What was found"


def section(results: Results) -> Iterator[Text]:
    names = [escape(results.title(name)) for name in results.plan["datasets"]]
    datasets = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    paper = results.papers["ll_vq_vae"]
    yield paragraph(f"""An autoencoder with a quantizer turns an image into a few integers and back. This report
        compares quantizers on {datasets}: how well images come back, how many codes are used, how many bits they carry
        and how long training takes. It follows [{paper["title"]}]({paper["url"]}) and sets its published numbers beside
        the measured ones. Everything below was computed from the result files of this run; the [glossary](#glossary)
        explains the terms.""")
    decisions = judge(results)
    yield bullets([finding(results, decisions, dataset) for dataset in results.plan["datasets"]])


def finding(results: Results, decisions: Sequence[Decision], dataset: str) -> str:
    """A data set's errors, how many claims hold, which do not, and how many published numbers were met."""
    rows = results.by_variant(dataset)
    errors = [short(rows[variant]) for variant in ("lattice", "vq", "vq_ema") if variant in rows]
    sentences = [f"**[{escape(results.title(dataset))}](#{dataset}).**"]
    if errors:
        sentences.append(f"Error (MSE on test): {'; '.join(errors)}.")
    sentences += codebooks_in_short(results, dataset)
    here = [decision for decision in decisions if decision.dataset == dataset and decision.claim.origin == "paper"]
    counts = {verdict: sum(decision.verdict is verdict for decision in here) for verdict in Verdict}
    counted = ", ".join(f"{wording.WORDS[verdict]}: {count}" for verdict, count in counts.items() if count)
    sentences.append(f"Of {len(here)} claims of the papers, {counted}.")
    failed = [escape(decision.claim.claim) for decision in here if decision.verdict is Verdict.FAILS]
    if failed:
        sentences.append(f"Not found here: {'; '.join(failed)}.")
    answers = [meeting.answer for meeting in meetings(results) if meeting.row.dataset == dataset]
    if answers:
        counted = ", ".join(f"{word}: {answers.count(answer)}" for answer, word in wording.ANSWERS.items())
        sentences.append(f"Of {len(answers)} [published numbers](#met), {counted}.")
    audited = audit_in_short(rows)
    if audited:
        sentences.append(f"From the [audit](#audit): {'; '.join(audited)}.")
    return " ".join(sentences)


def codebooks_in_short(results: Results, dataset: str) -> list[str]:
    """The best fixed codebook of one capacity, and the adaptive quantizer beside it."""
    fixed, adaptive = codebooks.family(results, dataset)
    best = balance.best_fixed(fixed) if len(fixed) > 1 else None
    if best is None:
        return []
    beside = f"; {short(adaptive)}" if adaptive else ""
    return [f"Of {len(fixed)} codebooks [N, D] of one capacity, the lowest mean error: {short(best)}{beside}."]


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
    return f"{escape(row.title)} {error} at {bits} bits per latent"
