# `make demo` and `make test` make their own environment in $(VENV); the package index is all the network they need.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt

BIN := $(VENV)/bin
BASE := $(VENV)/.installed-plot
FULL := $(VENV)/.installed-all

# No model or data set is fetched: all that runs here is bundled or made from configs.
export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1
export HF_DATASETS_OFFLINE := 1
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-suite test-again test-long lint types docs install clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(BASE) ## trace a fact in the bundled model, rewrite it, show what changed
	$(BIN)/lens-rome demo

test: lint types docs test-suite ## lint, types, documentation, the test suite with all code blocks and examples

# One process a core, one thread each: tiny models gain nothing from threads, and these would fight for the cores.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-suite: $(FULL) ## the test suite alone
	$(PYTEST)

# What does not depend on TransformerLens (numbers, files, data, pictures, pages), the benchmarks, which only need to run,
# and the notebooks, which call what README and docs call; these run again.
ONCE = tests/_linalg tests/atlas tests/datasets tests/plotting tests/runs tests/studies/pages tests/test_architecture.py \
	tests/test_benchmarks.py tests/test_examples.py tests/test_files.py tests/test_packaging.py

test-again: $(FULL) ## the test suite on another TransformerLens, without what does not depend on it
	$(PYTEST) $(addprefix --ignore=,$(ONCE))

test-long: $(FULL) ## the whole suite, slow checks included
	$(PYTEST) -m "slow or not slow"

lint: $(FULL) ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(FULL) ## pyright's rules
	$(BIN)/basedpyright --pythonpath $(BIN)/python

docs: $(FULL) ## the documentation site, warnings are errors
	$(BIN)/mkdocs build --quiet --strict

install: $(FULL) ## the environment with all extras

clean: ## remove environments and everything that was built
	rm -rf .venv .venv-tl4 site build dist .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lens_rome needs Python 3.11 or later; $(PYTHON) is older. Run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(BASE): $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[plot]'
	@touch $@

$(FULL): $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[plot,dev,docs]'
	@touch $(BASE) $@
