"""What changed between two reports: `python -m pipeline.report --against <folder or git revision>` → compared.md.

Of each report it reads the settings, reports/decisions.json and reports/all_measures.csv: of a project folder, of one
that `make snapshot` kept, or as a git revision holds them. Older kept reports have metrics.json with means, deviations
and numbers of seeds instead, and no decisions.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from pipeline.core import cli, files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.report import summary
from pipeline.report.blocks import Block, Line, Section, Text, code, paragraph, table
from pipeline.report.evidence.decisions import Verdict
from pipeline.report.evidence.statistics import LEVEL
from pipeline.report.evidence.wording import WORDS
from pipeline.report.render import markdown
from pipeline.report.summary import Summary

CODE = "code."
"""Keys of a settings file that hold digests of source files."""


@dataclass(frozen=True)
class Kept:
    """A report's numbers.

    Attributes:
        settings: settings file → dotted key → value.
        verdicts: claim and data set → verdict and reason; None for a report that keeps none.
        measures: row and measure → what the seeds measured.
    """

    settings: dict[str, dict[str, Any]]
    verdicts: dict[tuple[str, str], str] | None
    measures: dict[tuple[str, str], Summary]


def write(against: str, paths: Paths) -> None:
    """Compare the report that stands with another one.

    Args:
        against: a folder, or else a git revision.

    Raises:
        UserError: there is no report in one of them.
    """
    if Path(against).is_dir():
        before = read(Path(against))
    else:
        with tempfile.TemporaryDirectory() as folder:
            extract(against, paths, Path(folder))
            before = read(Path(folder))
    after = read(paths.root)
    found = [
        Section("settings", "Settings", list(settings(before, after))),
        Section("verdicts", "Verdicts", list(verdicts(before, after))),
        Section("measures", "Measures", list(measures(before, after))),
    ]
    files.write_text(paths.compared, markdown.render(f"This report against {against}", found))
    cli.log.info("compared with %s in %s", against, paths.compared)


def extract(revision: str, paths: Paths, folder: Path) -> None:
    """Write the folder `reports` of a git revision under `folder`.

    Raises:
        UserError: there is no such folder or revision, or no report in it.
    """
    git = ["git", "-C", str(paths.root)]
    name = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    commit = subprocess.run([*git, *name], capture_output=True, text=True, check=False)
    if commit.returncode:
        raise UserError(f"--against is {revision!r}, which is neither a folder nor a git revision.")
    archive = subprocess.run([*git, "archive", commit.stdout.strip(), "reports"], capture_output=True, check=False)
    if archive.returncode:
        raise UserError(f"--against is {revision!r}, a git revision without a folder reports.")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")


def read(folder: Path) -> Kept:
    """The report in a project folder or in one that was kept.

    Raises:
        UserError: there is none.
    """
    home = folder / "reports" if (folder / "reports").is_dir() else folder
    stated = {
        path.relative_to(home / "settings").with_suffix("").as_posix(): flat(files.read_yaml(path))
        for path in sorted((home / "settings").rglob("*.yaml"))
        if path.name != "plan.yaml"
    }
    if not stated:
        raise UserError(f"{home} holds no report: settings/ is missing or empty; name a project or a kept report.")
    decisions = None
    if (home / "decisions.json").is_file():
        decisions = {
            (one["claim"], one["dataset"]): WORDS[Verdict(one["verdict"])]
            + (f" ({one['reason'].replace('_', ' ')})" if one["reason"] else "")
            for one in files.read_json(home / "decisions.json")
        }
    return Kept(stated, decisions, dict(numbers(home)))


def flat(content: Any, key: str = "") -> dict[str, Any]:
    """Dotted key → value."""
    if not isinstance(content, dict):
        return {key: content}
    return {name: value for part in content for name, value in flat(content[part], f"{key}.{part}".lstrip(".")).items()}


def numbers(home: Path) -> Iterator[tuple[tuple[str, str], Summary]]:
    """Row and measure → its summary.

    Raises:
        UserError: the report keeps no numbers.
    """
    if (home / "all_measures.csv").is_file():
        long = pd.read_csv(home / "all_measures.csv")
        for (dataset, variant, measure), values in long.groupby(["dataset", "variant", "measure"], sort=False)["value"]:
            found = summary.summarize(values.tolist())
            if found:
                yield (f"{dataset}-{variant}", str(measure)), found
    elif (home / "metrics.json").is_file():
        for dataset, variants in files.read_json(home / "metrics.json").items():
            for variant, kept in variants.items():
                yield from (((f"{dataset}-{variant}", key), Summary(**found)) for key, found in kept.items())
    else:
        raise UserError(f"{home} holds neither all_measures.csv nor metrics.json; run `dvc repro report` there first.")


def settings(before: Kept, after: Kept) -> Iterator[Block]:
    """Each change once, with the files that it is in."""
    old, new = before.settings, after.settings
    for words, only in {"Only before": old.keys() - new, "Only now": new.keys() - old}.items():
        if only:
            yield paragraph(f"{words}: {', '.join(f'`{name}`' for name in sorted(only))}.")
    changes: dict[tuple[str, str, str], list[str]] = {}
    for name in sorted(old.keys() & new):
        for key in {**old[name], **new[name]}:
            was, now = (str(stated[name].get(key, summary.NONE)) for stated in (old, new))
            if was != now:
                changes.setdefault((key, was, now), []).append(name)
    digests = sorted({key.removeprefix(CODE) for key, _, _ in changes if key.startswith(CODE)})
    if digests:
        yield paragraph(f"Code that numbers rest on differs: {', '.join(f'`{path}`' for path in digests)}.")
    lines: list[Line] = [
        [code(key), was, now, several(names)]
        for (key, was, now), names in sorted(changes.items())
        if not key.startswith(CODE)
    ]
    yield table(["setting", "before", "now", "in"], lines, left=4) if lines else Text("No setting differs.")


def several(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def verdicts(before: Kept, after: Kept) -> Iterator[Block]:
    """Those that flipped."""
    if before.verdicts is None or after.verdicts is None:
        yield Text("One of the two keeps no decisions.json.")
        return
    both = [key for key in after.verdicts if key in before.verdicts]
    lines: list[Line] = [
        [code(claim), dataset, before.verdicts[claim, dataset], after.verdicts[claim, dataset]]
        for claim, dataset in both
        if before.verdicts[claim, dataset] != after.verdicts[claim, dataset]
    ]
    yield paragraph(f"{len(lines)} of {len(both)} verdicts that both have differ.")
    if lines:
        yield table(["claim", "data set", "before", "now"], lines, left=4)


def measures(before: Kept, after: Kept) -> Iterator[Block]:
    """Those whose means differ by more than their seeds do."""
    both = [key for key in after.measures if key in before.measures]
    changed = [key for key in both if before.measures[key] != after.measures[key]]
    unknown = [key for key in changed if min(before.measures[key].n, after.measures[key].n) < 2]
    lines: list[Line] = []
    for row, measure in changed:
        old, new = before.measures[row, measure], after.measures[row, measure]
        if beyond(old, new):
            places = summary.decimals([old.mean, new.mean])
            change = f"{100 * (new.mean / old.mean - 1):+.1f} %" if old.mean else summary.NONE
            lines.append([row, code(measure), summary.write(old, places), summary.write(new, places), change])
    yield paragraph(f"""Of {len(both)} numbers that both have, {len(both) - len(changed)} are the same; {len(unknown)}
        differ and have one seed, which shows no spread; {len(lines)} differ by more than their spread (Welch's t test
        of the two means, p ≤ {LEVEL}, which about one of twenty gives by chance).""")
    if lines:
        yield table(["row", "measure", "before", "now", "change"], lines, left=2)


def beyond(old: Summary, new: Summary) -> bool:
    """Whether two means differ by more than their seeds do."""
    if old.std is None or new.std is None:
        return False
    if old.std == new.std == 0:
        return old.mean != new.mean
    test = stats.ttest_ind_from_stats(old.mean, old.std, old.n, new.mean, new.std, new.n, equal_var=False)
    return bool(test.pvalue <= LEVEL)
