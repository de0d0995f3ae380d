"""The papers' claims and published numbers, decided by computation on this run's numbers.

statistics  estimates over seeds, intervals, p values, effect sizes, Holm's correction
decisions   the objects that hold what was found: numbers, a verdict, a reason as a value
"""

from pipeline.report.evidence.decisions import Decision, Published, Reason, Verdict, Why
from pipeline.report.evidence.statistics import Comparison, Estimate, Region

__all__ = ["Comparison", "Decision", "Estimate", "Published", "Reason", "Region", "Verdict", "Why"]
