"""What the report's terms mean, for a reader who has not seen the code."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.report.blocks import Text, bullets
from pipeline.report.results import Results

TITLE = "Glossary"


def section(results: Results) -> Iterator[Text]:
    yield bullets([f"**{term}**: {meaning}." for term, meaning in GLOSSARY.items()])


GLOSSARY = {
    "latent": "what the encoder makes of a patch of the image: a vector of D numbers; an image has many",
    "quantizer": "replaces each latent by the nearest point of a discrete set, the codes",
    "code, embedding": "one point of that set; the paper says embedding",
    "K": "the size of the codebook. A lattice has no end; for it, K only sets the range in which spacings begin",
    "lattice": "the points (b₁k₁, …, b_Dk_D) for all integers k; the D spacings b are its only parameters",
    "γ": "weight of the lattice's size loss: γ = 1 pushes spacings apart (sparse), γ = −1 together (dense)",
    "EMA": "exponential moving average",
    "codes in use": "distinct codes that occur at least once, with the model frozen",
    "utilization": "codes in use divided by K; a lattice can exceed 100 %",
    "dead codes": "codes of a codebook that never occur",
    "perplexity": "2 to the entropy of the codes: how many equally frequent codes would be as varied",
    "bits per latent": "empirical entropy of the codes: what an ideal coder needs for one latent",
    "active dimensions": "dimensions of a lattice in which more than one value occurs; the others carry nothing",
    "collapse": "only a few of K codes are used",
    "quantization loss": "mean squared distance between the latents and the codes that replace them, on one batch",
    "gradient gap": "how far the gradient at the codes, which training uses, is from that at the latents themselves",
    "holds, does not hold": "the seeds put the claim on one side; the rules stand with the verdicts in full",
    "undecided": "the seeds that were run do not decide; more `grid.seeds` may",
    "not judged": "no number of seeds would decide, for a reason that stands beside it",
    "learning rate as published": "it falls from epoch to epoch as in LL-VQ-VAE's code; else it is constant",
    "MSE": "mean squared error over all pixels and channels, pixels on a scale of width 1",
    "PSNR": "10·log₁₀(1 / MSE) of each image in decibels, their mean; more is better",
    "seed": "the number that starts all randomness of one training; rows are trained once per seed",
}
