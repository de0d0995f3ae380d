"""The report's sections, one file each, in this order.

A section is a file here with a `TITLE` and `section(results)`, which yields blocks; what belongs to one data set is a
file in `of_a_dataset` with a `TITLE` and `section(results, dataset)`. One that yields nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from pipeline.report.blocks import Block, Heading, Section
from pipeline.report.results import Results

EACH_DATASET = "of_a_dataset"
ORDER = (
    "opening",
    "glance",
    "rate",
    "rows",
    EACH_DATASET,
    "verdicts",
    "audit",
    "counting",
    "papers",
    "balance",
    "sweeps",
    "speed",
    "provenance",
    "glossary",
)
OF_A_DATASET = (
    "description",
    "paper_form",
    "further",
    "reconstructions",
    "curves",
    "usage",
    "codebooks",
    "selection",
    "settings",
)


def sections(results: Results) -> list[Section]:
    """All that this run has something to say in."""
    found: list[Section] = []
    for name in ORDER:
        if name == EACH_DATASET:
            found += [dataset_section(results, dataset) for dataset in results.plan["datasets"]]
        else:
            module = import_module(f"{__name__}.{name}")
            found.append(Section(name, module.TITLE, list(module.section(results))))
    return [section for section in found if section.blocks]


def dataset_section(results: Results, dataset: str) -> Section:
    """Everything about one data set."""
    return Section(dataset, str(results.about[dataset]["title"]), list(parts(results, dataset)))


def parts(results: Results, dataset: str) -> Iterator[Block]:
    for name in OF_A_DATASET:
        module = import_module(f"{__name__}.{EACH_DATASET}.{name}")
        blocks = list(module.section(results, dataset))
        if blocks and module.TITLE:
            yield Heading(module.TITLE)
        yield from blocks
