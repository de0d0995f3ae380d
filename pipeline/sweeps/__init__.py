"""Sweeps: one setting, several values. `make sweeps` runs them; `dvc repro` alone never does.

config.sweep    what a sweep is, checked; plan writes a settings file for each of its rows
__main__        trains and measures the rows of one sweep on one data set, one after the other
report.sweeps   sections, figures and tables
sweeps/dvc.yaml a stage per data set and sweep; outside of this folder, because `plan` and a row's provenance look
                for changes here, and DVC writes its lock beside it

The rows of a sweep share a stage, since most of what a small row takes is the start of a process: torch is loaded once
for all. This verb calls other verbs, and so is one that imports them.
"""
