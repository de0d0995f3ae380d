"""Vector quantization in autoencoders, reproduced: verbs are stages, nouns are parts.

Verbs, run as `python -m pipeline.<verb>` and by `dvc repro`, in this order; a verb imports nouns, never another verb:
    plan        params.yaml               → reports/settings/: what exactly each row and each data set is
    download    the official source       → data/raw/<dataset>/
    preprocess  data/raw/<dataset>/       → data/prepared/<dataset>/: uint8 arrays, split and described
    train       data/prepared, settings   → models/<row>/, reports/history/<row>.csv: every seed of the row
    evaluate    models/<row>/             → reports/runs/<row>.json and .npz
    benchmark   this machine              → reports/benchmark.json: time and memory; only when asked for
    sweeps      settings of many rows     → sweeps/results/: train and evaluate for each row; only when asked for
    report      reports/runs/             → reports/report.md, reports/figures/, reports/metrics.json
Nouns: config, stage, files, registry, sources, provenance; autoencoder, models, quantizers/, search, measures, gaps,
probes, distinct, batches, parts, side_by_side; datasets/, fetch, archives, images; papers/*.yaml. The name written in
params.yaml is the name of the file you open.
"""
