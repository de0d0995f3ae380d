"""How fast, how big, and how near to the machine's limit; every opponent takes turns with ours, in one run.

    python -m pipeline.benchmark <part> [--quick] → reports/benchmark/<part>.json, which the report shows

parts      what is compared, a file per part
scale      how much is measured
clock      contestants measured in turn, medians with spread, ratios within a round; memory of a call
compare    one line of a result: ours, the opponents, the floor
machine    bandwidth and arithmetic of this machine, and the floor they set
apart      contestants in processes of their own
opponents  the textbook's quantizers; other authors' library
"""

from __future__ import annotations

import pkgutil
from pathlib import Path


def part_names() -> list[str]:
    """The names of the parts, without importing them: `plan` and the report need no torch."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "parts")]))
