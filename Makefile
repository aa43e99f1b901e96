# Everything from nothing but Python 3.11+, pip and make; a second run starts in seconds.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export HF_HUB_OFFLINE ?= 1
# One process a core runs the tests; more threads in each would only get in each other's way.
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test lint docs benchmarks analyses clean help

help:
	@echo "make demo   capture, measure, segment and draw a real model"
	@echo "make test   lint, types, import rules, and every test, the real model included"
	@echo "make analyses   every figure of the paper: results, then notebooks (about 65 minutes the first time)"
	@echo "make docs   the documentation site, warnings as errors"
	@echo "make benchmarks   the figures of docs/performance.md"

demo: $(VENV)/installed
	@$(BIN)/layerscope demo

test: lint
	$(THREADS) $(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-docs
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Notebooks are executed one after another: each reads what the commands of results.mk have made.
analyses: $(VENV)/installed-test
	@echo "Results are made first, about 65 minutes on two free cores; what is there already is kept. Then one minute of notebooks."
	$(MAKE) --no-print-directory -f analyses/results.mk LAYERSCOPE=$(BIN)/layerscope PYTHON=$(BIN)/python
	$(BIN)/python analyses/execute.py
	$(BIN)/python analyses/quote.py

benchmarks: $(VENV)/installed-test
	$(BIN)/python benchmarks/capture.py
	$(BIN)/python benchmarks/analysis.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/latency.py
	$(INSTALL) --editable '.[benchmarks]'
	$(BIN)/python benchmarks/measures.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[test,docs]'
	@touch $@ $(VENV)/installed $(VENV)/installed-test

clean:
	rm -rf $(VENV) build dist site
