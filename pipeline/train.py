"""Train every seed of a row.

    data/prepared/<dataset>/, reports/settings/<row>.yaml → models/<row>/seed-<n>.safetensors, models/<row>/about.json
                                                            reports/history/<row>.csv

A killed training goes on from its last finished epoch when the same command runs again.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor

from pipeline import autoencoder
from pipeline.autoencoder import Autoencoder
from pipeline.core import cli, devices, files, parallel, parts, paths, provenance
from pipeline.core.errors import NonFiniteError, UserError
from pipeline.datasets.io.batches import Images
from pipeline.metrics import counting, gradients, reconstruction
from pipeline.quantizers import Quantized

PREPARED = Path("data/prepared")
MODELS = Path("models")
HISTORY = Path("reports/history")
UNFINISHED = Path(".checkpoints")
TRACED = 20
"""How often in an epoch the quantizer is asked what it does."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", help="<dataset>-<variant>, as the plan names it")
    row = parser.parse_args().row
    settings = paths.read_settings(row)
    cli.keep_freed_memory()
    UNFINISHED.mkdir(exist_ok=True)
    try:
        # seconds: after a kill, the processes of single seeds take a moment to go
        with FileLock(UNFINISHED / f"{row}.lock", timeout=2):
            train_row(row, settings)
    except Timeout:
        raise UserError(f"{row} is being trained by another process; wait for it or stop it.") from None


def train_row(row: str, settings: dict[str, Any]) -> None:
    """Train all seeds and write the row's outputs; nothing appears under a final name before all is done."""
    device = devices.choose(settings["train"]["device"])
    prepared = PREPARED / settings["dataset"]
    Images(prepared, "val", torch.device("cpu"))  # says what is missing
    unfinished = UNFINISHED / f"{row}-{_fingerprint(settings, prepared)}"
    unfinished.mkdir(parents=True, exist_ok=True)
    work = functools.partial(train_seed, row, settings, unfinished)
    memory = parallel.parallel_map(work, settings["seeds"], device)
    _write(row, settings, [_read(unfinished / f"seed-{seed}.pt") for seed in settings["seeds"]], device, max(memory))
    files.remove(unfinished)


def train_seed(row: str, settings: dict[str, Any], unfinished: Path, seed: int) -> float:
    """Train one seed to its end, which it leaves as a checkpoint; gives the peak of memory in MB."""
    device = devices.choose(settings["train"]["device"])
    set_up(device, settings["train"]["precision"])
    train = Images(PREPARED / settings["dataset"], "train", device, settings["train"]["max_images"])
    val = Images(PREPARED / settings["dataset"], "val", device)
    if device.type == "cuda" or settings["train"]["compile"]:
        warm_up(row, settings, seed, train)
    Training(row, settings, seed, train.shape, device).run(train, val, unfinished / f"seed-{seed}.pt")
    return peak_memory(device)


def warm_up(row: str, settings: dict[str, Any], seed: int, train: Images) -> None:
    """A step of a model that is thrown away: the first loads a GPU's libraries, or compiles, which is no training.

    The training that follows sets the random numbers anew.
    """
    training = Training(row, settings, seed, train.shape, train.device)
    training.model.train()
    terms = training.step(train.batch(slice(0, settings["train"]["batch_size"])), 1, 1)
    terms["mse"].item()  # waits for the device


def set_up(device: torch.device, precision: str) -> None:
    """How this process computes: at this precision, and on a CPU so that the same command gives the same numbers."""
    devices.set_precision(precision)
    torch.use_deterministic_algorithms(device.type == "cpu")
    # would write NaN into all memory before its use, to show what is read without being written: one pass more over all
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _fingerprint(settings: dict[str, Any], prepared: Path) -> str:
    """Names an unfinished training, so that it is never taken up with other settings, code or data."""
    text = json.dumps(settings, sort_keys=True) + (prepared / "about.yaml").read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(row: str, settings: dict[str, Any], states: list[dict[str, Any]], device: torch.device, peak: float) -> None:
    """The row's outputs, from its seeds' last checkpoints."""
    seeds = settings["seeds"]
    processes, threads = parallel.share(len(seeds), device)
    environment = {**provenance.environment(device), "threads": threads, "seeds_at_a_time": processes}
    with files.replacing(MODELS / row) as folder:
        folder.mkdir()
        for seed, state in zip(seeds, states, strict=True):
            autoencoder.save(state["model"], folder / f"seed-{seed}.safetensors")
        trace = [{"seed": seed, **point} for seed, state in zip(seeds, states, strict=True) for point in state["trace"]]
        about = {"environment": environment, "peak_memory_mb": peak, "trace": trace}
        files.write_json(folder / "about.json", about)
    import pandas as pd  # here, since it takes a good part of a second and is not needed to begin

    history = pd.DataFrame([line for state in states for line in state["history"]])
    with files.replacing(HISTORY / f"{row}.csv") as path:
        history.to_csv(path, index=False)


def _read(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return state


def peak_memory(device: torch.device) -> float:
    """MB of 10⁶ bytes: the most that was allocated on the GPU, or that this process held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@dataclass
class Training:
    """One seed: the model, its optimizer, and a line of history per finished epoch."""

    row: str
    settings: dict[str, Any]
    seed: int
    shape: tuple[int, int, int]
    device: torch.device
    model: Autoencoder = field(init=False)
    history: list[dict[str, float]] = field(init=False, default_factory=list)
    trace: list[dict[str, float]] = field(init=False, default_factory=list)
    """What the quantizer says of itself some times per epoch, after so many steps in all."""
    network: autoencoder.Network = field(init=False)
    """The model as training steps call it, compiled or not."""
    settled: bool = field(init=False, default=False)
    """Whether the last epoch, at a learning rate of 0, left the quantizer as it was: so will every epoch after it."""

    def __post_init__(self) -> None:
        options = self.settings["train"]
        self.model = autoencoder.build(self.settings, self.shape, self.seed).to(self.device)
        self.network = autoencoder.compiled(self.model, self.device) if options["compile"] else self.model
        learned = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=options["lr"], fused=True)  # one pass over all weights
        # as published: stepped after every epoch, so that a decay of 0 ends learning by gradient with the first
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=options["lr_decay"])
        self.order = torch.Generator().manual_seed(self.seed)

    def run(self, train: Images, val: Images, checkpoint: Path) -> None:
        """Train to the last epoch, from `checkpoint` where it is there, and keep it up to date.

        Raises:
            UserError: a loss is no longer finite.
        """
        if checkpoint.is_file():
            self.load(checkpoint)
            cli.log.info("%s seed %d: going on after epoch %d", self.row, self.seed, len(self.history))
        epochs = self.settings["train"]["epochs"]
        while len(self.history) < epochs:
            if self.settled and not self.settings["train"]["idle_gradients"]:
                line = {**self.history[-1], "epoch": len(self.history) + 1, "seconds": 0.0}
            else:
                line = self.epoch(train, val)
            self.history.append(line)
            self.save(checkpoint)
            cli.log.info(
                "%s seed %d: epoch %d of %d, train MSE %.5f, val MSE %.5f, %.1f s",
                *(self.row, self.seed, len(self.history), epochs, line["train_mse"], line["val_mse"], line["seconds"]),
            )

    def epoch(self, train: Images, val: Images) -> dict[str, float]:
        """One pass over the training images, then one over the validation images without learning."""
        options = self.settings["train"]
        number, rate = len(self.history) + 1, float(self.schedule.get_last_lr()[0])
        self.model.train()
        before = {name: value.clone() for name, value in self.model.quantizer.state_dict().items()}
        steps = -(-len(train) // options["batch_size"])
        batches = train.shuffled(options["batch_size"], self.order, options["flip"])
        start = time.perf_counter()
        record, sizes = [], []
        traced: dict[int, dict[str, Tensor]] = {0: self.model.quantizer.trace()} if number == 1 else {}
        for step, images in enumerate(cli.progress(batches, f"{self.row} epoch {number}", steps, "step"), 1):
            self.model.quantizer.anneal((number - 1 + (step - 1) / steps) / options["epochs"])
            terms = self.step(images, number, step)
            record.append(torch.stack(list(terms.values())))
            sizes.append(len(images))
            if step * TRACED // steps > (step - 1) * TRACED // steps:
                traced[(number - 1) * steps + step] = self.model.quantizer.trace()
        means = dict(zip(terms, self.means(torch.stack(record).cpu(), sizes, number), strict=True))
        seconds = time.perf_counter() - start  # .cpu() above waited for the device
        self.trace += [
            {"step": step, **{name: value.item() for name, value in point.items()}}
            for step, point in traced.items()
            if point
        ]
        self.schedule.step()
        after = self.model.quantizer.state_dict()
        self.settled = rate == 0 and all(torch.equal(before[name], after[name]) for name in before)
        line: dict[str, float] = {"seed": self.seed, "epoch": number, "lr": rate, "train_mse": means.pop("mse")}
        line |= {"train_loss": line["train_mse"] + sum(means.values()), **means}
        line |= {**self.validate(val), "seconds": seconds}
        line |= gradients.gap(self.model, val.batch(slice(0, options["batch_size"])))
        return line | self.model.quantizer.statistics()

    def step(self, images: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update; gives the loss terms."""
        try:
            with devices.autocast(self.device, self.settings["train"]["precision"]):
                error, quantized = self.forward(images)
                terms = {"mse": error, **quantized.losses}
                loss = torch.stack(list(terms.values())).sum()
        except NonFiniteError:
            raise self.no_longer_finite(epoch, step) from None
        if self.device.type == "cpu" and not torch.isfinite(loss):
            raise self.no_longer_finite(epoch, step)
        if self.schedule.get_last_lr()[0] > 0 or self.settings["train"]["idle_gradients"]:
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    def forward(self, images: Tensor) -> tuple[Tensor, Quantized]:
        """Error of the reconstructions, and what the quantizer gave; on a CPU large batches are decoded in parts."""
        if self.network is self.model and self.device.type == "cpu":
            quantized = self.model.quantizer(self.model.encoder(images))
            few = parts.at_once(quantized.z)
            if few < len(images):
                return parts.squared_error(self.model.decoder, quantized.z, images, few), quantized
            return F.mse_loss(self.model.decoder(quantized.z), images), quantized
        reconstructions, quantized = self.network(images)
        return F.mse_loss(reconstructions, images), quantized

    def means(self, record: Float[Tensor, "steps terms"], sizes: list[int], epoch: int) -> list[float]:
        """The mean of every loss term over the epoch's images.

        Raises:
            UserError: a step's terms are not finite; on a GPU it shows only here, where the host looks.
        """
        bad = (~torch.isfinite(record)).any(1).nonzero()
        if len(bad):
            raise self.no_longer_finite(epoch, int(bad[0]) + 1)
        weights = torch.tensor(sizes, dtype=torch.float64)
        return (weights @ record.double() / weights.sum()).tolist()

    def no_longer_finite(self, epoch: int, step: int) -> UserError:
        where = f"{self.row}, seed {self.seed}, epoch {epoch}, step {step}"
        return UserError(
            f"{where}: the loss is no longer finite; a lower train.lr or another quantizer setting may help."
        )

    @torch.no_grad()
    def validate(self, images: Images) -> dict[str, float]:
        """Mean squared error and distinct codes over the validation split, the model frozen."""
        self.model.eval()
        errors, codes = [], counting.Counter()
        for batch in images.in_order(self.settings["train"]["batch_size"]):
            reconstructions, quantized = self.model(batch)
            errors.append(reconstruction.squared_error(batch, reconstructions))
            codes.add(quantized.codes.flatten(0, 2))
        return {"val_mse": torch.cat(errors).mean().item(), "codes_val": codes.distinct}

    def save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "history": self.history,
            "trace": self.trace,
        }
        with files.replacing(path) as beside:
            torch.save(state, beside)

    def load(self, path: Path) -> None:
        state = _read(path)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.order.set_state(state["order"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.history, self.trace = state["history"], state["trace"]


if __name__ == "__main__":
    cli.run(main)
