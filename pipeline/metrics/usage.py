"""How the codes are used. A lattice has no dead codes, but dimensions in which its codes take several values."""

from __future__ import annotations

from pipeline.metrics import Measure, Measured
from pipeline.metrics.counting import collision_bound


def _utilization(measured: Measured) -> float:
    """Codes in use as a share of K. A lattice has no bound at K: its share can exceed 1."""
    return measured.fitted.distinct / measured.quantizer.num_codes


def _dead_codes(measured: Measured) -> int | None:
    size = measured.quantizer.codebook_size()
    return None if size is None else size - measured.fitted.distinct


def _active_dimensions(measured: Measured) -> int | None:
    return None if measured.quantizer.codebook_size() is not None else measured.fitted.active_dimensions


def _collision_bound(measured: Measured) -> float | None:
    largest = measured.fitted.largest
    return None if largest is None else collision_bound(measured.fitted.distinct, largest)


def _counting_seconds(measured: Measured) -> float:
    """Also of the last sorting, which the first question for the count starts."""
    return measured.fitted.seconds if measured.fitted.distinct else 0.0


MEASURES = [
    Measure(
        "codes_in_use", "codes in use", lambda m: m.fitted.distinct, decimals=0, split="train+val", published="codes"
    ),
    Measure("codes_in_use_test", "codes in use, test", lambda m: m.tested.distinct, decimals=0, split="test"),
    Measure("utilization", "utilization", _utilization, "%", 100.0, 1, better="higher", split="train+val"),
    Measure("perplexity", "perplexity", lambda m: m.tested.perplexity(), decimals=1, split="test"),
    Measure("dead_codes", "dead codes", _dead_codes, decimals=0, better="lower", split="train+val"),
    Measure("active_dimensions", "active dimensions", _active_dimensions, decimals=1, split="train+val"),
    Measure("codes_counted", "codes counted", lambda m: m.fitted.total, decimals=0, split="train+val"),
    Measure("codes_collision_bound", "probability of a miscount, at most", _collision_bound, split="train+val"),
    Measure("counting_seconds", "time to count codes", _counting_seconds, "s", decimals=2, split="train+val"),
]
