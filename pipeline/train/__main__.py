"""Train every seed of a row.

reports/settings/<row>.yaml, data/prepared/<dataset>/
    → models/<row>/               seed-<n>.safetensors, settings.yaml to use them by, about.json: how they came about
    → reports/history/<row>.csv   a line per seed and epoch

A killed training goes on from its last finished epoch when the same command runs again. Processes that torchrun starts
train the row together, one seed after the other: `torchrun --standalone --nproc-per-node 2 -m pipeline.train <row>`.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from pipeline import autoencoder
from pipeline.autoencoder import Autoencoder
from pipeline.core import cli, devices, files, parallel, provenance, ranks
from pipeline.core.errors import UserError
from pipeline.core.paths import Paths, read_settings
from pipeline.datasets.io import batches
from pipeline.datasets.io.batches import Images
from pipeline.metrics import counting, gradients, reconstruction
from pipeline.train.loop import Training


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", help="<dataset>-<variant>, as the plan names it")
    row = parser.parse_args().row
    cli.keep_freed_memory()
    with ranks.together():
        train_row(row, read_settings(row))


def train_row(row: str, settings: dict[str, Any], paths: Paths = Paths()) -> None:
    """Train all seeds and write the row's outputs; nothing appears under a final name before all is done.

    Raises:
        UserError: the row is being trained already, its data are missing or damaged, a loss is no longer finite, or
            there are more processes than images in a batch.
        OSError: a folder for the results cannot be written; this is found before anything is trained.
    """
    if settings["train"]["batch_size"] < ranks.count():
        raise UserError(
            f"train.batch_size is {settings['train']['batch_size']}, but {ranks.count()} processes share every batch; "
            "start at most as many."
        )
    files.check_writable(*paths.results)
    alone = files.alone(paths.checkpoints / f"{row}.lock", f"{row} is being trained")
    with alone if ranks.index() == 0 else nullcontext():
        _train_row(row, settings, paths)


def _train_row(row: str, settings: dict[str, Any], paths: Paths) -> None:
    device = devices.choose(settings["train"]["device"])
    prepared = paths.prepared(settings["dataset"])
    batches.check(prepared)
    train = Images(prepared, "train", torch.device("cpu"), settings["train"]["max_images"])
    unfinished = paths.checkpoints / f"{row}-{_fingerprint(settings, prepared)}"
    unfinished.mkdir(parents=True, exist_ok=True)
    work = functools.partial(train_seed, row, settings, prepared, unfinished)
    memory = parallel.parallel_map(work, settings["seeds"], device, settings["train"]["threads"])
    if ranks.index() > 0:
        return
    states = [_read(unfinished / f"seed-{seed}.pt") for seed in settings["seeds"]]
    _write_model(row, settings, states, train, max(memory), paths)
    _write_history(states, paths.history(row))
    files.remove(unfinished)


def train_seed(row: str, settings: dict[str, Any], prepared: Path, unfinished: Path, seed: int) -> float:
    """Train one seed to its end and leave it as a checkpoint in `unfinished`.

    Returns:
        The peak of memory in MB.
    """
    options = settings["train"]
    device = devices.choose(options["device"])
    devices.set_up(device, options["precision"])
    train, val = Images(prepared, "train", device, options["max_images"]), Images(prepared, "val", device)
    if device.type == "cuda" or options["compile"]:
        warm_up(row, settings, seed, train)
    training, checkpoint = Training(row, settings, seed, train.shape, device), unfinished / f"seed-{seed}.pt"
    if state := ranks.first(_read(checkpoint) if ranks.index() == 0 and checkpoint.is_file() else {}):
        training.restore(state)
        cli.log.info("%s seed %d: going on after epoch %d", row, seed, len(training.history))
    validation = functools.partial(validate, images=val, batch_size=options["batch_size"])
    training.run(train, validation, functools.partial(_keep, checkpoint))
    return max(ranks.everyones(devices.peak_memory(device)))


def warm_up(row: str, settings: dict[str, Any], seed: int, train: Images) -> None:
    """A step of a model that is thrown away: the first loads a GPU's libraries, or compiles, which is no training.

    The training that follows sets the random numbers anew.

    Raises:
        UserError: `torch.compile` does not work here.
    """
    training = Training(row, settings, seed, train.shape, train.device)
    training.model.train()
    try:
        losses = training.step(train.batch(slice(0, settings["train"]["batch_size"])))
    except torch._dynamo.exc.BackendCompilerFailed as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"train.compile is true, but torch.compile fails here ({reason}); install what it needs or set it to false."
        ) from None
    losses["mse"].item()  # waits for the device


@torch.no_grad()
def validate(model: Autoencoder, images: Images, batch_size: int) -> dict[str, float]:
    """What the history says of the validation split, with the model frozen: see `metrics`."""
    model.eval()
    errors, codes = [], counting.Counter()
    for size, batch in zip(images.sizes(batch_size), images.in_order(batch_size), strict=True):
        with ranks.batch(size):
            reconstructions, quantized = model(batch)
            errors.append(ranks.gather(reconstruction.squared_error(batch, reconstructions)))
        codes.add(quantized.codes.flatten(0, 2))
    codes.share()
    first = images.batch(slice(0, batch_size))
    loss, gap = gradients.quantization_costs(model.encode, model.quantizer, model.decode, first)
    mse = torch.cat(errors).mean().item()
    distinct = sum(ranks.everyones(codes.distinct))
    return {"val_mse": mse, "val_codes": distinct, "val_quantization_loss": loss, "val_gradient_gap": gap}


def _keep(checkpoint: Path, training: Training) -> None:
    if ranks.index() > 0:
        return
    content = io.BytesIO()
    torch.save(training.state(), content)  # not to the file itself: of a full disk torch says "unexpected pos"
    with files.replacing(checkpoint) as beside:
        beside.write_bytes(content.getbuffer())
    cli.log.info(
        "%s seed %d: epoch %d of %d, train MSE %.5f, val MSE %.5f, %.1f s",
        *(training.row, training.seed, len(training.history), training.options["epochs"]),
        *(training.history[-1][column] for column in ("train_mse", "val_mse", "seconds")),
    )


def _read(checkpoint: Path) -> dict[str, Any]:
    """What `_keep` wrote; nothing where the file is damaged, which is then removed."""
    content = io.BytesIO(checkpoint.read_bytes())
    try:
        state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    except Exception:  # of half a dozen kinds, by what is damaged; reading the file is behind us
        cli.log.warning("%s is damaged and removed; its seed is trained anew.", checkpoint)
        checkpoint.unlink()
        return {}
    return state


def _fingerprint(settings: dict[str, Any], prepared: Path) -> str:
    """Names an unfinished training, so that it is never taken up with other settings, code or data."""
    text = json.dumps(settings, sort_keys=True) + (prepared / "about.yaml").read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_model(
    row: str, settings: dict[str, Any], states: list[dict[str, Any]], train: Images, peak: float, paths: Paths
) -> None:
    """Weights, what is needed to use them, and how they came about."""
    seeds, device = settings["seeds"], devices.choose(settings["train"]["device"])
    threads = settings["train"]["threads"]
    environment = {**provenance.environment(device), "threads": threads, "processes": ranks.count()}
    environment["seeds_at_a_time"] = parallel.at_a_time(len(seeds), device, threads)
    trace = [{"seed": seed, **point} for seed, state in zip(seeds, states, strict=True) for point in state["trace"]]
    channels, height, width = train.shape
    about = {"environment": environment, "images": len(train), "peak_memory_mb": peak, "trace": trace}
    with files.replacing(paths.model(row)) as folder:
        folder.mkdir()
        for seed, state in zip(seeds, states, strict=True):
            autoencoder.save(state["model"], folder / f"seed-{seed}.safetensors")
        shape = [height, width, channels]  # in the order of about.yaml
        files.write_yaml(folder / "settings.yaml", {**settings, "shape": shape, "offset": train.offset})
        files.write_json(folder / "about.json", about)


def _write_history(states: list[dict[str, Any]], path: Path) -> None:
    lines = [line for state in states for line in state["history"]]
    columns = dict.fromkeys(column for line in lines for column in line)
    with files.replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    cli.run(main)
