"""The verb `report`: results → reports/report.md and .html, reports/figures/, reports/metrics.json."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import cli, files
from pipeline.report import figures, summary
from pipeline.report.html import to_html
from pipeline.report.page import page
from pipeline.report.read import read_results


def main(root: Path = Path()) -> None:
    """Read everything, draw, then write; a refusal leaves the old report whole.

    Raises:
        UserError: a row is missing or stale.
    """
    results = read_results(root)
    reports = root / "reports"
    with files.replacing(reports / "figures") as folder:
        pictures = figures.draw_all(results, folder)
    files.write_json(reports / "metrics.json", summary.metrics(results))
    text = page(results, pictures)
    files.write_text(reports / "report.html", to_html(text, results, reports))
    files.write_text(reports / "report.md", text)
    cli.log.info("%d rows reported in %s", len(results.rows), reports / "report.md")


if __name__ == "__main__":
    cli.run(main)
