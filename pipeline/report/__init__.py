"""The report, from files alone (never torch): read → tables, figures → page.

read      the plan, the rows' results, the papers' numbers; a missing or stale row is an error
summary   mean, standard deviation and number of seeds, and how they are written
tables    markdown tables
figures   PNG and SVG files
words     what variants, measures and terms mean
page      reports/report.md
"""
