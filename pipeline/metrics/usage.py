"""How the codes are used."""

from __future__ import annotations


def utilization(in_use: int, num_codes: int) -> float:
    """Codes in use as a share of K. A lattice has no bound at K: its share can exceed 1."""
    return in_use / num_codes
