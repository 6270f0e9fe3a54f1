# `make start` runs the whole system; `make test` passes all tests. Both make what they need in .venv first. Works with make 3.81.
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help start test soak check bench docs lock clean

help: ## This list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1|/' | while IFS='|' read -r name about; do printf '  make %-8s %s\n' "$$name" "$$about"; done

start: $(VENV)/.installed ## The whole system in sandbox mode: environment, then honcho start
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/alphatrader start

test: $(VENV)/.installed-dev ## All tests, under 10 minutes
	$(BIN)/python -m pytest -m "not soak" -n 3 --dist loadfile --no-loadscope-reorder

soak: $(VENV)/.installed-dev ## The kill matrix and what else takes long, under 45 minutes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-fuzz.txt || echo "atheris has no wheel for this Python or system: the frame fuzzer will be skipped"
	$(BIN)/python -m pytest -m soak -s -o addopts=

check: $(VENV)/.installed-dev ## Lint, types, import contracts, fresh generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.tools.sessions --check
	$(BIN)/alphatrader docs --check

bench: $(VENV)/.installed-dev ## Benchmarks: ratios, interleaved in one run
	@for script in bench/bench_*.py; do $(BIN)/python $$script || exit 1; done

docs: $(VENV)/.installed ## Writes the generated docs anew
	$(BIN)/alphatrader docs

lock: ## Resolves requirements on Python 3.11 (needs uv)
	uv pip compile requirements.in --python-version 3.11 --universal --fork-strategy fewest --no-header --no-annotate -o requirements.txt
	uv pip compile requirements-dev.in --python-version 3.11 --universal --fork-strategy fewest --no-header --no-annotate -o requirements-dev.txt

clean: ## Removes the environment; data and logs stay
	rm -rf $(VENV)

$(VENV)/.python:
	@if [ -z "$(PYTHON)" ]; then \
	  found=$$(python3 --version 2>/dev/null || echo "no python3"); \
	  echo "AlphaTrader needs Python 3.11, 3.12 or 3.13 with its venv module; found $$found."; \
	  echo "Python 3.14 is refused: ib_insync 0.9.86 does not import on it. Name another with: make start PYTHON=/path/to/python3.12"; \
	  exit 1; fi
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else "AlphaTrader runs on Python 3.11, 3.12 and 3.13; this is %d.%d%s" % (v[0], v[1], ", which ib_insync 0.9.86 does not import on" if v >= (3, 14) else ""))'
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: requirements.txt pyproject.toml $(VENV)/.python
	@echo "Installing what AlphaTrader runs on (once; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
