"""Student's intervals, p values, effect sizes and Holm's correction, of numbers paired by seed."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from pipeline.report.results import Row

LEVEL = 0.05
"""Two-sided: intervals are those of 95 %, and a decision needs a p value of at most this."""
FEWEST_SEEDS = 3
"""With fewer, an interval decides nothing."""
MOST_SEEDS = 30
"""`seeds_needed` is MOST_SEEDS + 1 where more are needed."""
Form = Literal["value", "difference", "ratio"]


@dataclass(frozen=True)
class Estimate:
    """What the seeds give.

    Attributes:
        measure: key of the measure.
        form: what the values are: the measure itself, or a paired difference or ratio of two rows.
        values: seed → value.

    Ratios are treated on a logarithmic scale, so that a/b and b/a are decided alike: their mean is the geometric mean,
    and `low` and `high` lie at equal factors from it.
    """

    measure: str
    form: Form
    values: Mapping[int, float]

    @property
    def n(self) -> int:
        return len(self.values)

    @functools.cached_property
    def mean(self) -> float:
        return self._unscaled(self.centre)

    @functools.cached_property
    def low(self) -> float:
        """Lower end of Student's 95 % interval of the mean; −inf (0 for a ratio) with one seed."""
        return self._unscaled(self.centre - self.half_width)

    @functools.cached_property
    def high(self) -> float:
        """Upper end of the interval; inf with one seed."""
        return self._unscaled(self.centre + self.half_width)

    @functools.cached_property
    def scaled(self) -> list[float]:
        """The values, as logarithms for ratios."""
        return [self.scale(value) for value in self.values.values()]

    @functools.cached_property
    def centre(self) -> float:
        """Mean of the scaled values."""
        return statistics.fmean(self.scaled)

    @functools.cached_property
    def std(self) -> float | None:
        """Standard deviation (n − 1) of the scaled values; None for one seed."""
        return statistics.stdev(self.scaled) if self.n > 1 else None

    @functools.cached_property
    def half_width(self) -> float:
        """Half the 95 % interval, scaled."""
        return math.inf if self.std is None else half_width(self.std, self.n, LEVEL)

    def scale(self, value: float) -> float:
        if self.form != "ratio":
            return value
        return math.log(value) if value > 0 else -math.inf

    def _unscaled(self, value: float) -> float:
        return math.exp(value) if self.form == "ratio" else value


def of_row(row: Row, measure: str) -> Estimate | None:
    """What a row's seeds measured; None where none has a number."""
    found = row.by_seed(measure)
    values = dict(zip(found.index.tolist(), found.tolist(), strict=True))
    return Estimate(measure, "value", values) if values else None


@dataclass(frozen=True)
class Region:
    """Where a claim says that a value lies: between low and high, which are infinite (0 and inf for ratios) for a side.

    Attributes:
        closed: the bounds belong to it.
    """

    low: float
    high: float
    closed: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high if self.closed else self.low < value < self.high


@dataclass(frozen=True)
class Comparison:
    """An estimate beside the region that a claim states.

    Attributes:
        variant: the row.
        against: the other row; `first epoch` of the same; for a statement on each seed None, or what it is relative to.
        estimate: of `variant` minus, or divided by, `against`.
        chosen_from: how many rows `variant` and `against` were each chosen from, as the best by its mean.
        by_seed: the claim is about each seed by itself, not about their mean.
    """

    variant: str
    against: str | None
    estimate: Estimate
    region: Region
    chosen_from: tuple[int, int] = (1, 1)
    by_seed: bool = False

    @property
    def agree(self) -> int:
        """How many seeds lie in the region."""
        return sum(value in self.region for value in self.estimate.values.values())

    @property
    def p_holds(self) -> float:
        """Two-sided p value of the mean's lying in the region: at most 0.05 where the 95 % interval does as a whole.

        1 for one seed, which is no evidence.
        """
        low, high = self._bounds
        return min(1.0, 2 * max(self._below(high, self.region.closed), 1 - self._below(low, not self.region.closed)))

    @property
    def p_fails(self) -> float:
        """The same of the mean's lying outside the region."""
        low, high = self._bounds
        return min(1.0, 2 * min(self._below(low, not self.region.closed), 1 - self._below(high, self.region.closed)))

    @property
    def effect(self) -> float | None:
        """Cohen's d_z: how many standard deviations of the paired values the mean lies inside the region.

        Negative outside. To the nearest bound; of logarithms for ratios. None without any spread.
        """
        return self._margin / self.estimate.std if self.estimate.std else None

    def seeds_needed(self, level: float = LEVEL) -> int | None:
        """The smallest number of seeds whose interval would lie on one side, if mean and deviation stay as they are.

        Args:
            level: 1 − the interval's confidence.

        Returns:
            MOST_SEEDS + 1 where more are needed; None with one seed, which shows no deviation.
        """
        if self.estimate.std is None:
            return None
        level /= self.chosen_from[self._margin < 0]
        for n in range(FEWEST_SEEDS, MOST_SEEDS + 1):
            if self.estimate.std == 0 or half_width(self.estimate.std, n, level) < abs(self._margin):
                return n
        return MOST_SEEDS + 1

    @property
    def _bounds(self) -> tuple[float, float]:
        return self.estimate.scale(self.region.low), self.estimate.scale(self.region.high)

    @property
    def _margin(self) -> float:
        """How far inside the region the mean lies, scaled."""
        low, high = self._bounds
        return min(high - self.estimate.centre, self.estimate.centre - low)

    def _below(self, bound: float, closed: bool) -> float:
        """One-sided p value of the mean's lying below the bound, or on it if `closed`, which matters without spread."""
        centre, std, n = self.estimate.centre, self.estimate.std, self.estimate.n
        if math.isinf(bound) or std == 0:
            return float(not (centre < bound or (closed and centre == bound)))
        return 0.5 if std is None else float(stats.t.cdf((centre - bound) / (std / math.sqrt(n)), n - 1))


def half_width(std: float, n: int, level: float) -> float:
    """Half of Student's interval of the mean of n values at a confidence of 1 − level."""
    return std / math.sqrt(n) * float(stats.t.ppf(1 - level / 2, n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (S. Holm, Scandinavian Journal of Statistics 6, 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
