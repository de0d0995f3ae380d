"""What a training takes: time, memory, and learned numbers."""

from __future__ import annotations

from pipeline.metrics import Measure, Measured


def _seconds(measured: Measured) -> list[float]:
    """Of every epoch."""
    return [line["seconds"] for line in measured.history]


def _seconds_per_epoch(measured: Measured) -> float:
    return sum(_seconds(measured)) / len(measured.history)


MEASURES = [
    Measure(
        "seconds", "training time", lambda m: sum(_seconds(m)), "s", decimals=1, better="lower", published="duration"
    ),
    Measure("seconds_per_epoch", "time per epoch", _seconds_per_epoch, "s", better="lower"),
    Measure("seconds_first_epoch", "time of the first epoch", lambda m: _seconds(m)[0], "s", better="lower"),
    Measure("peak_memory_mb", "memory", lambda m: m.peak_memory_mb, "MB", decimals=0, better="lower"),
    Measure(
        "quantizer_parameters",
        "parameters",
        lambda m: m.quantizer.parameter_count,
        decimals=0,
        better="lower",
        published="parameters",
    ),
]
