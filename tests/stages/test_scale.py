"""Data, models and results through a DVC remote, and what a kept dvc.lock does to a new clone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import DVC, change, commit, make_project, ran, shell

from pipeline.core import files

pytestmark = pytest.mark.slow
RUN = [sys.executable, "-m", "pipeline.run"]
KEYS = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
NEEDED = "pip install -r .ci/requirements.txt"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project with one row, `dvc repro` done, everything in git that a user has there."""
    folder = make_project(tmp_path_factory.mktemp("first"))
    change(folder, grid={"variants": ["vq"]})
    shell(folder, *DVC, "repro")
    commit(folder, "first run")
    return folder


def clone(project: Path, to: Path) -> Path:
    """A clone, with the settings of remotes that are not committed."""
    shell(project, "git", "clone", "-q", str(project), str(to))
    if (project / ".dvc/config.local").is_file():
        (to / ".dvc/config.local").write_text((project / ".dvc/config.local").read_text())
    return to


@pytest.fixture
def folder_remote(project: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    shell(project, *DVC, "remote", "add", "--local", "--default", "shared", str(tmp_path / "remote"))
    yield {}
    shell(project, *DVC, "remote", "remove", "--local", "shared")


@pytest.fixture
def s3_remote(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """S3, as far as moto imitates it."""
    pytest.importorskip("dvc_s3", reason=f"dvc-s3 is not installed: {NEEDED}")
    server = pytest.importorskip("moto.server", reason=f"moto is not installed: {NEEDED}").ThreadedMotoServer(port=0)
    import boto3

    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="shared")
    shell(project, *DVC, "remote", "add", "--local", "--default", "shared", "s3://shared/vqcheck")
    shell(project, *DVC, "remote", "modify", "--local", "shared", "endpointurl", url)
    yield KEYS
    shell(project, *DVC, "remote", "remove", "--local", "shared")
    server.stop()


@pytest.mark.parametrize("remote", ["folder_remote", "s3_remote"])
def test_a_second_clone_trains_nothing(
    remote: str, project: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    variables: dict[str, str] = request.getfixturevalue(remote)
    shell(project, *DVC, "push", **variables)
    second = clone(project, tmp_path / "second")
    assert ran(shell(second, *DVC, "repro", "--pull", **variables)) == set()
    weights = "models/photos-vq/seed-0.safetensors"
    assert files.digest(second / weights) == files.digest(project / weights)
    assert shell(second, "git", "status", "--porcelain") == ""


def test_with_the_run_cache_it_needs_no_lock_file(folder_remote: dict[str, str], project: Path, tmp_path: Path) -> None:
    shell(project, *DVC, "push", "--run-cache")
    second = clone(project, tmp_path / "second")
    (second / "dvc.lock").unlink()
    assert ran(shell(second, *DVC, "repro", "--pull")) == {"plan", "report"}  # whose outputs are git's


def test_a_kept_lock_file_without_what_it_names_or_out_of_date_only_lets_train(project: Path, tmp_path: Path) -> None:
    second = clone(project, tmp_path / "second")  # there is no remote
    assert ran(shell(second, *DVC, "repro", "train")) == {"download@photos", "preprocess@photos", "train@photos-vq"}
    weights = "models/photos-vq/seed-0.safetensors"
    assert files.digest(second / weights) == files.digest(project / weights)
    shell(second, "git", "checkout", "-q", "dvc.lock")  # which names other files, of other times
    data = {"train": 32, "val": 16, "test": 16}
    change(second, datasets={"photos": {"data": data, "train": {"epochs": 1}}})
    assert ran(shell(second, *DVC, "repro", "train")) == {"plan", "train@photos-vq"}
    assert len((second / "reports/history/photos-vq.csv").read_text().splitlines()) == 1 + 1
