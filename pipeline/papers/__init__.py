"""What the papers say: published numbers and claims, a YAML file per paper, and the schema that checks it.

A claim has an id that never changes, by which other claims, the report and reports/decisions.json know it, and a test
of one of four kinds, which `pipeline.report.evidence` decides on this pipeline's numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from pipeline.core import files
from pipeline.core.errors import UserError, at_place
from pipeline.core.schema import Section, check, did_you_mean, matching, require

FOLDER = Path(__file__).parent
PAPERS = ("ll_vq_vae", "balance")
"""The files, in the order of the report."""


def _one_of(*words: str) -> BeforeValidator:
    """A word of a list; another is told which is meant."""

    def known(word: Any) -> Any:
        if word not in words:
            raise ValueError(f"be {', '.join(words[:-1])} or {words[-1]}{did_you_mean(word, words)}")
        return word

    return BeforeValidator(known)


Side = Annotated[Literal["below", "above", "within"], _one_of("below", "above", "within")]
"""Of a limit L: below, above, or within, which is |x| ≤ L for a difference and 1/L ≤ x ≤ L for a ratio."""
Line = Annotated[str, matching(r".+", "one line of text")]
FIRST_EPOCH, SMALLEST = "first epoch", "smallest"


class Test(Section):
    """What decides a claim. Subclasses are the kinds."""

    __test__: ClassVar[bool] = False  # no test of pytest's
    kind: str
    measure: str

    def named(self, *keys: str) -> dict[str, list[str]]:
        """The names that the test states at those of the keys that its kind has."""
        stated = {key: getattr(self, key, None) or [] for key in keys}
        return {key: [names] if isinstance(names, str) else names for key, names in stated.items()}

    @property
    def variants_needed(self) -> list[str]:
        """Every variant whose row decides."""
        named = self.named("variant", "against", "variants").values()
        return list(dict.fromkeys(name for names in named for name in names if name != FIRST_EPOCH))


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
    by: Annotated[Literal["difference", "ratio"], _one_of("difference", "ratio")] = "difference"
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
    direction: Annotated[Literal["falls", "rises"], _one_of("falls", "rises")] = "falls"
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
        source: its place in the paper; empty for a claim that follows another.
        origin: paper, or ours for what the paper does not say.
        follows: id of the claim that this one asks again in another way, which `note` states.
    """

    id: Annotated[str, matching(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case words joined by -")]
    claim: Line
    source: str = ""
    origin: Annotated[Literal["paper", "ours"], _one_of("paper", "ours")] = "paper"
    follows: str = ""
    note: str = ""
    test: Test


class Numbers(Section):
    """Published numbers of a model on a data set."""

    mse: PositiveFloat | None = None
    codes: PositiveInt | None = None
    duration: PositiveFloat | None = None
    parameters: PositiveInt | None = None


class Table(Section):
    """A table of a paper: the numbers of each model on a data set."""

    title: Line
    source: Line
    duration_unit: Annotated[Literal["s", "min"], _one_of("s", "min")]
    rows: dict[str, Numbers]


class Finding(Section):
    """What the authors' code does that the text does not say; see the comment in the file."""

    point: Line
    here: Line
    finding: str = ""
    figure: str = ""
    variants: list[str] = Field(default=[])
    claims: list[str] = Field(default=[])


class Paper(Section):
    """A file of this folder."""

    title: Line
    url: Line
    short: Line
    models: dict[str, str]
    results: dict[str, Table]
    claims: list[dict[str, Any]]
    authors: str = ""
    seeds: PositiveInt = 1
    trained: dict[str, dict[str, Any]] = Field(default={})
    hardware: str = ""
    hardware_short: str = ""
    capacity: PositiveInt = 1
    datasets: dict[str, str] = Field(default={})
    table_1: dict[str, dict[str, str]] = Field(default={})
    table_3: dict[str, dict[str, Any]] = Field(default={})
    figures: dict[str, dict[str, str]] = Field(default={})
    recount: dict[str, Any] = Field(default={})
    counting: dict[str, Any] = Field(default={})
    audit: list[Finding] = Field(default=[])


@dataclass(frozen=True)
class Known:
    """Names that a file may use. None: they are not known here, and not checked."""

    measures: Collection[str]
    variants: Collection[str] | None = None
    settings: Collection[str] | None = None
    datasets: Collection[str] | None = None

    def check_variants(self, place: str, names: Iterable[str]) -> None:
        """A row of a sweep, `<variant>_<sweep>_<number>`, may be one that params.yaml does not make.

        Raises:
            UserError: a name is neither a variant nor of that form.
        """
        if self.variants is not None:
            swept = re.compile(rf"({'|'.join(self.variants)})_[a-z]+(_minus)?(_\d+)+")
            require(place, (name for name in names if not swept.fullmatch(name)), self.variants)


def read(known: Known | None = None, folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Every paper by the name of its file: what stands there, with `claims` as objects of `Claim`.

    Args:
        known: what the files may name; None: not checked.

    Raises:
        UserError: an unknown, missing or repeated key, a wrong value, an unknown name, an id that stands twice.
    """
    papers = {}
    for name in PAPERS:
        path = folder / f"{name}.yaml"
        stated = files.read_edited_yaml(path)
        with at_place(f"pipeline/papers/{path.name}"):
            paper = check(Paper, stated, path.name)
            papers[name] = {**stated, "claims": [_claim(number, claim) for number, claim in enumerate(paper.claims)]}
            if known:
                _check_names(papers[name], known)
    _check_ids(papers)
    return papers


def _claim(number: int, stated: dict[str, Any]) -> Claim:
    """The claim that a file states.

    Raises:
        UserError: a key or value is wrong; the sentence calls the claim by its id.
    """
    place = f"claims.{stated['id']}" if "id" in stated else f"claims[{number}]"

    def keys(section: str, values: Iterable[str]) -> dict[str, str]:
        return {key: f"{place}.{section}{key}" for key in values}

    test = stated.get("test", {})
    if not isinstance(test, dict):
        raise UserError(f"{place}.test is {test!r}, but should be a section of keys.")
    if "test" in stated:
        require(f"{place}.test.kind", [str(test.get("kind"))], KINDS)
        kind = KINDS[test["kind"]]
        stated = {**stated, "test": check(kind, test, test["kind"], keys("test.", {**test, **kind.model_fields}))}
    claim = check(Claim, stated, "a claim", keys("", {**stated, **Claim.model_fields}))
    if not claim.source and not claim.follows:
        raise UserError(f"{place} states neither source nor follows; say where in the paper it stands.")
    return claim


def _check_names(paper: Mapping[str, Any], known: Known) -> None:
    """
    Raises:
        UserError: a name is not known.
    """
    for claim in paper["claims"]:
        place = f"claims.{claim.id}.test"
        for key, names in claim.test.named("variant", "against", "variants").items():
            known.check_variants(f"{place}.{key}", (name for name in names if name != FIRST_EPOCH))
        for key, names in claim.test.named("measure", "rate", "start_at_lowest").items():
            require(f"{place}.{key}", names, known.measures)
        if known.settings is not None:
            setting = claim.test.named("relative_to")["relative_to"]
            require(f"{place}.relative_to", setting, [SMALLEST, *known.settings])
    known.check_variants("models", paper["models"])
    for dataset, table in paper["results"].items():
        known.check_variants(f"results.{dataset}.rows", table["rows"])
    if known.datasets is not None:
        require("results", paper["results"], known.datasets)


def _check_ids(papers: Mapping[str, Mapping[str, Any]]) -> None:
    """
    Raises:
        UserError: an id stands twice, or is referred to and not there.
    """
    claims: dict[str, Claim] = {}
    for name, paper in papers.items():
        for claim in paper["claims"]:
            if claim.id in claims:
                raise UserError(f"pipeline/papers/{name}.yaml: the id {claim.id!r} stands twice, but is of one claim.")
            claims[claim.id] = claim
    for name, paper in papers.items():
        with at_place(f"pipeline/papers/{name}.yaml"):
            for claim in paper["claims"]:
                require(f"claims.{claim.id}.follows", [claim.follows] if claim.follows else [], claims)
            for number, point in enumerate(paper.get("audit", [])):
                require(f"audit[{number}].claims", point.get("claims", []), claims)
