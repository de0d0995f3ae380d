"""The first screen: findings in sentences and verdicts at a glance; further below, the verdicts in full."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from scipy import stats

from pipeline.report import claims, summary
from pipeline.report.blocks import Cell, Line, Table, escape, markdown, table
from pipeline.report.claims import FAILS, HOLDS, OPEN, Verdict
from pipeline.report.describe import link
from pipeline.report.results import Results, Row
from pipeline.report.sections import balance
from pipeline.report.sections.of_a_dataset import codebooks
from pipeline.report.summary import NONE

MARKS = {HOLDS: "holds", FAILS: "**does not hold**", OPEN: "not judged"}
MANY = 3  # data sets, from which on the first screen leaves numbers to the verdicts in full
LACKS = {"seeds": "open", "rows": "not run"}


def findings(results: Results, verdicts: Sequence[Verdict]) -> str:
    """What was found, one line per data set, from this run's numbers."""
    return "\n".join(finding(results, verdicts, dataset) for dataset in results.plan["datasets"])


def finding(results: Results, verdicts: Sequence[Verdict], dataset: str) -> str:
    """A data set's errors, how many claims hold, which do not, and how many published numbers were met."""
    rows = {row.variant: row for row in results.of(dataset)}
    errors = [short(rows[variant]) for variant in ("lattice", "vq", "vq_ema") if variant in rows]
    sentences = [f"**[{escape(results.title(dataset))}](#{dataset}).**"]
    if errors:
        sentences.append(f"Error (MSE on test): {'; '.join(errors)}.")
    sentences += codebooks_in_short(results, dataset)
    here = [verdict for verdict in verdicts if verdict.dataset == dataset and verdict.claim.get("origin") != "ours"]
    sentences.append(count_in_short(here, max(len(row.seeds) for row in rows.values())))
    many = len(results.plan["datasets"]) >= MANY
    failed = [
        verdict.number if many else f"{verdict.claim['claim']} ({verdict.number})"
        for verdict in here
        if verdict.judged.verdict == FAILS
    ]
    if failed and many:
        sentences.append(f"Not found here: {', '.join(failed)}.")
    elif failed:
        sentences.append(f"Not found here: {'; '.join(failed)}.")
    checked = list(meetings(results, dataset))
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


def count_in_short(here: Sequence[Verdict], seeds: int) -> str:
    """How many claims hold, do not, and have no verdict for which reason."""
    count = {name: sum(verdict.judged.verdict == name for verdict in here) for name in (HOLDS, FAILS)}
    sentences = [f"{count[HOLDS]} {'holds' if count[HOLDS] == 1 else 'hold'} here"]
    sentences.append(f"{count[FAILS]} {'does' if count[FAILS] == 1 else 'do'} not")
    deciding = "1 seed does" if seeds == 1 else f"{seeds} seeds do"
    for name, (single, several) in REASONS.items():
        count_open = sum(verdict.judged.verdict == OPEN and verdict.judged.lacks == name for verdict in here)
        if count_open:
            sentences.append(f"{count_open} {(single if count_open == 1 else several).format(seeds=deciding)}")
    return f"Of {len(here)} claims of the papers, {', '.join(sentences[:-1])} and {sentences[-1]}."


REASONS = {  # what a verdict lacks → for one claim, for several
    "seeds": ("is open, since {seeds} not decide it", "are open, since {seeds} not decide them"),
    "": ("cannot be judged from what was measured", "cannot be judged from what was measured"),
    "rows": ("needs rows that were not run", "need rows that were not run"),
}


def meeting_in_short(checked: Sequence[Meeting]) -> str:
    count = {answer: sum(meeting.met == answer for meeting in checked) for answer in ("yes", "no", "not judged")}
    return (
        f"Of {len(checked)} published numbers, [met](#met): {count['yes']}, not met: {count['no']}, "
        f"not judged: {count['not judged']}."
    )


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


def glance(results: Results, verdicts: Sequence[Verdict]) -> Table:
    """A line per claim, a column per data set."""
    datasets = results.plan["datasets"]
    by_number: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_number.setdefault(verdict.number, []).append(verdict)
    lines: list[Line] = []
    for number, several in by_number.items():
        claim = several[0].claim
        ours = " (ours)" if claim.get("origin") == "ours" else ""
        lines.append(
            [
                Cell(number, link="#verdicts"),
                markdown(claim["claim"]),
                claim["source"] + ours,
                *(markdown((brief_mark if len(datasets) >= MANY else mark)(verdict)) for verdict in several),
            ]
        )
    heads = [
        "",
        "claim",
        "where in the paper",
        *(f"{results.title(name)} ({seeds(results, name)})" for name in datasets),
    ]
    return table(heads, lines, left=len(heads))


def mark(verdict: Verdict) -> str:
    """A verdict with its numbers, or with the reason why there is none, and the published numbers."""
    text = word(verdict) + (f" ({why(verdict)})" if verdict.judged.why else "")
    published = f" (published: {verdict.published})" if verdict.published != NONE else ""
    return text + (f": {verdict.brief}" if verdict.brief else "") + published


def brief_mark(verdict: Verdict) -> str:
    """A verdict alone, or how many seeds agree."""
    if verdict.judged.lacks != "seeds":
        return word(verdict)
    agree = re.match(r"\d+ of \d+", verdict.judged.why)
    return f"{word(verdict)}, {agree.group()}" if agree else word(verdict)


def word(verdict: Verdict) -> str:
    """holds, does not hold, or what is lacking."""
    judged = verdict.judged
    return LACKS.get(judged.lacks, MARKS[OPEN]) if judged.verdict == OPEN else MARKS[judged.verdict]


def why(verdict: Verdict) -> str:
    """The reason in the fewest words; the text below the table explains them."""
    if verdict.judged.lacks == "rows":
        return verdict.judged.why.removesuffix(" is not in the grid")
    return verdict.judged.why.removesuffix(claims.UNDECIDED).partition(": ")[0]


def seeds(results: Results, dataset: str) -> str:
    """How many seeds the rows of a data set have."""
    counts = {len(row.seeds) for row in results.of(dataset)}
    return f"n = {min(counts)}" if len(counts) == 1 else f"n = {min(counts)} to {max(counts)}"


def full(results: Results, verdicts: Sequence[Verdict], paper: str) -> Table:
    """A line per claim of a paper and data set; a claim that was judged nowhere for one reason has one line."""
    lines: list[Line] = []
    for number, several in grouped(verdicts, paper).items():
        reasons = {(verdict.judged.verdict, verdict.judged.measured, verdict.judged.why) for verdict in several}
        alike = len(several) > 1 and len(reasons) == 1 and several[0].judged.verdict == OPEN
        for verdict in several[:1] if alike else several:
            where = Cell("all") if alike else Cell(results.title(verdict.dataset), link=f"#{verdict.dataset}")
            text = word(verdict) + (f": {verdict.judged.why}" if verdict.judged.why else "")
            claim, measured = markdown(verdict.claim["claim"]), markdown(verdict.judged.measured)
            lines.append([number, claim, where, verdict.published, measured, markdown(text)])
    return table(["", "claim", "data set", "published", "measured", "verdict"], lines, left=6)


def grouped(verdicts: Sequence[Verdict], paper: str) -> dict[str, list[Verdict]]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.paper == paper:
            groups.setdefault(verdict.number, []).append(verdict)
    return groups


def rules(verdicts: Sequence[Verdict]) -> str:
    """How each kind of test decides, and which claims it decides."""
    kinds: dict[str, list[str]] = {}
    for verdict in verdicts:
        numbers = kinds.setdefault(claims.rule(verdict.claim["test"]), [])
        if verdict.number not in numbers:
            numbers.append(verdict.number)
    return "\n".join(f"- {', '.join(numbers)}: {rule}" for rule, numbers in kinds.items())


class Meeting(NamedTuple):
    """A published number beside the measured one."""

    row: Row
    name: str
    published: float
    measured: summary.Summary
    places: int | None
    reach: float

    @property
    def met(self) -> str:
        """yes, no, or not judged: one seed that is off by more than the rounding says nothing."""
        if abs(self.published - self.measured.mean) <= self.reach:
            return "yes"
        return "no" if self.measured.std is not None else "not judged"


def meetings(results: Results, dataset: str) -> Iterator[Meeting]:
    """Every published error and count of codes of a data set whose row was run."""
    paper = results.papers["ll_vq_vae"]
    published: Mapping[str, Any] = paper["results"].get(dataset, {"rows": {}})["rows"]
    recount = paper["recount"].get(dataset, {})
    for row in results.of(dataset):
        numbers = published.get(row.variant, {})
        kinds: list[tuple[str, str, float | None, int, int | None]] = [
            ("MSE, test", "test_mse", numbers.get("mse"), paper["seeds"], None),
            ("codes in use", "codes_in_use", numbers.get("codes"), paper["seeds"], 0),
            ("codes in use, recounted", "codes_in_use", recount.get(row.variant), 1, 0),
            ("parameters", "quantizer_parameters", numbers.get("parameters"), paper["seeds"], 0),
        ]
        for name, measure, number, seeds, places in kinds:
            measured = summary.of(row, measure)
            if number is not None and measured is not None:
                yield Meeting(row, name, number, measured, places, reach(number, seeds, measured))


def reach(published: float, seeds: int, measured: summary.Summary) -> float:
    """How far a mean of `seeds` other seeds may lie from the measured one: half the 95 % prediction interval.

    Half a unit of the last printed digit is added. One seed shows no spread: then that half unit is all.
    """
    _, _, printed = summary.plain(published).partition(".")
    rounding = 0.5 * 10.0 ** -len(printed)
    if measured.std is None:
        return rounding
    factor = float(stats.t.ppf(0.975, measured.n - 1))
    return rounding + factor * measured.std * math.sqrt(1 / measured.n + 1 / seeds)


def met_table(results: Results) -> Table | None:
    """Published numbers and whether they were met; empty where no data set of the plan has any."""
    lines: list[Line] = []
    for dataset in results.plan["datasets"]:
        for meeting in meetings(results, dataset):
            places = summary.decimals([meeting.measured.mean]) if meeting.places is None else meeting.places
            ratio = f"{meeting.measured.mean / meeting.published:.2f}" if meeting.published else NONE
            number = summary.write(meeting.measured, places)
            far = f"{meeting.reach:,.{places}f}" if meeting.measured.n > 1 else NONE
            cells = [summary.plain(meeting.published), number, str(meeting.measured.n), ratio, far, meeting.met]
            lines.append([results.title(dataset), link(meeting.row), meeting.name, *cells])
    heads = [
        "data set",
        "model",
        "number",
        "published",
        "measured",
        "n",
        "measured / published",
        "may differ by",
        "met",
    ]
    return table(heads, lines, left=3) if lines else None
