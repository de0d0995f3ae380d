"""What all stages share on the command line: one-sentence errors, sober logs, progress bars on a terminal."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from pipeline.core.errors import UserError

Item = TypeVar("Item")
log = logging.getLogger("pipeline")


def run(main: Callable[[], None]) -> None:
    """Run a stage: log to standard error, and turn `UserError` and full disks into one line and exit status 1."""
    log_to_stderr()
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno != 28:  # ENOSPC
            raise
        sys.exit(
            f"error: no space left on the disk while writing {error.filename or 'a file'}; free some and run again."
        )
    except KeyboardInterrupt:
        sys.exit("stopped; run the same command again to go on.")


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
