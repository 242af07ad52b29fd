# Everything happens in .venv, installed once per change of pyproject.toml or constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SHARED := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

.PHONY: demo test test-fast test-units test-all lint bench up down status install

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vidclf needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/vidclf demo

up down status: $(INSTALLED)
	@$(BIN)/vidclf $@

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-fast: $(INSTALLED)
	$(SHARED) -m "not integration and not slow and not thorough"

test-units: $(INSTALLED)
	$(SHARED) -m "not integration and not slow"

# Whole runs have the machine to themselves; the others share it.
test: test-units
	$(BIN)/python -m pytest -m "integration and not slow"

test-all: test-units
	$(BIN)/python -m pytest -m "integration or slow"

bench: $(INSTALLED)
	$(BIN)/python benchmarks/ingest.py
