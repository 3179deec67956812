# make demo: environment, install, then encode, decode and measure a clip drawn by code.
# make test: the same environment, then lint, types and tests.
#
#   PYTHON=path       use this interpreter as it is (it must have the dependencies); no environment is made
#   BASE_PYTHON=path  make .venv with this interpreter instead of the first Python 3.10-3.12 found

VENV := .venv
STAMP := $(VENV)/.installed

ifdef PYTHON
READY :=
else
PYTHON := $(VENV)/bin/python
READY := $(STAMP)
endif

BASE_PYTHON ?= $(shell for candidate in python3 python3.12 python3.11 python3.10 python; do \
	$$candidate -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $$candidate && break; done)

.PHONY: help install demo test lint format types unit docs man clean reliability

help:
	@echo "make demo     install into .venv, then encode, decode and measure a clip drawn by code"
	@echo "make test     lint, types and tests, as CI runs them"
	@echo "make docs     the documentation as a site in build/site; make man: manual pages in build/man"
	@echo "make lint | format | types | unit | install | clean"

$(STAMP): setup.cfg pyproject.toml
	@test -n "$(BASE_PYTHON)" || { echo "no Python 3.10, 3.11 or 3.12 found; name one: make BASE_PYTHON=path" >&2; exit 1; }
	$(BASE_PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -e ".[dev]"
	touch $@

install: $(READY)

demo: $(READY)
	$(PYTHON) -m imfcodec demo demo -y

test: lint types unit

lint: $(READY)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: $(READY)
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

types: $(READY)
	$(PYTHON) -m mypy

unit: $(READY)
	$(PYTHON) -m pytest

docs: $(READY)
	@$(PYTHON) -c "import mkdocs" 2>/dev/null || $(PYTHON) -m pip install --disable-pip-version-check --quiet -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

man: $(READY)
	@$(PYTHON) -c "import click_man" 2>/dev/null || $(PYTHON) -m pip install --disable-pip-version-check --quiet -e ".[docs]"
	$(PYTHON) docs/man.py build/man

clean:
	rm -rf $(VENV) build dist demo *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

CLIPS ?= clips

reliability: $(READY)  # the figures of docs/reliability.md, on an idle machine; CLIPS is a folder of videos
	$(PYTHON) -m benchmarks.hostile
	$(PYTHON) benchmarks/faults.py
	$(PYTHON) benchmarks/losses.py $(CLIPS)
	$(PYTHON) benchmarks/drift.py --marks 100 250 1000 --key-interval 5000
