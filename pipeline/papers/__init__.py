"""What the papers say: published numbers and claims, a YAML file per paper, and the schema that checks it.

A claim has an id that never changes, by which other claims, the report and reports/decisions.json know it, and a test
of one of four kinds, which `pipeline.report.evidence` decides on this pipeline's numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt

from pipeline.core import files
from pipeline.core.errors import UserError, at_place
from pipeline.core.schema import Section, check, did_you_mean

FOLDER = Path(__file__).parent
PAPERS = ("ll_vq_vae", "balance")
"""The files, in the order of the report."""
SIDES = ("below", "above", "within")


def _known(word: Any, words: Collection[str]) -> Any:
    if word not in words:
        raise ValueError(f"be {', '.join(words)}{did_you_mean(word, words)}")
    return word


Side = Annotated[Literal["below", "above", "within"], BeforeValidator(lambda word: _known(word, SIDES))]
"""Of a limit L: below, above, or within, which is |x| ≤ L for a difference, 1/L ≤ x ≤ L for a ratio."""


class Test(Section):
    """What decides a claim. Subclasses are the kinds."""

    __test__: ClassVar[bool] = False  # no test of pytest's
    kind: str
    measure: str

    def variants_named(self) -> Iterator[str]:
        """Every variant whose row the test needs."""
        for key in ("variant", "against", "variants"):
            value = getattr(self, key, [])
            yield from (name for name in ([value] if isinstance(value, str) else value) if name != FIRST_EPOCH)

    def measures_named(self) -> Iterator[str]:
        """Every measure that the test needs."""
        yield from (value for key in ("measure", "rate", "start_at_lowest") if (value := getattr(self, key, None)))


FIRST_EPOCH = "first epoch"


class Contrast(Test):
    """A row against another, paired over seeds.

    Attributes:
        variant: or a list, of which the best counts: the lowest mean where the side is below, else the highest.
        against: the same; or `first epoch`, which compares the variant's last epoch with its first one.
        by: whether differences are taken or ratios.
        limit: of the difference or ratio; 0 or 1 where it is not stated.
    """

    variant: str | list[str]
    against: str | list[str]
    side: Side
    by: Annotated[Literal["difference", "ratio"], BeforeValidator(lambda w: _known(w, ("difference", "ratio")))] = (
        "difference"
    )
    limit: float | None = None


class EachSeed(Test):
    """A statement that is true or false of every seed by itself.

    Attributes:
        variants: it must be true of all of them.
        relative_to: the measure is divided by this setting of the row (dotted name), or by the `smallest` of the rows.
    """

    variants: Annotated[list[str], Field(min_length=1)]
    side: Side
    limit: float
    relative_to: str | None = None


class Chain(Test):
    """A measure that falls (or rises) from each row to the next, each step as in a contrast.

    Attributes:
        start_at_lowest: a measure; the chain begins at the row where its mean is lowest.
    """

    variants: Annotated[list[str], Field(min_length=2)]
    direction: Annotated[Literal["falls", "rises"], BeforeValidator(lambda word: _known(word, ("falls", "rises")))] = (
        "falls"
    )
    start_at_lowest: str | None = None


class Dominance(Test):
    """A row that has the lower measure at no more of the rate (Pareto dominance)."""

    variant: str
    against: str
    rate: str


KINDS: dict[str, type[Test]] = {
    "contrast": Contrast,
    "each_seed": EachSeed,
    "chain": Chain,
    "dominance": Dominance,
}


class Claim(Section):
    """A sentence that a paper says, or that a reader asks beside it, and the test that decides it.

    Attributes:
        id: never changes.
        paper: name of its file; set when it is read.
        source: its place in the paper; empty for a claim that only follows another.
        origin: paper, or ours for what the paper does not say.
        follows: id of the claim that this one asks again in another way, which `note` states.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    claim: str
    paper: str = ""
    source: str = ""
    origin: Literal["paper", "ours"] = "paper"
    follows: str | None = None
    note: str = ""
    test: Any
