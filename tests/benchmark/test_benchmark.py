"""The benchmark: it measures in turn, its opponents compute the same thing, and its floors are floors."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_up
import pytest
import torch
from conftest import ROOT, make_quantizer

from pipeline import autoencoder
from pipeline.benchmark import QUICK, apart, clock, compare, machine, opponents, overhead, quantizers, search, training
from pipeline.benchmark.__main__ import main, results
from pipeline.core import files
from pipeline.report import speed
from pipeline.report.__main__ import main as report

CPU = torch.device("cpu")


def test_a_quick_run_fills_every_part_but_the_slow_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "reports/benchmark.json"
    parts = [word for part in ("quantizers", "search", "training", "counting") for word in ("--part", part)]
    monkeypatch.setattr(
        "sys.argv", ["benchmark", "--quick", "--threads", "1", "--device", "cpu", *parts, "--out", str(out)]
    )
    main()
    found = files.read_json(out)
    assert found["quick"] is True
    groups = [line["group"] for line in found["comparisons"]]
    assert set(groups) == {"quantizer", "search", "step", "epoch", "distinct"}
    assert found["finished"] is True
    assert all(line["wrong"]["ours"] == 0 for line in found["comparisons"] if line["group"] == "search")
    for line in found["comparisons"]:
        assert line["ours"]["low"] <= line["ours"]["median"] <= line["ours"]["high"]
        assert line["ours"]["runs"] >= 3
        assert line["opponents"] or line["skipped"]
        assert line["floor"]["seconds"] > 0
        assert all(other["ratio"]["median"] > 0 for other in line["opponents"].values())
    assert json.dumps(found, allow_nan=False)


def test_contestants_take_turns_and_each_begins_a_round() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = clock.in_turn(calls, 3, 10.0, CPU, warm_up=1)
    assert order == [*"abc", *"abc", *"bca", *"cab"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3, "c": 3}


FUSED = """
import json
import torch
from pipeline.benchmark import QUICK, quantizers

print(json.dumps(quantizers.fused(98, QUICK, torch.device("cpu"))))
"""


@pytest.mark.skipif(shutil.which(autoencoder.CXX) is None, reason="torch.compile needs a compiler")
def test_a_compiled_lattice_is_measured_beside_itself_and_the_textbook() -> None:
    """In a process where shapes are not checked: the compiler cannot follow the checks."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", FUSED], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["group"] == "compiled"
    assert list(found["opponents"]) == ["ours, not compiled", "textbook", "textbook, compiled"]


def test_without_a_compiler_a_compiled_lattice_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert quantizers.fused(98, QUICK, CPU)["left_out"] == "needs a compiler, which was not found"


def test_dvc_is_timed_with_the_real_stages_and_idle_commands(tmp_path: Path, params: dict[str, Any]) -> None:
    for name in ("pipeline", "dvc.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    files.write_yaml(tmp_path / "params.yaml", {**params, "grid": {**params["grid"], "variants": ["vq", "lattice"]}})
    found = overhead.measure(tmp_path)
    assert found["stages"] == 1 + 2 + 2 * 2 + 1  # plan, download and preprocess, train and evaluate, report
    assert 0 < found["again"] < found["first"]


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


def test_a_floor_is_the_longer_of_bytes_and_operations() -> None:
    little, many, much = machine.Work(8.0, 0.0), machine.Work(8.0, 1e12), machine.Work(1e12, 8.0)
    assert machine.floor(little, CPU) < machine.floor(many, CPU)
    assert machine.floor(little, CPU) < machine.floor(much, CPU)
    assert machine.floor(many, CPU) == pytest.approx(1e12 / machine.arithmetic(CPU))


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


def test_a_contestant_apart_is_made_there_and_times_itself() -> None:
    side = apart.Side(CPU)
    call = side.make(counting_up, 2)
    assert clock.in_turn({"there": call}, 1, 1.0, CPU, warm_up=1)["there"][0] >= 0
    with pytest.raises(RuntimeError, match="StopIteration"):
        call()
    assert clock.seconds_of(side.make(counting_up, 1), CPU) >= 0
    side.end()
    assert not side._process.is_alive()


def test_what_a_machine_is_too_small_or_slow_for_is_left_out_with_the_reason() -> None:
    big = training.step("vq", (3, 64, 64), (64,), 10**6, QUICK, CPU, {})
    assert big["left_out"].startswith("needs about 1")
    slow = training.step("vq", (3, 8, 8), (4,), 8, dataclasses.replace(QUICK, longest=0.0), CPU, {})
    assert slow["left_out"].startswith("takes 0.0 s")


def test_a_run_that_is_killed_leaves_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"group": "quantizer", "setting": {}}

    def killed(*_: object) -> Iterator[dict[str, Any]]:
        yield line
        raise KeyboardInterrupt

    monkeypatch.setattr(quantizers, "measure", killed)
    kept = []
    with pytest.raises(KeyboardInterrupt):
        for found in results(QUICK, CPU, True, ["quantizers"]):
            kept.append((found["finished"], list(found["comparisons"])))
    assert kept == [(False, [line])]


def test_work_of_a_search() -> None:
    assert quantizers.search_work(10, 512, 128).operations == 2 * 10 * 512 * 128
    assert quantizers.search_work(10, 65536, 1).operations == 2 * 10 * 16


def a_benchmark() -> dict[str, Any]:
    """One line of each kind, with numbers that a reader can check."""
    ours = {"median": 0.002, "low": 0.001, "high": 0.004, "runs": 5, "memory_mb": 7.0}
    ratio = {"median": 3.0, "low": 2.5, "high": 3.5, "runs": 5}
    line = {"ours": ours, "opponents": {"textbook": {**ours, "median": 0.006, "ratio": ratio}}}
    line |= {
        "skipped": {"huge": "needs 9.0 GB"},
        "floor": {"bytes": 1.0, "operations": 1.0, "seconds": 5e-4, "share": 0.25},
    }
    setting = {"quantizer": "lattice", "K": 512, "D": 64, "vectors": 98}
    environment = {"device": "a made-up CPU", "threads": 1, "torch": "2.12"}
    memory = {
        "what": "step",
        "images": 64,
        "vectors": 350464,
        "before_mb": 500.0,
        "peak_mb": 900.0,
        "textbook_mb": 183744.0,
    }
    spread = {"median": 1.25, "low": 1.0, "high": 2.0, "runs": 3}
    search = {
        **line,
        "group": "search",
        "setting": {"K": 512, "D": 128, "vectors": 98},
        "wrong": {"ours": 0, "full matrix": 41},
        "extra_mb": 12.0,
        "extra_vectors": 12544,
    }
    step = {
        **line,
        "group": "step",
        "setting": {"quantizer": "vq", "batch": 32},
        "skipped": {},  # one opponent, whose share of the floor is then shown
        "per_second": 8765.0,
        "unit": "images",
    }
    return {
        "environment": environment,
        "quick": False,
        "finished": False,
        "left_out": [{"group": "step", "setting": {"quantizer": "vq", "batch": 256}, "left_out": "needs about 20 GB"}],
        "clock": "processor",
        "machine": {"bandwidth_gb_per_s": 20.0, "arithmetic_gflop_per_s": 90.0},
        "comparisons": [{"group": "quantizer", "setting": setting, **line}, search, step],
        "memory": [memory],
        "overhead": {"stages": 54, "first": 13.94, "again": 1.66},
        "starting": {"train": {"seconds": spread, "processor_seconds": {**spread, "median": 0.75}}},
    }


def test_the_report_shows_a_benchmark_where_there_is_one(tmp_path: Path) -> None:
    made_up.make(tmp_path, datasets=("dots",), variants=("vq", "lattice"), seeds=(7,))
    report(tmp_path)
    assert "## Time and memory" not in (tmp_path / "reports/report.md").read_text()
    files.write_json(tmp_path / "reports/benchmark.json", a_benchmark())
    report(tmp_path)
    text = (tmp_path / "reports/report.md").read_text()
    shown = ["a made-up CPU, 1 threads", "2 [1, 4]", "3.00× [2.50, 3.50], 7 MB", "needs 9.0 GB", "25%", "183,744"]
    shown += [
        "stopped before its end",
        "images per second",
        "textbook's share",
        "DVC itself took 13.9 s for the 54 stages",
        " 8%",
        "512",
        "batch 256 (needs about 20 GB)",
        "12 at 12,544",
        "41",
    ]
    assert [words for words in shown if words not in text] == []
    assert all((tmp_path / f"reports/figures/benchmark-{name}.png").is_file() for name in ("codes", "search"))


@pytest.mark.parametrize(
    ("value", "written"), [(1234.5, "1,234"), (100.4, "100"), (99.94, "99.9"), (5.0, "5"), (0.001234, "0.00123")]
)
def test_times_are_written_with_three_digits_and_no_exponent(value: float, written: str) -> None:
    assert speed.digits(value) == written
