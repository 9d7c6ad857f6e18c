# Two commands matter on a fresh machine: `make quickstart` (a learning run) and `make test` (everything CI checks).
# Each makes .venv and installs what it needs. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test check lint types imports unit bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing; install Python 3.11 or newer" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11; use make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(READY)  ## make .venv and install everything for work on the project

quickstart: $(READY)  ## train a policy made from nothing on BabyAI, in minutes (SEED=0)
	$(BIN)/agentrl quickstart --seed $(SEED)

test: check  ## what CI runs: check

check: lint types imports unit  ## ruff, mypy, import contracts, tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/pytest -q -rs --durations=10

bench: $(READY)  ## every benchmark of a few minutes, one after the other
	@for file in $(filter-out benchmarks/credit_on_babyai.py,$(wildcard benchmarks/*.py)); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:  ## remove .venv and caches; run folders stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
