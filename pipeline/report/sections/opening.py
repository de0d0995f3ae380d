"""The answer: which quantizer is best by error, at equal rate and by codes in use, and where JPEG stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.report import jpeg, summary
from pipeline.report.blocks import Cell, Line, Table, Text, escape, markdown, paragraph, table
from pipeline.report.describe import few, joined
from pipeline.report.evidence.ranking import Ranking, rank
from pipeline.report.evidence.statistics import FEWEST_SEEDS
from pipeline.report.results import Results, Row
from pipeline.report.sections.rate import best_within, rate_of, regimes, saturated
from pipeline.report.summary import NONE

TITLE = "Which vector quantizer?"
SHARE = "utilization"


def section(results: Results) -> Iterator[Text | Table]:
    for dataset in results.plan["datasets"]:
        yield answer(results, dataset)
    yield paragraph(HOW_TO_READ)
    yield from too_few_seeds(results)
    papers = joined([f"[{paper['title']}]({paper['url']})" for paper in results.papers.values()])
    yield paragraph(f"""An autoencoder with a quantizer turns an image into a few integers and back. The rows of this
        report differ in nothing but the quantizer and its settings; it compares how well images come back, how many
        codes are used, how many bits they carry and how long training takes, and follows {papers}. Everything was
        computed from the result files of this run; the [glossary](#glossary) explains the terms.""")


HOW_TO_READ = """**Bold**: the seeds tell the row apart from every other. "Up to 5 bits": of the rows that need no more
bits per latent, this one has the lowest error. Rows whose learning rate falls as published are not ranked with the
others. A lattice has no fixed number of codes of which it could use a share."""


def answer(results: Results, dataset: str) -> Table:
    """A line per question, a column per kind of learning rate."""
    measure, points = results.measures["test_mse"], jpeg.of_dataset(results, dataset)
    columns = regimes(results, dataset)
    codebooks = [[row for row in rows if row.values("dead_codes")] for _, rows in columns]
    lines: list[Line] = [
        [f"lowest error ({measure.head})", *(best(rank(rows, measure.key), measure.key) for _, rows in columns)],
        ["lowest error at equal rate", *(at_equal_rate(rows) for _, rows in columns)],
        ["largest share of codes in use", *(best(rank(rows, SHARE, "above"), SHARE) for rows in codebooks)],
        ["JPEG at equal rate", *(beside_jpeg(rows, points) for _, rows in columns)],
    ]
    return table([results.title(dataset), *(title for title, _ in columns)], lines, left=1 + len(columns))


def best(ranking: Ranking | None, key: str) -> Cell:
    """The best row with its number, and those that are not told apart from it, or with too few seeds the next."""
    if ranking is None:
        return Cell(NONE)
    if ranking.decided:
        return markdown(f"**{named(ranking.best, key)}**")
    others = ranking.rows[1:2] if not ranking.enough else ranking.close
    if not others:
        return markdown(f"{named(ranking.best, key)}, the only row")
    if not ranking.enough:
        return markdown(f"{named(ranking.best, key)}; next {named(others[0], key)}")
    return markdown(
        f"{named(ranking.best, key)}; not told apart: {'; '.join(few([escape(row.title) for row in others]))}"
    )


def named(row: Row, key: str) -> str:
    """The row with its mean."""
    found, measure = summary.of(row, key), row.measure(key)
    places = measure.decimals
    if found is None:
        return escape(row.title)
    mean = measure.scale * found.mean
    number = f"{mean:.{summary.decimals([mean]) if places is None else places}f}"
    return f"{escape(row.title)} ({number}{' ' + measure.unit if measure.unit else ''})"


def at_equal_rate(rows: Sequence[Row]) -> Cell:
    """The best row up to each whole number of bits at which it is another."""
    steps = [
        f"up to {bits} bits: "
        + (f"**{escape(ranking.best.title)}**" if ranking.decided else escape(ranking.best.title))
        for bits, ranking in best_within(rows)
    ]
    return markdown("; ".join(steps) or NONE)


def beside_jpeg(rows: Sequence[Row], points: Sequence[jpeg.Point]) -> Cell:
    """At how many rows' rates JPEG has the lower error, and how many rows need fewer bits or more than JPEG does."""
    pairs = [(row, jpeg.error_at(points, bits)) for row in rows if (bits := per_pixel(row))]
    known = [(row, error) for row, error in pairs if error is not None]
    if not known:
        return Cell(NONE)
    lower = sum(error < found.mean for row, error in known if (found := summary.of(row, "test_mse")))
    beyond = len(pairs) - len(known)
    more = f"; {beyond} {'lies' if beyond == 1 else 'lie'} beyond its rates" if beyond else ""
    return Cell(f"lower error than {lower} of {len(known)} rows{more}", value=lower / len(known))


def per_pixel(row: Row) -> float | None:
    """Bits per pixel, the upper bound where the entropy is too low; None without a rate."""
    rate = summary.of(row, "bits_per_pixel")
    return (saturated(row) or rate.mean) if rate and rate_of(row) else None


def too_few_seeds(results: Results) -> Iterator[Text]:
    """Said once, for the whole report."""
    few_rows = [row for row in results.rows.values() if len(row.seeds) < FEWEST_SEEDS]
    if few_rows:
        which = "Every row was" if len(few_rows) == len(results.rows) else f"{len(few_rows)} rows were"
        most = max(len(row.seeds) for row in few_rows)
        seeds = "one seed" if most == 1 else f"{most} seeds"
        yield paragraph(f"""**Too few seeds to decide.** {which} trained with {seeds}; only from {FEWEST_SEEDS} on does
            an interval decide anything. What stands here is what these seeds show, and no more: name more in
            `grid.seeds`.""")
