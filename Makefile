# make report      everything from nothing: virtual environment, requirements, all rows on all cores or GPUs, the report;
#                  make report JOBS=4 takes four of them
# make full        the same with what params.yaml lists under `full` in place of `grid`: every variant, six seeds
# make cluster     the grid on SLURM, as cluster.yaml says; where there is none, as processes of this machine
# make sweeps      the grid with the rows of all sweeps of params.yaml, or of some: make sweeps SWEEPS="gamma init"
# make benchmark   the grid with time and memory, each beside what others would write: make benchmark PARTS="search"
# make check       what is wrong in params.yaml, in one sentence
# make test        lint, types and all tests; make test-fast leaves the slow ones out
.DEFAULT_GOAL := report
.PHONY: install report full cluster benchmark sweeps check repository snapshot test test-fast lint format clean

PYTHON ?= python3
VENV := .venv
# stages call `python`: the virtual environment's, and quietly
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"Python 3.11 or newer is needed, but {sys.executable} is {v.major}.{v.minor}; try `make PYTHON=python3.12`.")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	@$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true  # on all cores; templates are no Python
	@touch $@

install: $(VENV)/installed

RUN = python -m pipeline.run $(if $(JOBS),--jobs $(JOBS))

report: install repository check
	$(RUN)
	@echo "Open reports/report.html, or read reports/report.md."

full: install repository
	python -m pipeline.plan --full
	$(RUN)

cluster: install repository check
	python -m pipeline.run --cluster cluster.yaml
	@echo "Open reports/report.html, or read reports/report.md."

sweeps: install repository
	python -m pipeline.plan --sweeps $(SWEEPS)
	$(RUN)

benchmark: install repository
	python -m pipeline.plan --benchmark $(PARTS)
	$(RUN)

# what is wrong in params.yaml is said in one sentence before DVC reads it
check: install
	@python -m pipeline.plan --check

# so is that DVC needs a git repository
repository:
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { echo "error: $(CURDIR) is in no git repository, which DVC needs; run \`git init\` here first." >&2; exit 1; }

# keep the report that stands under reports/reference/
snapshot: install
	python -m pipeline.report.snapshot

# as many processes as cores; tests that share a costly fixture stay in one of them
PYTEST := pytest --numprocesses auto --dist loadgroup --no-loadscope-reorder

test: install lint
	$(PYTEST)

test-fast: install
	$(PYTEST) -m "not slow"

lint: install
	ruff check
	ruff format --check
	mypy

format: install
	ruff check --fix
	ruff format

clean:
	rm -rf $(VENV) .checkpoints .pytest_cache .mypy_cache .ruff_cache .hypothesis
