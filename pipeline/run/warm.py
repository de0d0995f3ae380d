"""What a stage imports, imported once: the processes of all stages are forked from the one that imports this module.

That takes three seconds of every stage otherwise. No thread has started by then, and no GPU is in use.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pipeline.core import cli

cli.die_with_parent()
os.setsid()  # Ctrl-C comes to `run` alone
os.environ["OMP_NUM_THREADS"] = "1"  # libraries read it while they are imported, and start as many threads
with suppress(Exception):  # the stage that needs it says what is wrong
    import torch._dynamo  # noqa: F401 — by any optimizer, with its first step

    import pipeline.autoencoder
    import pipeline.datasets.io.batches
    import pipeline.metrics  # noqa: F401
