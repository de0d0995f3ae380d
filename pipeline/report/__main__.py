"""The stage `report`: results → reports/report.md and .html, reports/figures/, reports/metrics.json."""

from __future__ import annotations

from pipeline.core import cli, files
from pipeline.core.paths import Paths
from pipeline.report import figures, summary
from pipeline.report.evidence.claims import judge
from pipeline.report.evidence.decisions import record
from pipeline.report.html import to_html
from pipeline.report.page import page
from pipeline.report.read import read_results


def main(paths: Paths = Paths()) -> None:
    """Read everything, draw, then write; an error leaves the old report whole.

    Raises:
        UserError: a row is missing or stale.
    """
    results = read_results(paths)
    decisions = judge(results)
    with files.replacing(paths.figures) as folder:
        pictures = figures.draw_all(results, folder)
    files.write_json(paths.metrics, summary.metrics(results))
    files.write_json(paths.decisions, [record(decision) for decision in decisions])
    text = page(results, decisions, pictures)
    files.write_text(paths.page, to_html(text, results))
    files.write_text(paths.report, text)
    cli.log.info("%d rows reported in %s", len(results.rows) + len(results.swept), paths.report)


if __name__ == "__main__":
    cli.run(main)
