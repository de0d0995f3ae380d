"""The stage `report`: results → reports/report.md and .html, reports/figures/, and the numbers as JSON and CSV."""

from __future__ import annotations

import argparse

from pipeline.core import cli, files
from pipeline.core.paths import Paths
from pipeline.report import compare, drawing, numbers
from pipeline.report.blocks import Figure, parts_of
from pipeline.report.render import html, markdown
from pipeline.report.results import read_results
from pipeline.report.sections import sections

TITLE = "Vector quantization in autoencoders: what was measured"


def main(paths: Paths = Paths()) -> None:
    """Read everything, draw, then write; an error leaves the old report whole.

    Raises:
        UserError: a row is missing or stale, or another process writes the report.
    """
    with files.alone(paths.checkpoints / "report.lock", "the report is being written"):
        write(paths)


def write(paths: Paths) -> None:
    results = read_results(paths)
    found = sections(results)
    with files.replacing(paths.figures) as folder:
        drawing.write_all([part for part in parts_of(found) if isinstance(part, Figure)], folder)
    numbers.write(results, paths)
    settings = {name: paths.row_settings(name).read_text(encoding="utf-8") for name in (*results.rows, *results.swept)}
    files.write_text(paths.page, html.render(TITLE, found, paths.figures, settings))
    files.write_text(paths.report, markdown.render(TITLE, found))
    cli.log.info("%d rows reported in %s", len(settings), paths.report)


def command() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--against",
        metavar="REPORT",
        help="write what changed since the report of a folder or of a git revision, to reports/compared.md",
    )
    against = parser.parse_args().against
    if against is None:
        main()
    else:
        compare.write(against, Paths())


if __name__ == "__main__":
    cli.run(command)
