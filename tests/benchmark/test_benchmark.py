"""The benchmark: it measures in turn, its opponents compute the same thing, and its floors are floors."""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_up
import pages
import pytest
import torch
from conftest import ROOT, make_quantizer

from pipeline.benchmark import apart, clock, compare, machine, opponents, part_names
from pipeline.benchmark.__main__ import main, results
from pipeline.benchmark.parts import memory, overhead, quantizers, search, starting, training
from pipeline.benchmark.scale import QUICK
from pipeline.core import files
from pipeline.core.paths import Paths
from pipeline.report.blocks import Figure
from pipeline.report.results import read_results
from pipeline.report.sections import speed

CPU = torch.device("cpu")


def test_the_parts_are_known_without_torch() -> None:
    code = (
        "import sys; from pipeline.benchmark import part_names; print(*part_names()); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == part_names()
    assert {"search", "quantizers", "training", "counting", "memory", "starting", "overhead"} <= set(part_names())


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose best is known, so that nobody has to measure it."""
    monkeypatch.setattr(machine, "bandwidth", lambda device, size=0: 1e10)
    monkeypatch.setattr(machine, "arithmetic", lambda device: 1e11)
    gc.freeze()  # memory is freed before each contestant: this is quicker where there is less to look through
    yield
    gc.unfreeze()


SMALLEST = dataclasses.replace(QUICK, codes=(64,), grid=((512, 128),))


@pytest.mark.slow
@pytest.mark.usefixtures("slow_machine")
@pytest.mark.parametrize(
    ("part", "groups"),
    [("search", {"search", "trained"}), ("quantizers", {"quantizer"}), ("training", {"step", "epoch"})],
)
def test_a_part_has_a_line_per_comparison(part: str, groups: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "QUANTIZERS", ("lattice",))
    monkeypatch.setattr(search, "TRAINED", search.TRAINED[:1])
    *_, found = results(part, SMALLEST, CPU, True)
    assert (found["part"], found["quick"], found["finished"]) == (part, True, True)
    assert {line["group"] for line in found["lines"]} == groups
    for line in found["lines"]:
        assert line["ours"]["low"] <= line["ours"]["median"] <= line["ours"]["high"]
        assert line["ours"]["runs"] >= 3
        assert line["opponents"] or line["skipped"]
        assert line["floor"]["seconds"] > 0
        assert all(other["ratio"]["median"] > 0 for other in line["opponents"].values())
        assert line.get("wrong", {}).get("ours", 0) == 0


@pytest.mark.usefixtures("slow_machine")
def test_the_command_measures_one_part_and_writes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", "counting", "--quick", "--threads", "1", "--device", "cpu"])
    main(Paths(tmp_path))
    assert [path.name for path in (tmp_path / "reports/benchmark").iterdir()] == ["counting.json"]
    found = files.read_json(Paths(tmp_path).benchmark("counting"))
    assert [line["setting"]["codes"] for line in found["lines"]] == ["indices", "vectors of 64"]
    assert (found["part"], found["quick"], found["finished"]) == ("counting", True, True)


def test_starting_has_a_line_per_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "COMMANDS", {"python": ["-c", "pass"], "nothing": ["-c", ""]})
    lines = list(starting.measure(QUICK, CPU))
    assert [line["command"] for line in lines] == ["python", "nothing"]
    assert all(line["seconds"]["median"] > 0 and line["seconds"]["runs"] == 3 for line in lines)


def test_what_memory_measures_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """On small images; the part itself runs it in a process of its own."""
    monkeypatch.setattr(memory, "SIDE", 8)
    monkeypatch.setattr(memory, "CODES", 16)
    monkeypatch.setattr(memory, "KD", {**memory.KD, "num_codes": 16})
    memory.quantizer_call(1, CPU)()
    memory.step_call(1, CPU)()


def test_contestants_take_turns_and_each_begins_a_round() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = clock.in_turn(calls, 3, 10.0, CPU, warm_up=1)
    assert order == [*"abc", *"abc", *"bca", *"cab"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3, "c": 3}


@pytest.mark.slow
def test_dvc_is_timed_with_the_real_stages_and_idle_commands(tmp_path: Path, params: dict[str, Any]) -> None:
    for name in ("pipeline", "dvc.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    grid = {**params["grid"], "variants": ["vq"]}
    files.write_yaml(tmp_path / "params.yaml", {**params, "grid": grid})
    (line,) = overhead.measure(QUICK, CPU, tmp_path)
    assert line["stages"] == 1 + 2 + 2 + 1  # plan, download and preprocess, train and evaluate, report
    assert line["first"] > 0
    assert line["again"] > 0


def test_an_idle_command_writes_what_the_stage_would() -> None:
    described = {"cmd": "work ${key}", "outs": ["a/${key}.json", {"b/${key}": {"cache": False}}], "metrics": ["m.json"]}
    command = overhead.idle(described)
    assert command == "mkdir -p a b . && echo work ${key} | tee a/${key}.json b/${key} m.json"


def test_spread_and_ratios_by_hand() -> None:
    assert clock.spread([3.0, 1.0, 2.0, 5.0, 4.0]) == clock.Spread(3.0, 2.0, 4.0, 5)
    assert clock.spread([2.0]) == clock.Spread(2.0, 2.0, 2.0, 1)
    assert clock.ratios([1.0, 2.0, 4.0], [3.0, 2.0, 2.0]).median == 1.0


def test_extra_memory_sees_what_a_call_holds_at_once() -> None:
    held = clock.extra_memory(lambda: torch.ones(50_000_000).sum(), CPU)
    assert held is None or 150 < held < 300


@pytest.mark.usefixtures("slow_machine")
def test_a_floor_is_the_longer_of_bytes_and_operations() -> None:
    """At 10 GB/s and 100 GFLOP/s."""
    assert machine.floor(machine.Work(8.0, 0.0), CPU) == pytest.approx(8e-10)
    assert machine.floor(machine.Work(8.0, 1e12), CPU) == pytest.approx(10.0)
    assert machine.floor(machine.Work(1e12, 8.0), CPU) == pytest.approx(100.0)


def test_a_machines_best_is_measured() -> None:
    assert machine.bandwidth(CPU, 2**16) > 0
    assert machine._products(CPU, 16) > 0


@pytest.mark.usefixtures("slow_machine")
def test_an_opponent_that_does_not_fit_is_named_and_left_out() -> None:
    never = compare.Contestant(lambda: pytest.fail("it was made"), needs=1e18)
    made = {"ours": compare.Contestant(lambda: lambda: None), "huge": never}
    found = compare.compare("quantizer", {}, made, None, QUICK, CPU)
    assert found["opponents"] == {}
    assert found["skipped"]["huge"].startswith("needs 1,000,000,000")


@pytest.mark.parametrize("name", ["vq", "vq_ema", "lattice"])
def test_opponents_compute_what_ours_computes(name: str) -> None:
    """Else their times could not be compared."""
    mine = make_quantizer(name, dim=4, num_codes=8, **({"first_count": 1.0} if name == "vq_ema" else {}))
    other = opponents.TextbookLattice(4) if name == "lattice" else opponents.Textbook(4, 8, averaged=name == "vq_ema")
    shared = mine.state_dict()
    if "store_smoothed" in vars(mine):
        mine.store_smoothed = False
    other.load_state_dict({**other.state_dict(), **shared})
    z = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    ends = []
    for quantizer in (mine.train(), other.train()):
        leaf = z.clone().requires_grad_()
        out = quantizer(leaf)
        (sum(out.losses.values()) + (out.z * z.cos()).sum()).backward()
        ends.append(
            [
                out.z,
                sum(out.losses.values()),
                leaf.grad,
                *(p.grad for p in quantizer.parameters() if p.grad is not None),
            ]
        )
        if name == "vq_ema":
            ends[-1].append(quantizer.codebook.detach())
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_work_of_a_step_counts_its_convolutions_by_hand() -> None:
    work = training.step_work("lattice", (3, 8, 8), (4,), CPU).times(5)
    first = 2 * 4 * 4 * 4 * 3 * 4 * 4  # 4×4 outputs, 4 channels, each of 3·4·4 products: forward once, weights once
    assert work.operations > 5 * 2 * first
    assert work.operations % 5 == 0


def test_work_of_many_takes_what_is_needed_once_once() -> None:
    assert machine.Work(2.0, 3.0, 5.0).times(10) == machine.Work(25.0, 30.0)


def test_brute_force_finds_the_smallest_index_of_equals() -> None:
    vectors = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    codes = torch.tensor([[9.0, 9.0], [3.0, 0.0], [3.0, 2.0], [0.0, 3.0]])
    assert search.brute_force(vectors, codes).tolist() == [1, 1]


@pytest.mark.parametrize("find", [opponents.nearest_by_matrix, lambda x, c: search.by_peer(x, c, {})])
def test_other_searches_find_codes_that_lie_far_apart(find: Any) -> None:
    """They err where codes are close; here they are not."""
    codes = 10 * torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    vectors = codes[[3, 0, 6, 6]] + 0.01
    assert find(vectors, codes).tolist() == [3, 0, 6, 6]


def counting_up(device: torch.device, times: int) -> clock.Call:
    """A contestant that fails once it has run so many times."""
    left = iter(range(times))
    return lambda: next(left)


@pytest.mark.slow
def test_a_contestant_apart_is_made_there_and_times_itself() -> None:
    side = apart.Side(CPU)
    call = side.make(counting_up, 2)
    assert clock.in_turn({"there": call}, 1, 1.0, CPU, warm_up=1)["there"][0] >= 0
    with pytest.raises(RuntimeError, match="StopIteration"):
        call()
    assert clock.seconds_of(side.make(counting_up, 1), CPU) >= 0
    side.end()
    assert not side._process.is_alive()


@pytest.mark.usefixtures("slow_machine")
def test_what_a_machine_is_too_small_or_slow_for_is_left_out_with_the_reason() -> None:
    big = training.step("vq", (3, 64, 64), (64,), 10**6, QUICK, CPU, {})
    assert big["left_out"].startswith("needs about 1")
    slow = training.step("vq", (3, 8, 8), (4,), 8, dataclasses.replace(QUICK, longest=0.0), CPU, {})
    assert slow["left_out"].startswith("takes 0.0 s")


@pytest.mark.usefixtures("slow_machine")
def test_a_run_that_is_killed_leaves_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"group": "quantizer", "setting": {}}

    def killed(*_: object) -> Iterator[dict[str, Any]]:
        yield line
        raise KeyboardInterrupt

    monkeypatch.setattr(quantizers, "measure", killed)
    kept = []
    with pytest.raises(KeyboardInterrupt):
        for found in results("quantizers", QUICK, CPU, True):
            kept.append((found["finished"], list(found["lines"])))
    assert kept == [(False, [line])]


def test_work_of_a_search() -> None:
    assert quantizers.search_work(10, 512, 128).operations == 2 * 10 * 512 * 128
    assert quantizers.search_work(10, 65536, 1).operations == 2 * 10 * 16


def add_lines(paths: Paths) -> None:
    """One line of each kind, with numbers that a reader can check."""
    ours = {"median": 0.002, "low": 0.001, "high": 0.004, "runs": 5, "memory_mb": 7.0}
    ratio = {"median": 3.0, "low": 2.5, "high": 3.5, "runs": 5}
    line = {"ours": ours, "opponents": {"textbook": {**ours, "median": 0.006, "ratio": ratio}}}
    line |= {
        "skipped": {"huge": "needs 9.0 GB"},
        "floor": {"bytes": 1.0, "operations": 1.0, "seconds": 5e-4, "share": 0.25},
    }
    setting = {"quantizer": "lattice", "K": 512, "D": 64, "vectors": 98}
    made_up.add_benchmark(paths, "quantizers", [{"group": "quantizer", "setting": setting, **line}])
    wrong = {"ours": 0, "full matrix": 41}
    search = {"setting": {"K": 512, "D": 128, "vectors": 98}, "wrong": wrong, "extra_mb": 12.0, "extra_vectors": 12544}
    made_up.add_benchmark(paths, "search", [{**line, "group": "search", **search}])
    step = {"setting": {"quantizer": "vq", "batch": 32}, "per_second": 8765.0, "unit": "images"}
    step |= {"skipped": {}}  # one opponent, whose share of the floor is then shown
    left = {"group": "step", "setting": {"quantizer": "vq", "batch": 256}, "left_out": "needs about 20 GB"}
    made_up.add_benchmark(paths, "training", [{**line, "group": "step", **step}, left], finished=False)
    memory = {"what": "step", "images": 64, "vectors": 350464}
    memory |= {"before_mb": 500.0, "peak_mb": 900.0, "textbook_mb": 183744.0}
    made_up.add_benchmark(paths, "memory", [memory])
    made_up.add_benchmark(paths, "overhead", [{"stages": 54, "first": 13.94, "again": 1.66}])
    spread = {"median": 1.25, "low": 1.0, "high": 2.0, "runs": 3}
    start = {"command": "train", "seconds": spread, "processor_seconds": {**spread, "median": 0.75}}
    made_up.add_benchmark(paths, "starting", [start])


def test_the_report_shows_the_parts_that_were_asked_for(tmp_path: Path) -> None:
    paths = made_up.make(tmp_path, datasets=("dots",), variants=("vq", "lattice"), seeds=(7,))
    assert list(speed.section(read_results(paths))) == []
    add_lines(paths)
    found = list(speed.section(read_results(paths)))
    drawn = {part.key: part.draw() for part in found if isinstance(part, Figure)}
    text = pages.rendered(found)
    where = pages.line_of(text, "training")
    assert where["measured on"] == "a made-up CPU, 1 thread, torch 2.12"
    assert where["remarks"] == "stopped before its end"
    step = next(block for block in pages.blocks(text) if "images per second" in block[0])
    shown = dict(zip(pages.cells(step[0]), pages.cells(step[2]), strict=True))
    assert (shown["ours, ms"], shown["images per second"], shown["memory, MB"]) == ("2 [1, 4]", "8,765", "7")
    assert (shown["textbook"], shown["textbook's share"]) == ("3.00× [2.50, 3.50], 7 MB", "8%")
    assert pages.line_of(text, "lattice")["huge"] == "needs 9.0 GB"
    assert pages.line_of(text, "train ")["seconds of processor"] == "0.75"
    for sentence in ("DVC itself took 13.9 s for the 54 stages", "batch 256 (needs about 20 GB)", "12 at 12,544"):
        assert sentence in text
    curves = drawn["benchmark-codes"].axes[0].lines
    assert {line.get_label(): list(line.get_xydata()[0]) for line in curves} == {
        "LL-VQ-VAE": [512, 2.0],
        "LL-VQ-VAE, textbook": [512, 6.0],
    }
    searches = drawn["benchmark-search"].axes[0].lines
    assert {line.get_label(): list(line.get_ydata()) for line in searches} == {"ours": [2.0], "textbook": [6.0]}


@pytest.mark.parametrize(
    ("value", "written"), [(1234.5, "1,234"), (100.4, "100"), (99.94, "99.9"), (5.0, "5"), (0.001234, "0.00123")]
)
def test_times_are_written_with_three_digits_and_no_exponent(value: float, written: str) -> None:
    assert speed.digits(value) == written
