"""The training of one seed: everything that decides its weights, and nothing else.

images (B, C, H, W) → model → reconstructions, codes, losses → Adam, epoch by epoch

Validation and writing are handed in: changing them trains nothing again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pipeline import autoencoder
from pipeline.autoencoder import Autoencoder
from pipeline.core import cli, devices, ranks
from pipeline.core.errors import NonFiniteError, UserError
from pipeline.datasets.io.batches import Images

TRACED = 20
"""How often in an epoch the quantizer is asked for its trace."""

Line = dict[str, float]


class Training:
    """One seed in training, which can be interrupted after every epoch: see `state` and `restore`.

    Args:
        row: names the training in messages.
        settings: the row's, as the plan wrote them.
        seed: starts all randomness.
        shape: C, H, W of the images.
        device: where it computes.

    Attributes:
        history: a line for every finished epoch.
        trace: `Quantizer.trace` after so many steps in all, some times in every epoch.
        settled: whether the last epoch, at a learning rate of 0, left the quantizer as it was: so will all after it.
    """

    def __init__(
        self, row: str, settings: dict[str, Any], seed: int, shape: tuple[int, int, int], device: torch.device
    ) -> None:
        self.row, self.seed, self.device = row, seed, device
        self.options: dict[str, Any] = settings["train"]
        self.model = autoencoder.build(settings, shape, seed).to(device)
        if self.options["compile"]:
            self.model.encode = torch.compile(self.model.encode)  # type: ignore[method-assign]
            self.model.decode = torch.compile(self.model.decode)  # type: ignore[method-assign]
        learned = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        # averages gradients over the processes; buffers stay equal, since all that moves them is summed up
        joined = ranks.count() > 1
        self.forward = DistributedDataParallel(self.model, broadcast_buffers=False) if joined else self.model
        self.optimizer = torch.optim.Adam(learned, lr=self.options["lr"], fused=True)  # one pass over all weights
        self.order = torch.Generator().manual_seed(seed)
        self.history: list[Line] = []
        self.trace: list[Line] = []
        self.settled = False

    def run(self, images: Images, validate: Callable[[Autoencoder], Line], keep: Callable[[Training], None]) -> None:
        """Train to the last epoch, from the epoch that was reached.

        Args:
            images: the training split.
            validate: adds columns to an epoch's line; it changes neither the model nor the state of random numbers.
            keep: writes an epoch down.

        Raises:
            UserError: a loss is no longer finite.
        """
        while len(self.history) < self.options["epochs"]:
            if self.settled and not self.options["backprop_at_zero_lr"]:  # nothing would change
                line = {**self.history[-1], "epoch": len(self.history) + 1, "seconds": 0.0}
            else:
                line = self.epoch(images)
                line |= validate(self.model)
            self.history.append(line)
            keep(self)

    def epoch(self, images: Images) -> Line:
        """One pass over the training images."""
        number, epochs, batch_size = len(self.history) + 1, self.options["epochs"], self.options["batch_size"]
        sizes = images.sizes(batch_size)
        steps = len(sizes)
        learning_rate = self.learning_rate
        quantizer = self.model.quantizer
        before = {name: value.clone() for name, value in quantizer.state_dict().items()}
        traced = {0: quantizer.trace()} if number == 1 else {}
        losses, weights = [], []
        self.model.train()
        start = time.perf_counter()
        batches = images.shuffled(batch_size, self.order, self.options["flip"])
        for step, batch in enumerate(cli.progress(batches, f"{self.row} epoch {number}", steps, "step"), 1):
            quantizer.anneal((number - 1 + (step - 1) / steps) / epochs)
            with ranks.batch(sizes[step - 1]):
                try:
                    terms = self.step(batch)
                except NonFiniteError:
                    raise self.diverged(number, step) from None
                losses.append(torch.stack(list(terms.values())))
                weights.append(ranks.weight() / ranks.count())
            if step * TRACED // steps > (step - 1) * TRACED // steps:
                traced[(number - 1) * steps + step] = quantizer.trace()
        parts = torch.stack(losses).cpu() * torch.tensor(weights)[:, None]
        means = dict(zip(terms, self.means(torch.stack(ranks.everyones(parts)).sum(0), sizes, number), strict=True))
        seconds = time.perf_counter() - start  # .cpu() above waited for the device
        # as published: the decay is per epoch, so that a decay of 0 ends learning by gradient with the first
        for group in self.optimizer.param_groups:
            group["lr"] *= self.options["lr_decay"]
        after = quantizer.state_dict()
        self.settled = ranks.first(
            learning_rate == 0 and all(torch.equal(before[name], after[name]) for name in before)
        )
        self.trace += [
            {"step": step, **{name: value.item() for name, value in point.items()}}
            for step, point in traced.items()
            if point
        ]
        line = {"seed": self.seed, "epoch": number, "learning_rate": learning_rate, "seconds": seconds}
        line |= {"train_mse": means["mse"], "train_loss": sum(means.values())}
        return line | {name: mean for name, mean in means.items() if name != "mse"} | quantizer.statistics()

    def step(self, images: Float[Tensor, "b c h w"]) -> dict[str, Float[Tensor, ""]]:
        """One update.

        Args:
            images: this process's part of the batch.

        Returns:
            `mse` and the quantizer's losses of these images, left on the device.

        Raises:
            NonFiniteError: the loss is NaN or infinite; on a GPU, which would have to be waited for, `means` sees it.
        """
        with devices.autocast(self.device, self.options["precision"]):
            reconstructions, quantized = self.forward(images)  # (B, C, H, W); z (B, D, H/2ⁿ, W/2ⁿ)
            losses = {"mse": F.mse_loss(reconstructions, images), **quantized.losses}
            loss = torch.stack(list(losses.values())).sum()
        if self.device.type == "cpu" and not torch.isfinite(loss):
            raise NonFiniteError("the loss is NaN or infinite")
        if self.learning_rate > 0 or self.options["backprop_at_zero_lr"]:
            self.optimizer.zero_grad()
            loss.backward(torch.full_like(loss, ranks.weight()))
            self.optimizer.step()
        return {name: term.detach() for name, term in losses.items()}

    def means(self, losses: Float[Tensor, "steps terms"], sizes: list[int], epoch: int) -> list[float]:
        """The mean of every loss over the epoch's images.

        Args:
            losses: of every step, each the mean over its batch.
            sizes: images of every batch.

        Raises:
            UserError: a loss is NaN or infinite.
        """
        bad = (~torch.isfinite(losses)).any(1).nonzero()
        if len(bad):
            raise self.diverged(epoch, int(bad[0]) + 1)
        weights = torch.tensor(sizes, dtype=torch.float64)
        return (weights @ losses.double() / weights.sum()).tolist()

    def diverged(self, epoch: int, step: int) -> UserError:
        return UserError(
            f"{self.row}, seed {self.seed}, epoch {epoch}, step {step}: the loss is no longer finite; "
            "a lower train.lr or another quantizer setting may help."
        )

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """All that an uninterrupted training would go on with, and what it recorded."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "history": self.history,
            "trace": self.trace,
            "settled": self.settled,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.order.set_state(state["order"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.history, self.trace, self.settled = state["history"], state["trace"], state["settled"]
