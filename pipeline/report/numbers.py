"""The numbers as files: a few for `dvc metrics`, one per row for `dvc plots`, and all of them as one table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.core import files
from pipeline.core.paths import Paths
from pipeline.report.evidence.claims import judge
from pipeline.report.evidence.decisions import record
from pipeline.report.results import Results

HEADLINE = ("test_mse", "codes_in_use", "bits_per_latent")
"""The measures of reports/metrics.json."""


def write(results: Results, paths: Paths) -> None:
    files.write_json(paths.metrics, metrics(results))
    files.write_json(paths.decisions, [record(decision) for decision in judge(results)])
    for path, table in ((paths.all_measures, results.table), (paths.plots, plots(results))):
        files.write_text(path, table.to_csv(index=False, lineterminator="\n"))


def metrics(results: Results) -> dict[str, Any]:
    """Data set → variant → headline measure → the mean of its seeds."""
    means = results.table.groupby(["dataset", "variant", "measure"])["value"].mean()
    content: dict[str, Any] = {dataset: {} for dataset in results.plan["datasets"]}
    for row in results.rows.values():
        found = means.loc[row.dataset, row.variant]
        content[row.dataset][row.variant] = {key: float(found[key]) for key in HEADLINE if key in found}
    return content


def plots(results: Results) -> pd.DataFrame:
    """Row, title and, of its seeds, the means of rate and error, and the least and the largest error."""
    lines = []
    for row in results.rows.values():
        rates, errors = row.values("bits_per_latent"), row.values("test_mse")
        if rates and errors:
            spread = {"test_mse": sum(errors) / len(errors), "least": min(errors), "largest": max(errors)}
            lines.append({"row": row.name, "title": row.title, "bits_per_latent": sum(rates) / len(rates), **spread})
    return pd.DataFrame(lines)
