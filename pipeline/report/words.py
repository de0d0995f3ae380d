"""What variants, measures and terms mean, for a reader who has not seen the code."""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    title: str
    meaning: str


VARIANTS = {
    "vq": Variant("VQ-VAE", "a codebook of K vectors, learned by gradient"),
    "vq_ema": Variant("VQ-VAE (EMA)", "a codebook of K vectors, each the moving average of the latents it stands for"),
    "lattice": Variant("LL-VQ-VAE", "a grid with one learned spacing per dimension, pushed to be sparse (γ = 1)"),
    "lattice_dense": Variant(
        "LL-VQ-VAE (dense)", "the same, begun with spacings in (−1, 1) and pushed to be dense (γ = −1)"
    ),
    "lattice_wide": Variant(
        "LL-VQ-VAE (wide)", "the same, begun with spacings in (−1, 1), which aims at 2⁶⁴ codes instead of K"
    ),
    "lattice_frozen": Variant("lattice, frozen", "control: the spacing stays where it began, nothing of it is learned"),
    "lattice_ramp": Variant("lattice, ramp", "control: the spacing grows by the learning rate at each step, unlearned"),
    "vq_ema_unstored": Variant("VQ-VAE (EMA), unstored", "smoothed counts are used once and not stored back"),
    "vq_ema_counted": Variant("VQ-VAE (EMA), counted", "the counts of the moving average begin at 1"),
    "lattice_linear": Variant("LL-VQ-VAE, linear output", "no LeakyReLU after the decoder's last convolution"),
    "lattice_linear_latent": Variant("LL-VQ-VAE, linear latent", "no LeakyReLU after the encoder's last convolution"),
    "vq_corrected": Variant("VQ-VAE, corrected", "constant learning rate"),
    "vq_ema_corrected": Variant(
        "VQ-VAE (EMA), corrected", "constant learning rate, counts begun at 1, smoothed counts not stored back"
    ),
    "lattice_corrected": Variant("LL-VQ-VAE, corrected", "constant learning rate"),
    "lattice_long": Variant("LL-VQ-VAE, long", "constant learning rate, more epochs: when the spacing grows too far"),
    "adaptive": Variant("adaptive", "several codebooks; attention picks one for each image"),
    "fsq": Variant("FSQ", "each dimension rounded to a few fixed levels"),
    "lfq": Variant("LFQ", "each dimension reduced to its sign"),
    "simvq": Variant("SimVQ", "a fixed codebook behind one learned linear map"),
    "rotation": Variant("VQ, rotation trick", "the gradient is rotated through the quantizer instead of copied"),
    "vq_ema_revive": Variant("VQ-VAE (EMA), revived", "codes that are not used are set to latents that are"),
    "gumbel": Variant("Gumbel-Softmax VQ", "codes drawn from a softened categorical distribution"),
}


class Measure(NamedTuple):
    """A measure in a sentence: factor, unit, decimals (None: three digits), and its key among the published numbers."""

    name: str
    scale: float = 1.0
    unit: str = ""
    places: int | None = None
    published: str = ""


MEASURES = {
    "val_mse": Measure("MSE on validation", published="mse"),
    "test_mse": Measure("MSE on test", published="mse"),
    "codes_in_use": Measure("codes in use", places=0, published="codes"),
    "utilization": Measure("utilization", 100.0, " %", 1),
    "quantizer_parameters": Measure("parameters", places=0, published="parameters"),
    "seconds": Measure("training time", unit=" s", places=1, published="duration"),
    "seconds_first_epoch": Measure("time of the first epoch", unit=" s", places=1),
    "bits_per_latent": Measure("rate", unit=" bits", places=2),
    "quantization_loss": Measure("quantization loss"),
    "gradient_gap": Measure("gradient gap"),
    "selected_log2_codes": Measure("log₂ of the size of the selected codebook", places=2),
}


def title(variant: str) -> str:
    if variant.startswith("kd_"):
        codes, dim = variant.removeprefix("kd_").split("x")
        return f"EMA [{codes}, {dim}]"
    return VARIANTS[variant].title if variant in VARIANTS else variant


def meaning(variant: str) -> str:
    if variant.startswith("kd_"):
        codes, dim = variant.removeprefix("kd_").split("x")
        return f"{codes} codes of {dim} numbers, moving averages"
    return (
        VARIANTS[variant].meaning
        if variant in VARIANTS
        else "named in params.yaml only; its settings file says what it is"
    )


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
    "quantization loss": "mean squared distance between the latents and the codes that replace them",
    "gradient gap": "how far the gradient at the codes, which training uses, is from that at the latents themselves",
    "holds, does not hold": "the seeds put the claim on one side; the rules stand with the verdicts in full",
    "open": "the seeds that were run do not decide; more `grid.seeds` may",
    "MSE": "mean squared error over all pixels and channels, pixels on a scale of width 1",
    "PSNR": "10·log₁₀(1 / MSE) of each image in decibels, their mean; more is better",
    "seed": "the number that starts all randomness of one training; rows are trained once per seed",
}
