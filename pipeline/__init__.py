"""Vector quantization in autoencoders, reproduced. Verbs are stages, nouns are parts.

Stages, in order, run by `dvc repro` or as `python -m pipeline.<stage>`; a stage imports parts, never another stage:
    plan → download → preprocess → train → evaluate → report; benchmark only when asked for
Parts: datasets/ (one file per data set, and io/), quantizers/ (one file per quantizer, and search/), autoencoder,
    metrics/ (one file per family), papers/ (published numbers and claims), core/ (what every stage stands on).
The name written in params.yaml is the name of the file you open.
"""
