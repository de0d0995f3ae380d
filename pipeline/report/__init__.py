"""The report, from files alone (never torch): read → judge and draw → page.

read       the plan, the rows' results, the papers' numbers; a missing or stale row is an error
labels     what variants and measures are called, from the plan
summary    mean, standard deviation and number of seeds, and how they are written
claims     the papers' claims, decided by computation; verdicts: how they are shown
tables     measured tables; papers: the papers' own tables and figures in their order; audit: point by point
drawing    what all figures share; figures, rates, codebooks, experiments, lattice, sweeps, speed draw them
glossary   what the report's terms mean
page       reports/report.md; html: the same as one file; snapshot: keep it under reports/reference/
"""
