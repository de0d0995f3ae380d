"""Fixtures: a report of made-up results, drawn once for all tests. What is slow to import is imported when needed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import made_up
import pytest

from pipeline.core.paths import Paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.report.results import Results

SOME = ("vq", "vq_ema", "lattice", "lattice_ramp", "vq_corrected", "kd_512x128", "kd_65536x1", "adaptive", "mine")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A report of two data sets, five sweeps and a part of the benchmark; tests do not change it."""
    from pipeline.report.__main__ import main

    paths = made_up.make(tmp_path_factory.mktemp("made"), variants=SOME)
    three, spaced = ["vq", "lattice", "lattice_corrected"], {"title": "The weight of the size loss, γ", "symbol": "γ"}
    size = {"title": "The size of the codebook, K", "symbol": "K"}
    made_up.add_sweep(paths, "codes", "quantizer.num_codes", [64, 256, 1024], variants=three, **size)
    made_up.add_sweep(paths, "gamma", "quantizer.gamma", [-1.0, 0.001, 1.0], **spaced)
    made_up.add_sweep(paths, "init", "quantizer.init", [1.0, 5.0, 10.0])
    made_up.add_sweep(paths, "zeal", "quantizer.zeal", ["little", "much"], variants=["mine"], measures=["sharpness"])
    made_up.add_sweep(paths, "long", "quantizer.gamma", [0.0, 1.0], variants=["lattice_corrected"], epochs=20)
    made_up.add_benchmark(paths, "overhead", [{"stages": 54, "first": 13.94, "again": 1.66}])
    main(paths)
    return paths


@pytest.fixture(scope="session")
def results(made: Paths) -> Results:
    from pipeline.report.results import read_results

    return read_results(made)


@pytest.fixture(scope="session")
def figures(results: Results) -> dict[str, Figure]:
    """The report's figures by name, drawn; tests do not change them."""
    from matplotlib import rc_context

    from pipeline.report.blocks import parts_of
    from pipeline.report.drawing import STYLE
    from pipeline.report.sections import sections

    with rc_context({**STYLE, "figure.max_open_warning": 0}):
        return {part.key: part.draw() for part in parts_of(sections(results)) if hasattr(part, "draw")}


@pytest.fixture(scope="session")
def two_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two rows with one seed."""
    from pipeline.report.__main__ import main

    paths = made_up.make(tmp_path_factory.mktemp("two"), datasets=("dots",), variants=("vq", "lattice"), seeds=(7,))
    main(paths)
    return paths.root


@pytest.fixture
def small(two_rows: Path, tmp_path: Path) -> Paths:
    """The report of two rows with one seed, to spoil."""
    return Paths(Path(shutil.copytree(two_rows, tmp_path / "small")))
