# make report   everything from nothing: virtual environment, requirements, `dvc repro`
# make test     lint, types and all tests
# make sweeps   the parameter sweeps of params.yaml, then the report again; minutes
# make benchmark   time and memory, each beside what others would write; minutes
.DEFAULT_GOAL := report
.PHONY: install report benchmark sweeps check snapshot test lint format clean

PYTHON ?= python3
VENV := .venv
# stages call `python`: the virtual environment's, and quietly
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"Python 3.11 or newer is needed, but {sys.executable} is {v.major}.{v.minor}; try `make PYTHON=python3.12`.")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

install: $(VENV)/installed

report: install check
	dvc repro
	@echo "Open reports/report.md."

# the report does not wait for a benchmark, so it is written again by itself where there is one
benchmark: install
	dvc repro pipeline/benchmark/dvc.yaml
	@if [ -f reports/report.md ]; then dvc repro --single-item --force report; fi

# likewise
sweeps: install check
	dvc repro sweeps/dvc.yaml
	@if [ -f reports/report.md ]; then dvc repro --single-item --force report; fi

# what is wrong in params.yaml is said in one sentence before DVC reads it
check: install
	@python -m pipeline.plan --check

# keep the report that stands under reports/reference/
snapshot: install
	python -m pipeline.report.snapshot

test: install lint
	pytest

lint: install
	ruff check
	ruff format --check
	mypy

format: install
	ruff check --fix
	ruff format

clean:
	rm -rf $(VENV) .checkpoints .pytest_cache .mypy_cache .ruff_cache .hypothesis
