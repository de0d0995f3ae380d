"""What all stages share on the command line: one-sentence errors, sober logs, progress bars on a terminal."""

from __future__ import annotations

import ctypes
import errno
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from pipeline.core.errors import UserError

Item = TypeVar("Item")
log = logging.getLogger("pipeline")
PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
LESS_MEMORY = (
    "fewer rows at a time (`make report JOBS=1`) or a smaller train.batch_size or evaluate.batch_size in params.yaml "
    "take less memory"
)


def run(main: Callable[[], None]) -> None:
    """Run a stage: log to standard error, and turn errors that a person can mend into one line and exit status 1."""
    log_to_stderr()
    if "DVC_STAGE" in os.environ:  # which DVC sets; of a DVC that was killed, no command is left running
        die_with_parent()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; run the same command again to go on.")
    except Exception as error:
        if (sentence := explain(error)) is None:
            raise
        sys.exit(f"error: {sentence}")


def explain(error: Exception) -> str | None:
    """The sentence for an error that a person can mend; None for any other."""
    if isinstance(error, UserError):
        return str(error)
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, OSError) and number in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk while writing {error.filename or 'a file'}; free some and run again."
    if isinstance(error, OSError) and number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename or 'a file'} cannot be read or written ({error.strerror}); allow it and run again."
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _no_memory(error):
        return f"out of memory ({' '.join(str(error).split())[:200]}); {LESS_MEMORY}."
    return None


def _no_memory(error: Exception) -> bool:
    """Whether torch says so, of which no more is known here: OutOfMemoryError on a GPU, RuntimeError on a CPU."""
    on_gpu = type(error).__name__ == "OutOfMemoryError"
    return on_gpu or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))


def die_with_parent() -> None:
    """End when the process that started this one has ended in any way. Nothing outside Linux."""
    if PRCTL:
        PRCTL(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of giving it back: the next step needs as much, and fresh pages cost time.

    Nothing happens where the C library has no `mallopt`. See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: only larger blocks get pages of their own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: what is free at the heap's end stays


def progress(items: Iterable[Item], what: str, total: int, unit: str) -> Iterator[Item]:
    """Pass `items` on with a progress bar on a terminal, or a line in the log every half minute."""
    # the bars of several processes would overwrite each other
    alone = multiprocessing.parent_process() is None and not log.disabled
    if alone and sys.stderr.isatty() and not os.environ.get("CI"):
        yield from tqdm(items, desc=what, total=total, unit=unit, leave=False, dynamic_ncols=True)
        return
    start = last_line = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last_line >= 30:  # seconds between two lines of a log
            last_line = now
            percent, speed = 100 * done / total, done / (now - start)
            log.info("%s: %d of %d (%.0f %%) %s, %.1f %s/s", what, done, total, percent, unit, speed, unit)
