"""The numbers as files: a few for `dvc metrics`, all of them as one table, and two small tables for `dvc plots`."""

from __future__ import annotations

from typing import Any

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
    files.write_text(paths.all_measures, results.table.to_csv(index=False, lineterminator="\n"))


def metrics(results: Results) -> dict[str, Any]:
    """Data set → variant → headline measure → the mean of its seeds."""
    table = results.table[results.table["row"].isin(list(results.rows))]
    means = table[table["measure"].isin(HEADLINE)].groupby(["dataset", "variant", "measure"])["value"].mean()
    content: dict[str, Any] = {dataset: {} for dataset in results.plan["datasets"]}
    for row in results.rows.values():
        found = means.loc[row.dataset, row.variant]
        content[row.dataset][row.variant] = {key: float(found[key]) for key in HEADLINE if key in found}
    return content
