"""All tables and figures of both papers in the papers' order and form, published beside measured.

What was run here stands in its data set's section; what was not shows its published numbers and the command to run it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.report import balance, summary
from pipeline.report.drawing import Picture
from pipeline.report.read import Results, Row
from pipeline.report.summary import NONE
from pipeline.report.tables import run_command, table


def section(results: Results, pictures: Mapping[str, Picture]) -> list[str]:
    """Both papers, table by table."""
    first, second = results.papers["ll_vq_vae"], results.papers["balance"]
    blocks = ["## The papers' tables and figures", f"### {first['short']}"]
    blocks += ["**Table 1:** lattice against vector quantization.", table_1(results)]
    blocks += ["**Figure 2:** quantization on a lattice.", pictures["lattice-2d"].markdown()]
    for dataset in first["results"]:
        blocks += comparison(results, dataset)
    blocks += ["**Table 3:** how the lattice begins, and how dense it is asked to be.", table_3(results)]
    blocks += [
        f"**{name}:** {figure['shows']}. {shown(results, figure['dataset'])}"
        for name, figure in first["figures"].items()
    ]
    return [*blocks, f"### {second['short']}", *balance.section(results, pictures)]


def shown(results: Results, dataset: str) -> str:
    if dataset in results.plan["datasets"]:
        return f"See [{results.title(dataset)}](#{dataset}), Reconstructions."
    return f"Not run; {run_command(dataset)} draws it."


def rows_of(results: Results, dataset: str) -> dict[str, Row]:
    return {row.variant: row for row in results.of(dataset)}


def table_1(results: Results) -> str:
    """The paper's Table 1: words; below them what was measured on each data set."""
    heads = ["quantization", "", "layer size", "quantization complexity", "aversion to codebook collapse"]
    lines = []
    for name, stated in results.papers["ll_vq_vae"]["table_1"].items():
        lines.append([name, "published", stated["layer_size"], stated["complexity"], stated["aversion"]])
        for dataset in results.plan["datasets"]:
            row = rows_of(results, dataset).get(stated["variant"])
            cells = [
                f"{summary.number_of_seeds(row, 'quantizer_parameters')} parameters",
                f"{summary.number_of_seeds(row, 'seconds')} s of training",
                f"{summary.number_of_seeds(row, 'utilization')} % utilization",
            ]
            lines.append([name, results.title(dataset), *(cells if row else [NONE] * 3)])
    return table(heads, lines, left=5)


def comparison(results: Results, dataset: str) -> list[str]:
    """The paper's Table 2, 4 or 5: a pointer where it was run, else its published numbers."""
    paper = results.papers["ll_vq_vae"]
    published = paper["results"][dataset]
    heading = f"**{published['source']}:** {published['title']}."
    if dataset in results.plan["datasets"]:
        return [f"{heading} Published beside measured: see [{results.title(dataset)}](#{dataset})."]
    keys = {
        "parameters": "parameters",
        "recon. error": "mse",
        "embeddings": "codes",
        f"duration, {published['duration_unit']}": "duration",
    }
    lines = [
        [paper["models"][variant], *(summary.plain(numbers.get(key)) for key in keys.values())]
        for variant, numbers in published["rows"].items()
    ]
    return [f"{heading} Published only; {run_command(dataset)} measures it.", table(["model", *keys], lines)]


def table_3(results: Results) -> str:
    """The paper's Table 3 (FFHQ-1024); beside it the same three lattices on every data set that was run."""
    paper = results.papers["ll_vq_vae"]
    published = paper["results"]["ffhq"]["rows"]
    datasets = results.plan["datasets"]
    heads = ["init range", "γ", "target K", "error, FFHQ published", "codes, FFHQ published"]
    heads += [f"{name}, {results.title(dataset)}" for dataset in datasets for name in ("MSE test", "codes")]
    lines = []
    for variant, stated in paper["table_3"].items():
        numbers = published.get(variant, {})
        cells = [
            summary.number_of_seeds(rows_of(results, dataset).get(variant), measure)
            for dataset in datasets
            for measure in ("test_mse", "codes_in_use")
        ]
        printed = [summary.plain(numbers.get("mse")), summary.plain(numbers.get("codes"))]
        lines.append([stated["range"], str(stated["gamma"]), stated["target"], *printed, *cells])
    return table(heads, lines)
