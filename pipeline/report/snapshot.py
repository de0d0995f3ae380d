"""Keep a report worth keeping: `python -m pipeline.report.snapshot` → reports/reference/<data sets>-<hardware>/.

A snapshot holds the report as markdown, its figures, its numbers and the settings of every row: small enough for git,
and readable there. One of the same data sets and hardware takes the place of an older one.
"""

from __future__ import annotations

import re
import shutil

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.report import numbers
from pipeline.report.results import Results, read_results


def main(paths: Paths = Paths()) -> None:
    """Copy the report that stands.

    Raises:
        UserError: there is none, or it does not show the results that stand.
    """
    results = read_results(paths)
    if not paths.report.is_file() or files.read_json(paths.metrics) != numbers.metrics(results):
        raise UserError("reports/report.md does not show the results that stand; run `dvc repro report` first.")
    target = paths.reference / name_of(results)
    with files.replacing(target) as folder:
        shutil.copytree(paths.figures, folder / "figures")
        shutil.copytree(paths.settings, folder / "settings")
        for path in (paths.report, paths.metrics, paths.all_measures, paths.decisions):
            shutil.copyfile(path, folder / path.name)
    cli.log.info("kept %s", target)


def name_of(results: Results) -> str:
    """Data sets and hardware, in letters that a path takes."""
    devices = dict.fromkeys(str(row.environment["device"]) for row in results.rows.values())
    names = [*results.plan["datasets"], *(re.sub(r"\((R|TM)\)", "", device) for device in devices)]
    return "-".join(re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-") for name in names)


if __name__ == "__main__":
    cli.run(main)
