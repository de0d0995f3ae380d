"""The report, from files alone (never torch): results → decisions → sections of blocks → two renderings.

results    the plan, the rows' results as one long table, what measures are called; a stale row is an error
summary    mean, standard deviation and number of seeds, and how they are written; describe: rows and settings in words
evidence   the papers' claims and published numbers, decided by computation, and their words; which row is best
blocks     what a report is made of: text, tables, figures
sections   one file per section, each yielding blocks, in an order stated once
drawing    what all figures share, and how they become files; svg: files that can stand in a page; jpeg: what JPEG makes
render     reports/report.md and reports/report.html from the same blocks; numbers: JSON and CSV
snapshot   keep a report under reports/reference/
"""
