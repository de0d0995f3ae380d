"""The report's numbers, tables, links and errors, on made-up results."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from made_report import SOME
from pages import blocks, cells, line_of, rendered, section, text

from pipeline import papers
from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths
from pipeline.report import results as reading
from pipeline.report import snapshot, summary
from pipeline.report.__main__ import main
from pipeline.report.blocks import escape, paragraph, table
from pipeline.report.results import Results, Row, groups, read_results
from pipeline.report.sections import counting
from pipeline.report.sections.of_a_dataset import description, paper_form, settings

# numbers


def test_metrics_by_hand() -> None:
    assert summary.summarize([1.0, 2.0, 3.0]) == summary.Summary(2.0, 1.0, 3)
    assert summary.summarize([4.0]) == summary.Summary(4.0, None, 1)
    assert summary.summarize([]) is None


def spread(paths: Paths, row: str, measure: str) -> tuple[float, float]:
    """Mean and standard deviation of what the seeds of a row measured."""
    values = np.array([seed[measure] for seed in files.read_json(paths.measured(row))["seeds"]])
    return values.mean(), values.std(ddof=1)


def test_the_metrics_are_few_means(made: Paths) -> None:
    metrics = files.read_json(made.metrics)
    assert list(metrics) == ["photos", "fashion_mnist"]
    for dataset, variants in metrics.items():
        assert list(variants) == list(SOME)
        for variant, measures in variants.items():
            assert list(measures) == ["test_mse", "codes_in_use", "bits_per_latent"]
            for measure, found in measures.items():
                assert found == pytest.approx(spread(made, f"{dataset}-{variant}", measure)[0], rel=1e-12)


def test_the_table_of_all_measures_holds_every_number_of_every_seed(made: Paths) -> None:
    plan = files.read_yaml(made.plan)
    swept = [name for sweep in plan["sweeps"].values() for name in sweep["rows"]]
    found = pd.read_csv(made.all_measures).set_index(["dataset", "variant", "seed", "measure"])["value"].to_dict()
    stated = {
        (*name.split("-"), seed["seed"], measure): value
        for name in (*plan["rows"], *swept)
        for seed in files.read_json(made.measured(name))["seeds"]
        for measure, value in seed.items()
        if isinstance(value, int | float) and measure != "seed"
    }
    assert found == stated
    assert ("photos", "lattice", 0, "dead_codes") not in found


def test_what_dvc_plots_is_in_the_table_of_plots(made: Paths) -> None:
    """The columns that dvc.yaml and its templates name, and the numbers of the runs."""
    lines = pd.read_csv(made.plots).set_index("row")
    assert len(lines) == 2 * len(SOME)
    for row, line in lines.iterrows():
        for column, measure in (("test_mse", "test_mse"), ("bits_per_latent", "bits_per_latent")):
            assert line[column] == pytest.approx(spread(made, str(row), measure)[0])
        assert line["least"] <= line["test_mse"] <= line["largest"]
    named = {"row"}
    for plot in files.read_yaml(ROOT / "dvc.yaml")["plots"]:
        ((stated),) = plot.values()
        assert list(stated["y"]) == ["reports/plots.csv"]
        named |= {stated["x"], stated["y"]["reports/plots.csv"]}
        template = (ROOT / f".dvc/plots/{stated['template']}.json").read_text()
        named |= set(re.findall(r'"field": "(\w+)"', template)) - {"rev"}
    assert named == set(lines.reset_index().columns)


def test_metrics_are_json_without_extensions(made: Paths) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(made.metrics.read_text(), parse_constant=refuse)


def test_one_seed_has_no_deviation(small: Paths) -> None:
    assert " ± " not in "".join(line for block in blocks(text(small)) for line in block)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5))
def test_decimals_keep_three_digits_of_the_smallest(means: list[float]) -> None:
    places = summary.decimals(means)
    shown = float(f"{min(means):.{places}f}")
    assert shown == pytest.approx(min(means), rel=0.0051)


@given(st.floats(0, 1e6), st.floats(0, 1e3), st.integers(2, 9))
def test_what_is_written_can_be_read(mean: float, std: float, n: int) -> None:
    found = summary.write(summary.Summary(mean, std, n), 4)
    shown = [float(part.replace(",", "")) for part in found.split(" ± ")]
    assert shown == pytest.approx([mean, std], abs=5.1e-5)


def test_a_very_small_number_is_written_with_an_exponent() -> None:
    assert summary.write(summary.Summary(5e-25, 2e-27, 3), summary.decimals([5e-25])) == "5.0e-25 ± 2.0e-27"


# tables


def test_numbers_in_the_tables_are_those_of_the_metrics(made: Paths) -> None:
    columns = {
        "MSE on validation": "val_mse",
        "MSE on test": "test_mse",
        "codes in use": "codes_in_use",
        "PSNR, dB": "test_psnr",
        "gradient gap": "gradient_gap",
    }
    checked = set()
    for dataset, title in (("photos", "Photographs"), ("fashion_mnist", "Fashion-MNIST")):
        for block in blocks(section(made, f"## {title}")):
            heads = cells(block[0])
            for line in block[2:]:
                row = re.search(r"\]\[(\w+)-(\w+)\]", line)
                for head in set(heads) & set(columns) if row else ():
                    found = spread(made, row.group(0)[2:-1], columns[head])  # type: ignore[union-attr]
                    mean, std = (float(part.replace(",", "")) for part in cells(line)[heads.index(head)].split(" ± "))
                    assert mean == pytest.approx(found[0], rel=1e-2)
                    assert std == pytest.approx(found[1], abs=0.5 if head == "codes in use" else 10 ** (-2))
                    checked.add((dataset, row.group(2), head))  # type: ignore[union-attr]
    assert len(checked) == 2 * len(SOME) * len(columns)


def test_every_measure_of_the_plan_is_shown_unless_no_row_has_it(made: Paths) -> None:
    further = section(made, "## Photographs").split("### Further measures")[1].split("\n### ")[0]
    heads = {head for block in blocks(further) for head in cells(block[0])}
    for key, title, unit, *_ in made_up.MEASURES:
        head = f"{title}, {unit}" if unit else title
        assert (head in heads) == (key not in paper_form.MEASURES), key
    assert "sharpness of my own" in further.split("**On the validation images.**")[1].split("**On ")[0]


def test_a_measure_of_ones_own_is_shown_with_its_unit_scale_and_decimals(made: Paths) -> None:
    """4.2 in the file, ten times as much in the table, for the one row that has it."""
    further = section(made, "## Photographs").split("### Further measures")[1].split("\n### ")[0]
    lines = [dict(zip(cells(b[0]), cells(line), strict=True)) for b in blocks(further) for line in b[2:]]
    shown = [line["sharpness of my own, lines/mm"] for line in lines if "sharpness of my own, lines/mm" in line]
    mean = spread(made, "photos-mine", "sharpness")[0]
    assert [one.split(" ± ")[0] for one in shown if one != "–"] == [f"{10 * mean:.1f}"]


def test_a_variant_of_ones_own_is_shown_with_its_title_and_meaning(made: Paths, results: Results) -> None:
    line = line_of(section(made, "## The rows of every table"), "A quantizer of my own")
    assert line["name in params.yaml"] == "`mine`"
    assert line["what it is"] == "what no file of the report has heard of"
    assert "[A quantizer of my own][photos-mine]" in text(made)
    constant = next(group for group in groups(results, "photos") if group.title == "Constant learning rate")
    assert "mine" in [row.variant for row in constant.rows]  # and not among the controls of the papers


def test_rows_are_grouped_by_whether_their_learning_rate_falls_and_by_paper(results: Results) -> None:
    found = {group.title: [row.variant for row in group.rows] for group in groups(results, "photos")}
    assert found == {
        "As published": ["vq", "vq_ema", "lattice"],
        "Controls": ["lattice_ramp"],
        "Constant learning rate": ["vq_corrected", "mine"],
        "Codes against dimensions": ["kd_512x128", "kd_65536x1", "adaptive"],
    }


def a_row(variant: str, **settings: Any) -> Row:
    sections = {"model": {"dim": 64}, "quantizer": {"name": variant}, "train": {"epochs": 1}}
    return made_up.row(variant, settings={name: {**sections[name], **settings.get(name, {})} for name in sections})


def test_settings_are_those_that_the_rows_used() -> None:
    rows = [
        a_row("a", train={"lr": 0.1}),
        a_row("b", train={"lr": 0.1, "epochs": 3}),
        a_row("c", train={"lr": 0.1}, quantizer={"levels": [8, 5]}),
    ]
    shared, differing = (rendered([one]) for one in settings.tables(rows))
    assert [cells(line) for line in shared.splitlines()[2:]] == [
        ["model", "`dim = 64`"],
        ["train", "`epochs = 1`, `lr = 0.1`"],
        ["quantizer: c", "`levels = [8, 5]`"],
    ]
    assert [cells(line) for line in differing.splitlines()[2:]] == [["`b`", "`train.epochs = 3`"]]


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3), min_size=1), min_size=1, max_size=6))
def test_from_the_settings_tables_every_setting_of_every_row_can_be_read(stated: list[dict[str, int]]) -> None:
    """A row has a shared value unless its own line says otherwise."""
    rows = [a_row(f"v{place}", train={"epochs": 1, **one}) for place, one in enumerate(stated)]
    shared, *more = (rendered([one]) for one in settings.tables(rows))
    common = dict(re.findall(r"`(\w) = (\d)`", shared))
    own = {}
    for line in more[0].splitlines()[2:] if more else ():
        names, differing = cells(line)
        own |= {name: dict(re.findall(r"`train\.(\w) = (\d)`", differing)) for name in re.findall(r"v\d", names)}
    for place, one in enumerate(stated):
        assert {**common, **own.get(f"v{place}", {})}.items() >= {key: str(value) for key, value in one.items()}.items()


def test_the_images_told_are_those_used(results: Results) -> None:
    """Of 9,000 training and 1,000 test images, 8,000 were trained on and 900 measured."""
    told = rendered(description.section(results, "photos"))
    assert told.startswith("9,000 images for training, 1,000 for validation and 1,000 for the test")
    assert (
        "every row was trained on 8,000 images and measured on 8,000 training images, 1,000 validation images and 900 "
        "test images." in told
    )
    rows = results.of("photos")[:2]
    few = dataclasses.replace(rows[1], images={**rows[1].images, "train": 64})
    assert description.images_used([rows[0], few]).count(" was trained on ") == 2
    assert "`vq_ema` was trained on 64 images" in paragraph(description.images_used([rows[0], few])).markdown


def test_published_numbers_stand_beside_measured_ones_only_where_there_are_some(made: Paths) -> None:
    photos, fashion = section(made, "## Photographs"), section(made, "## Fashion-MNIST")
    first = next(block for block in blocks(fashion) if "MSE, paper (split not said)" in block[0])
    line = next(cells(line) for line in first if line.startswith("| [LL-VQ-VAE][fashion_mnist-lattice]"))
    published = papers.read()["ll_vq_vae"]["results"]["fashion_mnist"]["rows"]["lattice"]
    assert {str(published["mse"]), f"{published['codes']:,}", str(published["duration"])} <= set(line)
    assert photos.count("of the rows as published: a data set of which it has no numbers. What") == 1
    assert "MSE, paper" not in photos


def test_every_claim_has_its_verdict_at_a_glance_and_in_full(made: Paths) -> None:
    """Made-up errors of lattice and vq are 0.009 and 0.013 with small spread, so that the first claim holds."""
    claims = [claim for paper in papers.read().values() for claim in paper["claims"]]
    run = [found for found in files.read_json(made.decisions) if found["verdict"] != "not_run"]
    tested = [claim for claim in claims if claim.id in {found["claim"] for found in run}]
    assert 10 < len(tested) < len(claims)
    lines = [cells(line) for line in section(made, "## The papers' claims").splitlines() if line.startswith("| [")]
    assert [line[0] for line in lines] == [f"[{escape(claim.claim)}](#verdict-{claim.id})" for claim in tested]
    short = {claim.id: line for claim, line in zip(tested, lines, strict=True)}
    assert short["lattice-beats-vq"][2:] == ["holds", "holds"]
    full = [cells(line) for line in section(made, "## Verdicts in full").splitlines() if "`" in line and line[0] == "|"]
    found = {(line[0].split("`")[1], line[1]): line for line in full}
    assert len(found) == len(full) == len(run)
    line = found["lattice-beats-vq", "[Fashion-MNIST](#fashion_mnist)"]
    assert (line[2], line[5]) == ("holds", "0.009 against 0.013")
    assert line[3].startswith("LL-VQ-VAE 0.0091")


def test_every_table_lines_up_in_plain_text(made: Paths) -> None:
    for block in blocks(text(made)):
        assert len({len(line) for line in block}) == 1, block[0]


def test_a_title_cannot_end_its_cell_nor_become_html() -> None:
    assert rendered([table(["a"], [["x|y <img src=z>"]])]).splitlines()[2] == "| x&#124;y &lt;img src=z&gt; |"


HOSTILE = "<script>alert(1)</script>|x ](javascript:alert(1)) `*_ $^$"


def test_text_from_data_is_shown_as_it_is_in_both_renderings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Titles, licences, names of photographs and of hardware that would be elements, links or the end of a cell."""
    monkeypatch.setitem(made_up.LABELS, "vq", (HOSTILE, HOSTILE, "#123456"))
    monkeypatch.setitem(made_up.ENVIRONMENT, "device", HOSTILE)
    paths = made_up.make(tmp_path, datasets=("dots",), variants=("vq", "lattice", "adaptive", "kd_512x128"), seeds=(7,))
    made_up.add_sweep(
        paths, "zeal", "quantizer.zeal", ["little", "much"], variants=["vq"], title=HOSTILE, symbol=HOSTILE
    )
    photograph = {"name": HOSTILE, "credit": HOSTILE, "licence": HOSTILE}
    about = {"title": HOSTILE, "licence": HOSTILE, "cite": HOSTILE, "photographs": [photograph]}
    for dataset in ("dots", "photos"):
        file = paths.prepared(dataset) / "about.yaml"
        files.write_yaml(file, (files.read_yaml(file) if file.exists() else {}) | about)
    main(paths)
    page = Page(paths.page.read_text(encoding="utf-8"))
    assert page.scripts == 1
    assert not [link for link in page.links if not link.startswith(("#", "https://", "data:"))]
    assert page.text.count(HOSTILE.split()[0]) > 20
    assert "<script" not in text(paths)
    assert "](javascript" not in text(paths)
    for block in blocks(text(paths)):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1, block[0]


class Page(HTMLParser):
    """What a browser makes of a page: its text, and how many scripts and which links it has."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.scripts, self.links = "", 0, []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_row_names_its_command(made: Paths) -> None:
    plan = files.read_yaml(made.plan)
    for name in plan["rows"]:
        assert f"`evaluate@{name}`" in text(made)
        assert f"`dvc repro evaluate@{name}`" in text(made)
    for name in (name for sweep in plan["sweeps"].values() for name in sweep["rows"]):
        assert f"`dvc repro evaluate_sweep@{name}`" in text(made)


# links


def test_every_link_leads_to_a_file(made: Paths) -> None:
    plan = files.read_yaml(made.plan)
    targets = re.findall(r"^\[(.+)\]: (.+)$", text(made), flags=re.MULTILINE)
    swept = {name for sweep in plan["sweeps"].values() for name in sweep["rows"]}
    assert {name for name, _ in targets} == {*plan["rows"], *swept}
    images = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text(made))
    assert all(len(alt) > 20 for alt, _ in images)
    links = [target for _, target in targets] + re.findall(r"\]\(((?!http|#)[^)]+)\)", text(made))
    for link in links:
        assert (made.reports / link).is_file(), link


def test_the_html_file_needs_no_other_file(made: Paths) -> None:
    page = made.page.read_text(encoding="utf-8")
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:", "https://")) for link in links)
    assert not re.findall(r'src="https', page)
    ids = set(re.findall(r'id="([^"]+)"', page))
    missing = {link for link in links if link.startswith("#") and link[1:] not in ids}
    assert not missing
    assert sum(link.startswith("data:image/png") for link in links) == len(list(made.figures.glob("*.png")))
    assert page.count("<svg ") == len(list(made.figures.glob("*.svg")))
    kept = html.escape(made.row_settings("photos-lattice").read_text(encoding="utf-8"))
    assert f'id="settings-photos-lattice"><summary>photos-lattice</summary><pre>{kept}</pre>' in page


def test_anchors_of_the_markdown_lead_somewhere(made: Paths) -> None:
    anchors = set(re.findall(r'<a id="([^"]+)">', text(made)))
    lines = re.findall(r"^#+ (.+)$", text(made), re.M)
    headings = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
    assert set(re.findall(r"\]\(#([^)]+)\)", text(made))) <= anchors | headings


def test_a_snapshot_keeps_the_report_with_its_hardware_in_the_name(small: Paths) -> None:
    snapshot.main(small)
    kept = small.reference / "dots-some-cpu"
    assert files.read_json(kept / "metrics.json") == files.read_json(small.metrics)
    page = (kept / "report.md").read_text(encoding="utf-8")
    assert (kept / "all_measures.csv").read_bytes() == small.all_measures.read_bytes()
    for link in [*re.findall(r"\]\(((?!http|#)[^)]+)\)", page), *re.findall(r"^\[.+\]: (.+)$", page, flags=re.M)]:
        assert (kept / link).is_file(), link


def test_a_snapshot_of_an_old_report_is_refused(small: Paths) -> None:
    change_run(small, "dots-vq", test_mse=0.5)
    with pytest.raises(UserError, match="run `dvc repro report` first"):
        snapshot.main(small)


def change_run(paths: Paths, row: str, **measures: float | None) -> None:
    """State other numbers for a row's first seed; None takes one away."""
    run = files.read_json(paths.measured(row))
    run["seeds"][0] = {key: value for key, value in {**run["seeds"][0], **measures}.items() if value is not None}
    files.write_json(paths.measured(row), run)


# reading, and what goes wrong


def test_the_same_results_give_the_same_report_whatever_older_rows_lie_beside_them(small: Paths) -> None:
    before = {path: path.read_bytes() for path in small.reports.rglob("*") if path.is_file()}
    made_up.write_row(small, "dots", "vq_ema", (7,))
    main(small)
    after = {path: path.read_bytes() for path in small.reports.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if "dots-vq_ema" not in path.name} == before


@pytest.mark.parametrize(
    "file", ["runs/dots-vq.json", "runs/dots-vq.npz", "history/dots-vq.csv", "settings/dots-vq.yaml"]
)
def test_a_missing_file_is_named_and_the_old_report_stays(small: Paths, file: str) -> None:
    (small.reports / file).unlink()
    before = {path: path.read_bytes() for path in small.root.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=re.escape(Path(file).name)):
        main(small)
    assert {path: path.read_bytes() for path in small.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("planned", "sentence"),
    [
        ({"sweeps": {"try": {"rows": ["dots-vq_try_1"]}}}, r"dots-vq_try_1\.yaml is missing .*; run `dvc repro plan`"),
        ({"benchmark": ["search"]}, r"search\.json is missing .*; run `dvc repro benchmark@search`"),
    ],
)
def test_what_the_plan_lists_must_be_there(small: Paths, planned: dict[str, Any], sentence: str) -> None:
    files.write_yaml(small.plan, files.read_yaml(small.plan) | planned)
    with pytest.raises(UserError, match=sentence):
        read_results(small)


def test_a_stale_row_is_named_with_the_setting_that_differs(small: Paths) -> None:
    settings = files.read_yaml(small.row_settings("dots-lattice"))
    settings["train"]["lr"] = 0.5
    files.write_yaml(small.row_settings("dots-lattice"), settings)
    sentence = r"'dots-lattice' is stale: train\.lr is 0\.5 .* made with 0\.001; run `dvc repro evaluate@dots-lattice`"
    with pytest.raises(UserError, match=sentence):
        read_results(small)


def test_a_row_that_lacks_a_seed_is_named(small: Paths) -> None:
    run = files.read_json(small.measured("dots-vq"))
    files.write_json(small.measured("dots-vq"), {**run, "seeds": []})
    with pytest.raises(UserError, match=r"'dots-vq' has results for seeds \[\], but its settings say \[7\]"):
        read_results(small)


def test_a_key_that_is_gone_is_named() -> None:
    assert reading.difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}) == ("a.c", 2, None)
    assert reading.difference({"a": [1]}, {"a": [2]}) == ("a", [1], [2])


def test_what_evaluation_measured_on_test_stays_beside_what_training_saw_on_validation(small: Paths) -> None:
    change_run(small, "dots-vq", gradient_gap=0.5, quantization_loss=0.25)
    row = read_results(small).rows["dots-vq"]
    assert (row.values("gradient_gap"), row.values("quantization_loss")) == ([0.5], [0.25])
    assert 0.5 not in row.history["val_gradient_gap"].tolist()
    assert "gradient_gap" not in row.history


@pytest.mark.slow
def test_the_report_never_imports_torch(small: Paths) -> None:
    code = (
        "import sys, runpy; runpy.run_module('pipeline.report', run_name='__main__'); assert 'torch' not in sys.modules"
    )
    done = run_there(small, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "2 rows reported" in done.stderr


def test_an_error_is_one_line_and_status_one(small: Paths) -> None:
    small.measured("dots-vq").unlink()
    done = run_there(small, "-m", "pipeline.report")
    assert done.returncode == 1
    assert done.stderr.startswith("error: dots-vq.json is missing")
    assert len(done.stderr.splitlines()) == 1


def run_there(paths: Paths, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, *arguments]
    environment = {"PYTHONPATH": home}
    return subprocess.run(command, cwd=paths.root, env=environment, capture_output=True, text=True, check=False)


# counting


def test_the_table_of_counts_shows_what_the_runs_recorded(made: Paths) -> None:
    """Of seeds 0, 1, 2: 500, 501, 502 codes."""
    counted = section(made, "## Counting what the paper calls infeasible")
    line = next(cells(line) for line in counted.splitlines() if "photos-lattice]" in line)
    found = dict(zip(counting.HEADS, line, strict=True))
    assert found["latents counted"] == "90,000 ± 0"
    assert found["distinct"] == "501 ± 1"
    assert found["chance of a collision"] == f"{2e-30 * 502**2:.0e}"
    mean, std = spread(made, "photos-lattice", "counting_seconds")
    assert found["counted in, s"] == f"{mean:.2f} ± {std:.2f}"


def test_all_of_ffhq_by_hand() -> None:
    """70,000 images of 256 × 256 latents; at 500,000 in 0.25 s they take 2,293.76 s."""
    about = papers.read()["ll_vq_vae"]["counting"]
    assert counting.ffhq_vectors(about) == 70_000 * 256 * 256
    assert counting.duration(2293.76) == "38.2 minutes"
    assert [counting.duration(seconds) for seconds in (30.0, 7201.0)] == ["30.0 seconds", "2.0 hours"]


def lines_of_counting() -> list[dict[str, Any]]:
    ours, theirs = {"median": 0.25}, {"median": 1.0}
    kinds = (("indices", 1_000_000), ("vectors of 64", 500_000))
    return [
        {"group": "distinct", "setting": {"codes": kind, "count": count}, "ours": ours, "skipped": {}}
        | {"opponents": {"torch.unique": theirs} if kind != "indices" else {}}
        for kind, count in kinds
    ]


def test_what_counting_ffhq_needs_follows_from_the_benchmark(small: Paths) -> None:
    results = read_results(small)
    assert "make benchmark" in counting.whole(results)
    assert not list(counting.figures(results))
    made_up.add_benchmark(small, "counting", lines_of_counting())
    measured = read_results(small)
    told = counting.whole(measured)
    shown = ("4,587,520,000 vectors", "73.4 GB", "2,000,000 vectors of 64 per second", "38.2 minutes", "a made-up CPU")
    assert [words for words in shown if words not in told] == []
    bound = 2e-30 * 507**2 * (70_000 * 2**16 / 507) ** 2
    assert f"{bound:.0e} at most" in told
    figure = next(counting.figures(measured))
    assert "torch.unique" in figure.alt
    assert [bar.get_width() for bar in figure.draw().axes[0].patches] == [4e6, 2e6, 0.0, 5e5]  # ours, then torch.unique


# the second paper


def test_the_best_fixed_codebook_is_bold_and_beside_the_adaptive_one(made: Paths) -> None:
    balance = section(made, "## Balance: the paper's table and figures")
    table = next(block for block in blocks(balance) if block[0].startswith("| [N, D]"))
    lines = {cells(line)[0]: cells(line) for line in table[2:]}
    assert all(line[1] == "not available" for line in lines.values())
    assert lines["[1024, 64]"][2:] == ["not run", "not run"]
    metrics = files.read_json(made.metrics)["photos"]
    best = min(("kd_512x128", "kd_65536x1"), key=lambda name: metrics[name]["test_mse"])
    bold = [name for name, line in lines.items() if line[2].startswith("**")]
    assert bold == [f"[{best.removeprefix('kd_').replace('x', ', ')}]"]
    beside = next(cells(line) for line in balance.splitlines() if "[photos-adaptive]" in line)
    error, seconds = (spread(made, "photos-adaptive", key) for key in ("test_mse", "seconds_first_epoch"))
    assert beside[2] == f"{error[0]:.4f} ± {error[1]:.4f} (n = 3)"
    assert beside[4] == f"{seconds[0]:.1f} ± {seconds[1]:.1f}"
    assert re.fullmatch(r"(\+|−)?[\d.]+ \[.*, .*\]", beside[3])


def test_without_codebooks_the_command_is_told(small: Paths) -> None:
    balance = section(small, "## Balance: the paper's table and figures")
    assert "`dvc exp run -S 'grid.datasets=[mnist]' -S 'grid.variants=[kd_512x128," in balance
