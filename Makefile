# Each target makes .venv when it is missing and installs betis again only when its source changed.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
INSTALL := $(RUN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := pyproject.toml README.md LICENSE $(shell find src -not -path '*__pycache__*')
TESTS ?= tests
PYTEST_FLAGS ?= -n 2

.PHONY: demo test lint docs bench clean

demo: $(VENV)/.betis
	$(RUN)/betis demo -o demo

test: $(VENV)/.betis-dev
	$(RUN)/pytest $(PYTEST_FLAGS) $(TESTS)

lint: $(VENV)/.betis-dev
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy
	$(RUN)/lint-imports

docs: $(VENV)/.betis-docs
	$(RUN)/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.betis-dev
	set -e; for script in benchmarks/*.py; do echo "== $$script"; $(RUN)/python "$$script"; done

clean:
	rm -rf $(VENV) demo build dist docs/_build docs/api .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "betis needs Python 3.11 or newer, but '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>&1 | head -n 1); name a newer one: make PYTHON=python3.12"; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.betis: $(VENV)/.made $(SOURCES)
	$(INSTALL) .
	touch $@

$(VENV)/.betis-dev: $(VENV)/.made $(SOURCES)
	$(INSTALL) '.[dev]'
	touch $@ $(VENV)/.betis

$(VENV)/.betis-docs: $(VENV)/.made $(SOURCES)
	$(INSTALL) '.[docs]'
	touch $@ $(VENV)/.betis
