"""The report: numbers, tables, figures and refusals, on made-up results."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import made_up
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.report import claims, codebooks, counting, drawing, figures, rates, read, snapshot, summary, tables
from pipeline.report.__main__ import main

SOME = ("vq", "vq_ema", "lattice", "lattice_ramp", "vq_corrected", "kd_512x128", "kd_65536x1", "adaptive")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of made-up results; tests do not change it."""
    root = tmp_path_factory.mktemp("made")
    made_up.make(root, variants=SOME)
    main(root)
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Results of two rows, to spoil."""
    made_up.make(tmp_path, datasets=("dots",), variants=("vq", "lattice"), seeds=(7,))
    return tmp_path


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    made_up.make(root, datasets=("dots",), variants=("vq", "lattice"), seeds=(7,))
    main(root)
    return root


@pytest.fixture
def drawn(drawn_once: Path, tmp_path: Path) -> Path:
    """Results of two rows and their report, to spoil."""
    return Path(shutil.copytree(drawn_once, tmp_path / "drawn"))


def text(root: Path) -> str:
    return (root / "reports/report.md").read_text(encoding="utf-8")


def blocks(root: Path) -> list[list[str]]:
    """The markdown tables, as lists of lines."""
    parts = text(root).split("\n\n")
    return [part.splitlines() for part in parts if part.startswith("|")]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_metrics_by_hand() -> None:
    assert summary.summarize([1.0, 2.0, 3.0]) == summary.Summary(2.0, 1.0, 3)
    assert summary.summarize([4.0]) == summary.Summary(4.0, None, 1)
    assert summary.summarize([]) is None


def test_metrics_file_agrees_with_numpy(made: Path) -> None:
    metrics = files.read_json(made / "reports/metrics.json")
    assert list(metrics) == ["photos", "fashion_mnist"]
    for dataset, variants in metrics.items():
        assert list(variants) == list(SOME)
        for variant, measures in variants.items():
            run = files.read_json(made / f"reports/runs/{dataset}-{variant}.json")
            history = pd.read_csv(made / f"reports/history/{dataset}-{variant}.csv")
            last = history[history["epoch"] == made_up.EPOCHS]
            for measure, found in measures.items():
                if measure in read.PER_EPOCH:
                    values = last[measure].to_numpy()
                elif measure == read.FIRST_EPOCH:
                    values = history[history["epoch"] == 1]["seconds"].to_numpy()
                else:
                    values = np.array([seed[measure] for seed in run["seeds"]])
                assert found["mean"] == pytest.approx(values.mean(), rel=1e-12)
                assert found["std"] == pytest.approx(values.std(ddof=1), rel=1e-9, abs=1e-12)
                assert found["n"] == 3
    assert "dead_codes" not in metrics["photos"]["lattice"]
    assert not {"selection", "trace"} & {key for row in metrics["photos"].values() for key in row}


def test_one_seed_has_no_deviation(drawn: Path) -> None:
    found = files.read_json(drawn / "reports/metrics.json")["dots"]["vq"]["test_mse"]
    assert found["std"] is None
    assert found["n"] == 1
    assert " ± " not in "".join(line for block in blocks(drawn) for line in block)


def test_numbers_in_the_tables_are_those_of_the_metrics(made: Path) -> None:
    metrics = files.read_json(made / "reports/metrics.json")
    columns = {"MSE, val": "val_mse", "MSE, test": "test_mse", "codes in use": "codes_in_use", "PSNR, dB": "test_psnr"}
    checked = 0
    for block in blocks(made):
        heads = cells(block[0])
        for line in block[2:]:
            row = re.search(r"\]\[(\w+)-(\w+)\]", line)
            for head in set(heads) & set(columns) if row else ():
                found = metrics[row.group(1)][row.group(2)][columns[head]]  # type: ignore[union-attr]
                mean, std = (float(part.replace(",", "")) for part in cells(line)[heads.index(head)].split(" ± "))
                assert mean == pytest.approx(found["mean"], rel=1e-2)
                assert std == pytest.approx(found["std"], abs=0.5 if head == "codes in use" else 10 ** (-2))
                checked += 1
    assert checked == 2 * len(SOME) * len(columns)


def test_published_numbers_stand_beside_measured_ones_only_where_there_are_some(made: Path) -> None:
    photos, fashion = text(made).split("\n## Fashion-MNIST\n")
    line = next(line for line in fashion.splitlines() if line.startswith("| [LL-VQ-VAE][fashion_mnist-lattice]"))
    published = read.read_papers()["ll_vq_vae"]["results"]["fashion_mnist"]["rows"]["lattice"]
    assert {str(published["mse"]), f"{published['codes']:,}", str(published["duration"])} <= set(cells(line))
    assert photos.count("The paper has no numbers for this data set.") == 1
    assert "MSE, paper" not in photos


def test_the_first_screen_shows_every_claim_with_its_verdict_and_numbers(made: Path) -> None:
    """Made-up errors of lattice and vq are 0.009 and 0.013 with small spread, so that claim 1.1 holds."""
    screen = text(made).split("## How these numbers were made")[0]
    lines = {cells(line)[0]: cells(line) for line in screen.splitlines() if line.startswith("| [")}
    papers = read.read_papers()
    claimed = [
        f"{paper}.{one}"
        for paper, name in enumerate(claims.PAPERS, 1)
        for one in range(1, len(papers[name]["claims"]) + 1)
    ]
    assert list(lines) == [f"[{number}](#verdicts)" for number in claimed]
    first = lines["[1.1](#verdicts)"]
    assert first[3].startswith("holds: 0.0091")
    assert first[4].endswith("(published: 0.009 against 0.013)")
    assert lines["[2.1](#verdicts)"][3] == "not run (`kd_1024x64`)"
    assert lines["[1.19](#verdicts)"][3].startswith("not run (`lattice_wide`)")


def test_every_table_lines_up_in_plain_text(made: Path) -> None:
    assert len(blocks(made)) > 8
    for block in blocks(made):
        assert len({len(line) for line in block}) == 1, block[0]


def test_every_link_leads_to_a_file(made: Path) -> None:
    page = text(made)
    targets = re.findall(r"^\[(.+)\]: (.+)$", page, flags=re.MULTILINE)
    assert {name for name, _ in targets} == {f"{d}-{v}" for d in made_up.SHAPES for v in SOME}
    images = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", page)
    assert all(len(alt) > 20 for alt, _ in images)
    links = [target for _, target in targets] + re.findall(r"\]\(((?!http|#)[^)]+)\)", page)
    for link in links:
        assert (made / "reports" / link).is_file(), link


def test_the_html_file_needs_no_other_file(made: Path) -> None:
    page = (made / "reports/report.html").read_text(encoding="utf-8")
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:image/png;base64,", "https://")) for link in links)
    assert not re.findall(r'src="https', page)
    ids = set(re.findall(r'id="([^"]+)"', page))
    missing = {link for link in links if link.startswith("#") and link[1:] not in ids}
    assert not missing
    assert sum(link.startswith("data:") for link in links) == len(list((made / "reports/figures").glob("*.png")))
    assert "decay: 0.0" in page or "lr_decay" in page  # the settings files stand inside


def test_anchors_of_the_markdown_lead_somewhere(made: Path) -> None:
    page = text(made)
    anchors = set(re.findall(r'<a id="([^"]+)">', page))
    headings = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", page, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors | headings


def test_a_snapshot_keeps_the_report_with_its_hardware_in_the_name(drawn: Path) -> None:
    snapshot.main(drawn)
    kept = drawn / "reports/reference/dots-some-cpu"
    assert files.read_json(kept / "metrics.json") == files.read_json(drawn / "reports/metrics.json")
    page = (kept / "report.md").read_text(encoding="utf-8")
    assert "SVG" not in page
    for link in [*re.findall(r"\]\(((?!http|#)[^)]+)\)", page), *re.findall(r"^\[.+\]: (.+)$", page, flags=re.M)]:
        assert (kept / link).is_file(), link


def test_a_snapshot_of_an_old_report_is_refused(drawn: Path) -> None:
    path = drawn / "reports/runs/dots-vq.json"
    run = files.read_json(path)
    run["seeds"][0]["test_mse"] = 0.5
    files.write_json(path, run)
    with pytest.raises(UserError, match="run `dvc repro report` first"):
        snapshot.main(drawn)


def test_every_row_names_its_command(made: Path) -> None:
    for name in files.read_yaml(made / "reports/settings/plan.yaml")["rows"]:
        assert f"`evaluate@{name}`" in text(made)


def test_a_falling_and_a_constant_learning_rate_never_share_a_table(made: Path) -> None:
    results = read.read_results(made)
    for group in tables.groups(results, "photos"):
        assert len({row.rate_decays for row in group.rows}) == 1
    shown = [row.name for group in tables.groups(results, "photos") for row in group.rows]
    assert sorted(shown) == sorted(row.name for row in results.of("photos"))


def test_figures_are_not_blank(made: Path) -> None:
    drawn = sorted((made / "reports/figures").glob("*.png"))
    assert len(drawn) >= 6
    for path in drawn:
        pixels = image.imread(path)[..., :3]
        assert pixels.shape[1] > 900
        assert pixels.std() > 0.05, path.name
        assert ElementTree.parse(path.with_suffix(".svg")).getroot().tag.endswith("svg")


def test_a_strip_enlarges_pixels_as_they_are() -> None:
    images = np.array([[[[10], [20]]], [[[30], [40]]]], dtype=np.uint8)  # two images of 1×2
    line = figures.strip(images, gap=1, times=2)
    assert line.tolist() == [[10, 10, 20, 20, 255, 255, 30, 30, 40, 40, 255, 255]] * 2 + [[255] * 12] * 2


def test_a_rate_is_bounded_where_nearly_every_latent_has_a_code_of_its_own(made: Path) -> None:
    """Seen 15.4 of at most 16 bits at 4 latents per 16 pixels, and at most 40 by dimension: 10 bits per pixel."""
    row = read.read_results(made).rows["photos-lattice"]
    numbers = {
        "bits_per_latent": 15.4,
        "bits_per_pixel": 3.85,
        "most_bits_seen": 16.0,
        "bits_per_latent_by_dimension": 40.0,
    }
    dense = dataclasses.replace(row, seeds=[{"seed": 0, **numbers}])
    assert rates.saturated(dense) == pytest.approx(10.0)
    assert rates.saturated(dataclasses.replace(row, seeds=[{"seed": 0, **numbers, "most_bits_seen": 20.0}])) is None
    assert rates.saturated(dataclasses.replace(row, seeds=[{"seed": 0, "bits_per_latent": 3.0}])) is None


def test_ticks_are_plain_numbers() -> None:
    assert [drawing.tick(value) for value in (0.00005, 0.02, 1.0, 20.0, 100000.0)] == [
        "0.00005",
        "0.02",
        "1",
        "20",
        "100,000",
    ]


def test_jpeg_by_hand() -> None:
    """One colour has no error but the rounding of its levels; errors fall and bits rise with quality."""
    grey = np.full((5, 16, 16, 1), 200, dtype=np.uint8)
    assert all(one.mse < (3 / 255) ** 2 for one in rates.jpeg(grey, [50, 95]))
    noise = np.random.default_rng(0).integers(0, 256, (7, 28, 28, 1), dtype=np.uint8)
    points = rates.jpeg(noise, [5, 50, 95])
    assert [one.quality for one in points] == [5, 50, 95]
    assert points[0].mse > points[1].mse > points[2].mse
    assert points[0].bits_per_pixel < points[1].bits_per_pixel < points[2].bits_per_pixel


def test_jpeg_puts_every_image_back_in_its_place() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 20, 30, 3), dtype=np.uint8) * 40
    assert rates.jpeg(images, [95])[0].mse < 1e-4


def test_a_quantizer_has_one_colour(made: Path) -> None:
    rows = [row for row in read.read_results(made).of("photos") if row.quantizer != "kd"]  # shaded by size
    looks = drawing.looks(rows)
    colours = {row.quantizer: looks[row.name]["color"] for row in rows}
    assert all(looks[row.name]["color"] == colours[row.quantizer] for row in rows)
    assert len(set(colours.values())) == len(colours)
    assert len({tuple(sorted(map(str, look.values()))) for look in looks.values()}) == len(rows)


def test_the_same_results_give_the_same_report_whatever_older_rows_lie_beside_them(drawn: Path) -> None:
    before = {path: path.read_bytes() for path in (drawn / "reports").rglob("*") if path.is_file()}
    made_up.write_row(drawn, "dots", "vq_ema", (7,))
    main(drawn)
    after = {path: path.read_bytes() for path in (drawn / "reports").rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if "dots-vq_ema" not in path.name} == before


@pytest.mark.parametrize(
    "file", ["runs/dots-vq.json", "runs/dots-vq.npz", "history/dots-vq.csv", "settings/dots-vq.yaml"]
)
def test_a_missing_file_is_named_and_the_old_report_stays(drawn: Path, file: str) -> None:
    (drawn / "reports" / file).unlink()
    before = {path: path.read_bytes() for path in drawn.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=re.escape(Path(file).name)):
        main(drawn)
    assert {path: path.read_bytes() for path in drawn.rglob("*") if path.is_file()} == before


def test_a_stale_row_is_named_with_the_setting_that_differs(small: Path) -> None:
    path = small / "reports/settings/dots-lattice.yaml"
    settings = files.read_yaml(path)
    settings["train"]["lr"] = 0.5
    files.write_yaml(path, settings)
    with pytest.raises(UserError, match=r"'dots-lattice' is stale: train\.lr is 0\.5 .* made with 0\.001"):
        main(small)


def test_a_row_that_lacks_a_seed_is_named(small: Path) -> None:
    path = small / "reports/runs/dots-vq.json"
    run = files.read_json(path)
    run["seeds"] = []
    files.write_json(path, run)
    with pytest.raises(UserError, match=r"'dots-vq' has results for seeds \[\], but its settings say \[7\]"):
        main(small)


def test_a_key_that_is_gone_is_named() -> None:
    assert read.difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}) == ("a.c", 2, None)
    assert read.difference({"a": [1]}, {"a": [2]}) == ("a", [1], [2])


def test_the_report_never_imports_torch(small: Path) -> None:
    code = (
        "import sys, runpy; runpy.run_module('pipeline.report', run_name='__main__'); assert 'torch' not in sys.modules"
    )
    home = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=small,
        env={"PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 rows reported" in done.stderr


def test_a_refusal_is_one_line_and_status_one(small: Path) -> None:
    shutil.rmtree(small / "reports/runs")
    home = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.report"],
        cwd=small,
        env={"PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: dots-vq.json is missing")
    assert len(done.stderr.splitlines()) == 1


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


def test_metrics_are_json_without_extensions(made: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((made / "reports/metrics.json").read_text(), parse_constant=refuse)


def test_what_is_taken_per_epoch_counts_with_its_last_epoch() -> None:
    lines = [(0, 1, 0.5), (0, 2, 0.25), (1, 1, 0.75), (1, 2, 0.125)]
    history = pd.DataFrame(lines, columns=["seed", "epoch", "gradient_gap"])
    assert [read.last_epoch(history, seed) for seed in (0, 1)] == [{"gradient_gap": 0.25}, {"gradient_gap": 0.125}]


def test_the_mean_size_of_selected_codebooks_by_hand() -> None:
    """A quarter of [8, 4] and three quarters of [32, 1]: 0.25·3 + 0.75·5 = 4.5."""
    history = pd.DataFrame({"seed": [0], "epoch": [1], "chosen_8x4": [0.25], "chosen_32x1": [0.75]})
    read.add_selection(history)
    assert history["selected_log2_codes"].tolist() == [4.5]


# counting


def test_the_table_of_counts_shows_what_the_runs_recorded(made: Path) -> None:
    """Of seeds 0, 1, 2: 500, 501, 502 codes, estimates 0.4 % higher, which is 0.004·128/1.04 = 0.5 standard errors."""
    lines = text(made).split("## Counting what the paper calls infeasible")[1].splitlines()
    line = next(line for line in lines if line.startswith("| Photographs") and "photos-lattice]" in line)
    found = dict(zip(counting.HEADS, cells(line), strict=True))
    metrics = files.read_json(made / "reports/metrics.json")["photos"]["lattice"]
    assert found["latents counted"] == "90,000"
    assert found["distinct, exactly"] == f"{metrics['codes_in_use']['mean']:.0f} ± 1" == "501 ± 1"
    assert found["HyperLogLog (standard error)"] == "503 (0.81 %)"
    assert found["off by"] == "0.5"
    assert found["chance of a collision"] == f"{2e-30 * 502**2:.0e}"
    assert found["exact, s"] == f"{metrics['counting_seconds']['mean']:.2f} ± {metrics['counting_seconds']['std']:.2f}"


def test_counting_without_an_estimate_shows_the_exact_count_alone(drawn: Path) -> None:
    path = drawn / "reports/runs/dots-lattice.json"
    run = files.read_json(path)
    for key in ("codes_counted", "codes_estimated", "codes_estimate_error", "codes_collision_bound"):
        del run["seeds"][0][key]
    files.write_json(path, run)
    results = read.read_results(drawn)
    lattice = next(line for line in counting.table_of_counts(results).splitlines() if "dots-lattice" in line)
    assert cells(lattice)[2:7] == ["–", "507", "–", "–", "–"]


def test_all_of_ffhq_by_hand() -> None:
    """70,000 images of 256 × 256 latents; at 500,000 in 0.25 s they take 2,293.76 s."""
    about = read.read_papers()["ll_vq_vae"]["counting"]
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


def test_what_counting_ffhq_needs_follows_from_the_benchmark(drawn: Path) -> None:
    results = read.read_results(drawn)
    assert "make benchmark" in counting.whole(results)
    assert not list(counting.draw(results))
    measured = dataclasses.replace(
        results, benchmark={"environment": {"device": "a CPU"}, "comparisons": lines_of_counting()}
    )
    told = counting.whole(measured)
    for shown in (
        "4,587,520,000 vectors",
        "73.4 GB",
        "2,000,000 vectors of 64 per second",
        "38.2 minutes",
        "16,384 byte",
    ):
        assert shown in told, shown
    bound = 2e-30 * 507**2 * (70_000 * 2**16 / 507) ** 2
    assert f"{bound:.0e} at most" in told
    with mpl.rc_context({**drawing.STYLE, "figure.dpi": 50}):
        figure, picture = next(counting.draw(measured))
        figure.canvas.draw()
        shown = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    assert "torch.unique" in picture.alt
    assert shown.std() > 5


# the second paper


def test_the_best_fixed_codebook_is_bold_and_beside_the_adaptive_one(made: Path) -> None:
    section = text(made).split("### Balance")[1].split("## Counting")[0]
    table = next(part for part in section.split("\n\n") if part.startswith("| [N, D]"))
    lines = {cells(line)[0]: cells(line) for line in table.splitlines()[2:]}
    assert all(line[1] == "not available" for line in lines.values())
    assert lines["[1024, 64]"][2:] == ["not run", "not run"]
    metrics = files.read_json(made / "reports/metrics.json")["photos"]
    best = min(("kd_512x128", "kd_65536x1"), key=lambda name: metrics[name]["test_mse"]["mean"])
    bold = [name for name, line in lines.items() if line[2].startswith("**")]
    assert bold == [f"[{best.removeprefix('kd_').replace('x', ', ')}]"]
    beside = next(cells(line) for line in section.splitlines() if "[photos-adaptive]" in line)
    found = metrics["adaptive"]
    assert beside[2] == f"{found['test_mse']['mean']:.4f} ± {found['test_mse']['std']:.4f} (n = 3)"
    assert beside[4] == f"{found['seconds_first_epoch']['mean']:.1f} ± {found['seconds_first_epoch']['std']:.1f}"
    assert beside[3].endswith((": lower", ": higher", ": equal", ": not decided"))


def test_without_codebooks_the_command_is_told(drawn: Path) -> None:
    section = text(drawn).split("### Balance")[1]
    assert "`dvc exp run -S 'grid.datasets=[mnist]' -S 'grid.variants=[kd_512x128," in section


def test_the_second_papers_figures_are_drawn(made: Path) -> None:
    drawn = {path.stem for path in (made / "reports/figures").glob("*.png")}
    assert {"photos-codebooks", "photos-gaps", "photos-selection", codebooks.ACROSS} <= drawn


def test_selection_per_class_is_the_mean_of_the_seeds_in_order() -> None:
    books = ["512x128", "65536x1"]
    one = {"all": {"512x128": 0.5, "65536x1": 0.5}, "10": {"512x128": 1.0, "65536x1": 0.0}}
    one["9"] = {"512x128": 0.0, "65536x1": 1.0}
    other = {name: {"512x128": 0.0, "65536x1": 1.0} for name in one}
    seeds = [{"seed": 0, "selection": one}, {"seed": 1, "selection": other}]
    row = read.Row("dots-adaptive", "dots", "adaptive", {}, {}, seeds, pd.DataFrame(), {})
    found = codebooks.per_class(row, books)
    assert list(found.index) == ["all", "9", "10"]
    assert found["512x128"].tolist() == [0.25, 0.0, 0.5]
    many = {"all": one["all"], **{str(k): {"512x128": k / 30, "65536x1": 1 - k / 30} for k in range(30)}}
    sorted_ = codebooks.per_class(dataclasses.replace(row, seeds=[{"seed": 0, "selection": many}]), books)
    assert list(sorted_.index)[:3] == ["all", "29", "28"]  # from smaller to larger codebooks
    assert codebooks.per_class(dataclasses.replace(row, seeds=[{"seed": 0, "selection": None}]), books).empty


# figures


def test_pictures_are_enlarged_or_reduced_to_fit_the_page() -> None:
    small = np.zeros((8, 32, 32, 3), dtype=np.uint8)
    images, gap, times = figures.fitting(small)
    assert (images.shape, gap, times) == ((8, 32, 32, 3), 1, 840 // 264)
    large = np.full((8, 512, 512, 1), 7, dtype=np.uint8)
    images, _, times = figures.fitting(large)
    assert (images.shape, times) == ((8, 171, 171, 1), 1)
    assert (images == 7).all()


def test_data_sets_drawn_side_by_side_give_the_same_files(made: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(figures, "cores", lambda: 1)
    pictures = figures.draw_all(read.read_results(made), tmp_path / "figures")
    for name in pictures:
        for ending in ("png", "svg"):
            one, other = (folder / f"{name}.{ending}" for folder in (tmp_path / "figures", made / "reports/figures"))
            assert one.read_bytes() == other.read_bytes(), one.name
