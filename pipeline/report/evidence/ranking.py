"""Which of several rows is best, and which others the seeds do not tell apart from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.evidence.claims import NotDecidableError, compare, region
from pipeline.report.evidence.statistics import FEWEST_SEEDS, LEVEL, holm, of_row
from pipeline.report.results import Row


@dataclass(frozen=True)
class Ranking:
    """
    Attributes:
        rows: all that have the measure, the best mean first.
        close: of the others, those that the paired intervals do not tell apart from the best.
        enough: whether every row has the seeds that an interval needs.
    """

    rows: tuple[Row, ...]
    close: tuple[Row, ...]
    enough: bool

    @property
    def best(self) -> Row:
        return self.rows[0]

    @property
    def decided(self) -> bool:
        return len(self.rows) > 1 and not self.close


def rank(rows: Sequence[Row], measure: str, side: str = "below") -> Ranking | None:
    """Rows by their means; None where none has the measure.

    The best is compared with each other row, paired by seed, with Holm's correction over the others.

    Args:
        rows: all with a learning rate that falls, or none.
        side: below: the lowest is best; above: the highest.
    """
    means = {row.name: found.mean for row in rows if (found := of_row(row, measure))}
    sign = 1 if side == "below" else -1
    ranked = sorted((row for row in rows if row.name in means), key=lambda row: sign * means[row.name])
    if not ranked:
        return None
    best, *others = ranked
    p_values = holm([p_better(best, row, measure, side) for row in others])
    close = tuple(row for row, p in zip(others, p_values, strict=True) if p > LEVEL)
    return Ranking(tuple(ranked), close, all(len(row.values(measure)) >= FEWEST_SEEDS for row in ranked))


def p_better(best: Row, other: Row, measure: str, side: str) -> float:
    """Of the best row's being better than another; 1 where too few seeds were measured with both."""
    try:
        found = compare(best, other, measure, region(side, None, "difference"))
    except NotDecidableError:
        return 1.0
    return found.p_holds if found.estimate.n >= FEWEST_SEEDS else 1.0
