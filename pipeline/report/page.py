"""reports/report.md, from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.papers import PAPERS
from pipeline.report import audit, counting, papers, speed, sweeps, tables, verdicts
from pipeline.report.drawing import Picture
from pipeline.report.evidence.decisions import Decision
from pipeline.report.evidence.wording import METHOD
from pipeline.report.glossary import GLOSSARY
from pipeline.report.read import Results, Row


def page(results: Results, judged: Sequence[Decision], pictures: Mapping[str, Picture]) -> str:
    """The whole report; `pictures` are the figures by name."""
    blocks = ["# Vector quantization in autoencoders: what was measured", opening(results)]
    blocks += [verdicts.findings(results, judged), "## Verdicts at a glance", verdicts.glance(results, judged)]
    blocks += [
        prose(GLANCE),
        "## How these numbers were made",
        tables.provenance(results),
        prose(HOW),
    ]
    blocks += ["## The rows of every table", tables.meanings(results)]
    for dataset in results.plan["datasets"]:
        blocks += dataset_section(results, dataset, pictures)
    blocks += verdicts_section(results, judged)
    blocks += audit.section(results, pictures)
    blocks += counting.section(results, pictures)
    blocks += papers.section(results, pictures)
    blocks += sweeps.section(results, pictures)
    blocks += speed.section(results, pictures)
    blocks += ["## Where every row comes from", tables.trail(results)]
    blocks += ["## Glossary", glossary(), "## Figures", index(pictures), tables.targets(results)]
    return "\n\n".join(blocks) + "\n"


def prose(text: str) -> str:
    """A paragraph as one line."""
    return " ".join(text.split())


GLANCE = """Each verdict is computed from this run; [verdicts in full](#verdicts) shows the numbers and the rules.
**Undecided** means that the seeds do not decide: fewer than three seeds decide nothing, and more `grid.seeds` decide
more. **Not run** names a row that is not in the grid. Numbers are mean ± standard deviation over n seeds, of the
claim's model against the other. Claims marked "ours" are not the papers': they put the same question at equal rate, at
a constant learning rate, on one epoch, or against a control."""

HOW = """Every model's name in a table below leads to its settings file, which also holds the digests of the code that
made the row. The last column of the first table names the command that makes the row again:
`dvc repro evaluate@<row>`, which trains it first (`train@<row>`) where settings, code or data have changed. What the
rows were trained with stands in the section of their data set."""


def opening(results: Results) -> str:
    names = [results.title(name) for name in results.plan["datasets"]]
    datasets = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    paper = results.papers["ll_vq_vae"]
    return prose(f"""An autoencoder with a quantizer turns an image into a few integers and back. This report compares
        quantizers on {datasets}: how well images come back, how many codes are used, how many bits they carry and how
        long training takes. It follows [{paper["title"]}]({paper["url"]}) and sets its published numbers beside the
        measured ones. Everything below was computed from the result files of this run; the [glossary](#glossary)
        explains the terms.""")


def verdicts_section(results: Results, judged: Sequence[Decision]) -> list[str]:
    """Every verdict with its numbers, the rules, and the published numbers met."""
    blocks = ['<a id="verdicts"></a>\n\n## Verdicts in full', prose(METHOD), prose(RULES), verdicts.rules(judged)]
    for name in PAPERS:
        paper = results.papers[name]
        blocks += [f"### [{paper['title']}]({paper['url']})", verdicts.full(results, judged, name)]
    met = verdicts.met_table(results)
    if met:
        margin = f"{100 * results.plan['report']['margin']:g} %"
        blocks += ['<a id="met"></a>\n\n### Published numbers met', prose(MET.format(margin=margin)), met]
    return blocks


RULES = """Numbers are mean ± standard deviation over n seeds. Times include each quantizer's own search for the nearest
code: by distances for a codebook, exactly; by rounding for a lattice. The benchmark sets the exact search beside the
plain distance matrix on trained codebooks. Rows whose learning rate falls are never compared with rows whose learning
rate is constant. The rule for each claim:"""

MET = """A published number is met if the 95 % interval of the measured mean lies within {margin} of it
(`report.margin`) and half a unit of its last printed digit; missed if it lies outside as a whole; else the measured
mean is too noisy to tell, as always with one seed, but for counts of parameters. Times are not compared: the hardware
differs."""


def dataset_section(results: Results, dataset: str, pictures: Mapping[str, Picture]) -> list[str]:
    """What a data set is, its tables and its figures."""
    blocks = [f'<a id="{dataset}"></a>\n\n## {results.about[dataset]["title"]}', description(results, dataset)]
    blocks += photographs(results, dataset)
    blocks += ["### Settings", *tables.settings(results.of(dataset))]
    blocks += ["### In the form of the paper's tables", *table_notes(results, dataset)]
    groups = tables.groups(results, dataset)
    for group in groups:
        blocks += [f"**{group.title}.** {group.note}", tables.paper_form(results, dataset, group)]
    blocks += ["### Further measures", tables.further_splits(results), prose(FURTHER_NOTE)]
    for group in groups:
        blocks += [f"**{group.title}.**", *tables.further(results, group.rows)]
    for kind, heading in FIGURES.items():
        if f"{dataset}-{kind}" in pictures:
            blocks += [f"### {heading}", pictures[f"{dataset}-{kind}"].markdown()]
    return blocks


FIGURES = {
    "rate": "Error against rate",
    "reconstructions": "Reconstructions",
    "curves": "Training curves",
    "usage": "Use of the codes",
    "codebooks": "Number of codes against their dimension",
    "gradient-gap": "Gradient gap and quantization loss over the epochs",
    "selection": "Which codebook is selected",
}

FURTHER_NOTE = """Quantization loss and gradient gap are those of the first test batch. n latents show no entropy above
log2 n, so where nearly every latent has a code of its own, the bits per latent are too low; a lattice whose dimensions
are coded one by one needs at most the sum of their bits. Parameters are those of the quantizer alone. In the first
epoch every row trains by gradient, whatever later epochs leave out. Time and memory are those of the hardware named
above."""


def description(results: Results, dataset: str) -> str:
    """What a data set is, and how many of its images were used."""
    about = results.about[dataset]
    shape = "×".join(str(size) for size in about["shape"])
    counts = {split: f"{count:,}" for split, count in about["counts"].items()}
    low, high = 0.0 - about["offset"], 1.0 - about["offset"]
    licence, cite = (str(about[key]).rstrip(".") for key in ("licence", "cite"))
    return prose(f"""{counts["train"]} images for training, {counts["val"]} for validation and {counts["test"]} for the
        test, {shape} pixels; values in [{low:g}, {high:g}]. {images_used(results.of(dataset))}
        Source: <{about["url"]}>. Licence: {licence}. To cite: {cite}.""")


def images_used(rows: Sequence[Row]) -> str:
    """How many images the rows were trained on and measured on: once where all agree, else with their variants."""
    texts: dict[str, list[str]] = {}
    for row in rows:
        measured = {split: f"{count:,}" for split, count in row.images["measured"].items()}
        text = f"""trained on {row.images["train"]:,} images and measured on {measured["train"]} training images,
            {measured["val"]} validation images and {measured["test"]} test images"""
        texts.setdefault(text, []).append(f"`{row.variant}`")
    lines = [f"{'every row' if len(texts) == 1 else ', '.join(names)} was {text}" for text, names in texts.items()]
    return f"Here {'; '.join(lines)}."


def photographs(results: Results, dataset: str) -> list[str]:
    """The pictures a data set was cut from, each with its credit and licence, where it has such a list."""
    named = [
        f"{photograph['name']} ({photograph['credit']}; {photograph['licence']})"
        for photograph in results.about[dataset].get("photographs", [])
    ]
    return [f"Cut from: {'; '.join(named)}."] if named else []


def table_notes(results: Results, dataset: str) -> list[str]:
    """What the columns of the first table mean, and on what the published ones rest."""
    ours = prose("""Measured: mean ± standard deviation over n seeds (no deviation where n = 1). Codes in use are
        counted over training and validation images together with the model frozen. Times are on the hardware named
        above.""")
    paper = results.papers["ll_vq_vae"]
    if dataset not in paper["results"]:
        return ["The paper has no numbers for this data set.", ours, *idle_note(results, dataset)]
    published = prose(f"""Published: {paper["short"]}, {paper["results"][dataset]["source"]}, mean of {paper["seeds"]}
        seeds, times on {paper["hardware"]}. The paper does not say on which split it took the error. It counted codes
        over the training split while the model was in training mode; "recounted" is the authors' later count from one
        released checkpoint over training and validation images with the model frozen ({paper["recount"]["source"]}),
        which is how codes are counted here.""")
    return [published, ours, *idle_note(results, dataset)]


def idle_note(results: Results, dataset: str) -> list[str]:
    """Where the times leave out work that the published procedure does, a sentence that says so."""
    if all(row.settings["train"]["backprop_at_zero_lr"] for row in results.of(dataset)):
        return []
    return [
        prose("""Epochs at a learning rate of 0 did not work out what it discards (`train.backprop_at_zero_lr` is
        false): times of rows whose learning rate falls are shorter than the published procedure takes.""")
    ]


def glossary() -> str:
    return "\n".join(f"- **{term}**: {meaning}." for term, meaning in GLOSSARY.items())


def index(pictures: Mapping[str, Picture]) -> str:
    """Every figure with its two files."""
    lines = [
        f"- {picture.title}: [PNG](figures/{name}.png), [SVG](figures/{name}.svg)" for name, picture in pictures.items()
    ]
    return "\n".join(lines)
