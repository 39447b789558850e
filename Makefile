# Each target calls tools of .venv, which is made when it is missing or older than what it is made from.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test fast pythons integration check types docs examples bench figures format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready ## the virtual environment, exact versions

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --editable '.[demo]' --group dev
	@touch $@

demo: .venv/.ready ## from nothing to many tenants, served over HTTP
	$(BIN)/tenantlimpyd demo

test: .venv/.ready ## every test of tests/, on an embedded server
	$(BIN)/pytest -n auto tests

fast: .venv/.ready ## those of them that start no process, wait for no deadline, and try few cases
	$(BIN)/pytest -n auto -m "not slow" tests

pythons: ## the fast tests on every other supported Python of this machine
	scripts/test_other_pythons.sh

integration: .venv/.ready ## the tests on containers, or on embedded servers where no engine answers
	$(BIN)/pytest integration

check: .venv/.ready types docs examples ## format, lint, types, layers, documentation and its examples
	$(BIN)/ruff format --check && $(BIN)/ruff check
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_private_names.py

types: .venv/.ready ## types: the package, and its use as users see it
	$(BIN)/mypy && $(BIN)/pyright

docs: .venv/.ready ## the documentation, into docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet docs docs/_build/html

examples: .venv/.ready ## run the examples in README, docs and docstrings
	$(BIN)/pytest README.md docs tenantlimpyd

bench: .venv/.ready ## side by side with redis-py, limpyd, rom and walrus; scans, growth and memory
	$(BIN)/python -m benchmarks

figures: .venv/.ready ## the same, and into docs/benchmarks.md with its picture
	$(BIN)/python -m benchmarks --page docs/benchmarks.md

format: .venv/.ready ## put the sources in order
	$(BIN)/ruff format && $(BIN)/ruff check --fix

clean: ## remove what the tools made, .venv included
	rm -rf .venv build dist docs/_build .*_cache .coverage* .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
