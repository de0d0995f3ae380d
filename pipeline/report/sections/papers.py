"""LL-VQ-VAE's tables and figures in the paper's order and form, published beside measured.

What was run here stands in its data set's section; what was not shows its published numbers and the command to run it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.report import summary
from pipeline.report.blocks import Block, Line, Table, Text, escape, table
from pipeline.report.describe import run_command
from pipeline.report.results import Results
from pipeline.report.sections import lattice
from pipeline.report.summary import NONE

TITLE = "LL-VQ-VAE: the paper's tables and figures"


def section(results: Results) -> Iterator[Block]:
    paper = results.papers["ll_vq_vae"]
    yield table_1(results)
    yield lattice.FIGURE
    for dataset in paper["results"]:
        yield from comparison(results, dataset)
    yield table_3(results)
    for name, figure in paper["figures"].items():
        yield Text(f"**{name}:** {figure['shows']}. {shown(results, figure['dataset'])}")


def shown(results: Results, dataset: str) -> str:
    if dataset in results.plan["datasets"]:
        return f"See [{escape(results.title(dataset))}](#figure-{dataset}-reconstructions), Reconstructions."
    return f"Not run; {run_command(dataset)} draws it."


def table_1(results: Results) -> Table:
    """The paper's Table 1: words; below them what was measured on each data set."""
    heads = ["quantization", "", "layer size", "quantization complexity", "aversion to codebook collapse"]
    lines: list[Line] = []
    for name, stated in results.papers["ll_vq_vae"]["table_1"].items():
        lines.append([name, "published", stated["layer_size"], stated["complexity"], stated["aversion"]])
        for dataset in results.plan["datasets"]:
            row = results.by_variant(dataset).get(stated["variant"])
            cells = [
                f"{summary.with_seeds(row, 'quantizer_parameters').text} parameters",
                f"{summary.with_seeds(row, 'seconds').text} s of training",
                f"{summary.with_seeds(row, 'utilization').text} % utilization",
            ]
            lines.append([name, results.title(dataset), *(cells if row else [NONE] * 3)])
    return table(heads, lines, left=5, title="Table 1: lattice against vector quantization")


def comparison(results: Results, dataset: str) -> Iterator[Text | Table]:
    """The paper's Table 2, 4 or 5: a pointer where it was run, else its published numbers."""
    paper = results.papers["ll_vq_vae"]
    published = paper["results"][dataset]
    heading = f"**{published['source']}:** {published['title']}."
    if dataset in results.plan["datasets"]:
        yield Text(f"{heading} Published beside measured: see [{escape(results.title(dataset))}](#{dataset}).")
        return
    keys = {
        "parameters": "parameters",
        "recon. error": "mse",
        "embeddings": "codes",
        f"duration, {published['duration_unit']}": "duration",
    }
    yield Text(f"{heading} Published only; {run_command(dataset)} measures it.")
    yield table(
        ["model", *keys],
        [
            [paper["models"][variant], *(summary.printed(numbers.get(key)) for key in keys.values())]
            for variant, numbers in published["rows"].items()
        ],
    )


def table_3(results: Results) -> Table:
    """The paper's Table 3 (FFHQ-1024); beside it the same three lattices on every data set that was run."""
    paper = results.papers["ll_vq_vae"]
    published = paper["results"]["ffhq"]["rows"]
    heads = ["init range", "γ", "target K", "error, FFHQ published", "codes, FFHQ published"]
    measures = ("test_mse", "codes_in_use")
    heads += [f"{results.measures[m].title}, {results.title(d)}" for d in results.plan["datasets"] for m in measures]
    lines = []
    for variant, stated in paper["table_3"].items():
        numbers = published.get(variant, {})
        cells = [
            summary.with_seeds(results.by_variant(dataset).get(variant), measure)
            for dataset in results.plan["datasets"]
            for measure in measures
        ]
        printed = [summary.printed(numbers.get(key)) for key in ("mse", "codes")]
        lines.append([stated["range"], str(stated["gamma"]), stated["target"], *printed, *cells])
    return table(heads, lines, title="Table 3: how the lattice begins, and how dense it is asked to be")
