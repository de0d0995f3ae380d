"""Fixtures: a report of made-up results, drawn once for all tests. What is slow to import is imported when needed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import made_up
import pytest

from pipeline.core.paths import Paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.report.blocks import Figure as Shown
    from pipeline.report.results import Results

SOME = ("vq", "vq_ema", "lattice", "lattice_ramp", "vq_corrected", "kd_512x128", "kd_65536x1", "adaptive", "mine")


@pytest.fixture(scope="session")
def made_and_drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, dict[str, Figure]]:
    """A report of two data sets, five sweeps and a part of the benchmark, and its figures; tests do not change them."""
    from pipeline.report import drawing
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
    drawn, write = {}, drawing.write

    def write_and_keep(figure: Shown, folder: Path) -> None:
        def draw() -> Figure:
            return drawn.setdefault(figure.key, figure.draw())

        write(dataclasses.replace(figure, draw=draw), folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "cores", lambda: 1)  # in this process, so that the figures can be kept
        patch.setattr(drawing, "write", write_and_keep)
        main(paths)
    return paths, drawn


@pytest.fixture(scope="session")
def made(made_and_drawn: tuple[Paths, dict[str, Figure]]) -> Paths:
    return made_and_drawn[0]


@pytest.fixture(scope="session")
def figures(made_and_drawn: tuple[Paths, dict[str, Figure]]) -> dict[str, Figure]:
    """The report's figures by name."""
    return made_and_drawn[1]


@pytest.fixture(scope="session")
def results(made: Paths) -> Results:
    from pipeline.report.results import read_results

    return read_results(made)


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
