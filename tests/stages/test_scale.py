"""What docs/scale.md says of DVC: remotes, a kept dvc.lock, the queue of experiments."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from project import DVC, change, copied, first_run, ran, shell

from pipeline.core import files

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("scale")]
KEYS = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
NEEDED = "pip install -r .ci/requirements.txt"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after its first run, whose settings of remotes change."""
    return copied(first_run(tmp_path_factory), tmp_path_factory.mktemp("scale") / "project")


def documented(
    folder: Path, command: str, *, status: int | None = 0, replace: str = "", by: str = "", **more: str
) -> str:
    """Run a command as it stands in docs/scale.md, but for what stands for something of the user's."""
    assert command in (ROOT / "docs/scale.md").read_text(), f"docs/scale.md does not hold `{command}`"
    assert replace in command
    return shell(folder, "bash", "-c", command.replace(replace, by) if replace else command, status=status, **more)


def clone(project: Path, to: Path) -> Path:
    """A clone, with the settings of remotes that are not committed."""
    shell(project, "git", "clone", "-q", str(project), str(to))
    if (project / ".dvc/config.local").is_file():
        (to / ".dvc/config.local").write_text((project / ".dvc/config.local").read_text())
    return to


@pytest.fixture
def folder_remote(project: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    command = "dvc remote add --local --default shared /shared/vqcheck-store"
    documented(project, command, replace="/shared/vqcheck-store", by=str(tmp_path / "remote"))
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
    command = "dvc remote add --local --default shared s3://my-bucket/vqcheck"
    documented(project, command, replace="my-bucket", by="shared")
    command = "dvc remote modify --local shared endpointurl https://s3.example.org"
    documented(project, command, replace="https://s3.example.org", by=url)
    yield KEYS
    shell(project, *DVC, "remote", "remove", "--local", "shared")
    server.stop()


@pytest.mark.parametrize("remote", ["folder_remote", "s3_remote"])
def test_a_second_clone_trains_nothing(
    remote: str, project: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    variables: dict[str, str] = request.getfixturevalue(remote)
    documented(project, "dvc push", **variables)
    second = clone(project, tmp_path / "second")
    assert ran(documented(second, "dvc repro --pull", **variables)) == set()
    weights = "models/photos-lattice/seed-0.safetensors"
    assert files.digest(second / weights) == files.digest(project / weights)
    assert shell(second, "git", "status", "--porcelain") == ""


def test_with_the_run_cache_it_needs_no_lock_file(folder_remote: dict[str, str], project: Path, tmp_path: Path) -> None:
    documented(project, "dvc push --run-cache")
    second = clone(project, tmp_path / "second")
    (second / "dvc.lock").unlink()
    assert ran(shell(second, *DVC, "repro", "--pull")) == {"plan", "report"}  # whose outputs are git's


def test_a_kept_lock_file_without_what_it_names_or_out_of_date_only_lets_train(project: Path, tmp_path: Path) -> None:
    second = clone(project, tmp_path / "second")  # there is no remote
    train = "train@photos-lattice"
    assert ran(shell(second, *DVC, "repro", train)) == {"download@photos", "preprocess@photos", train}
    weights = "models/photos-lattice/seed-0.safetensors"
    assert files.digest(second / weights) == files.digest(project / weights)
    shell(second, "git", "checkout", "-q", "dvc.lock")  # which names other files, of other times
    data = {"train": 32, "val": 16, "test": 16}
    change(second, datasets={"photos": {"data": data, "train": {"epochs": 1}}})
    assert ran(shell(second, *DVC, "repro", train)) == {"plan", train}
    assert len((second / "reports/history/photos-lattice.csv").read_text().splitlines()) == 1 + 1


COLUMNS = "Experiment|quantizer.gamma$|photos.lattice.(test_mse|codes_in_use)$"
TABLE = f"dvc exp show --no-pager --drop '.*' --keep '{COLUMNS}'"


def test_queued_experiments_run_in_copies_and_stand_in_one_table(project: Path) -> None:
    start = re.search(r"for gamma in .*; done", (ROOT / "docs/scale.md").read_text())
    assert start
    documented(project, start[0], replace="-1 0.1 1;", by="-1 1;")  # at 1 it is as it was
    documented(project, "dvc queue start -j 2")
    while re.search("Queued|Running", status := documented(project, "dvc queue status")):
        time.sleep(2)  # the command itself takes a second
    assert len(re.findall("Success", status)) == 2, status
    table = list(csv.reader(documented(project, TABLE, replace="--no-pager", by="--csv").splitlines()))
    assert {"photos.lattice.test_mse", "photos.lattice.codes_in_use"} < set(table[0])
    gammas = {row[table[0].index("quantizer.gamma")] for row in table[1:] if row[0].startswith("gamma")}
    assert gammas == {"-1", "1"}
    assert shell(project, "git", "status", "--porcelain") == ""  # unlike `dvc exp run` without a queue
