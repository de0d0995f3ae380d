"""What the report is about, and what was found."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.report import claims, verdicts
from pipeline.report.blocks import Text, escape, paragraph
from pipeline.report.results import Results

TITLE = "What was found"


def section(results: Results) -> Iterator[Text]:
    names = [escape(results.title(name)) for name in results.plan["datasets"]]
    datasets = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    paper = results.papers["ll_vq_vae"]
    yield paragraph(f"""An autoencoder with a quantizer turns an image into a few integers and back. This report
        compares quantizers on {datasets}: how well images come back, how many codes are used, how many bits they carry
        and how long training takes. It follows [{paper["title"]}]({paper["url"]}) and sets its published numbers beside
        the measured ones. Everything below was computed from the result files of this run; the [glossary](#glossary)
        explains the terms.""")
    yield Text(verdicts.findings(results, claims.judge(results)))
