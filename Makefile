# One command each. Every target makes .venv and installs what it needs when it is missing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEV    := $(VENV)/.dev
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve test conformance lint format types bench docs lock clean soak

help: ## List the commands.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 13

demo: $(DEV) ## Run the main job: an HTTPS call out of a subnet that has no way out.
	@$(BIN)/stepout demo $(ARGS)

serve: $(DEV) ## Start the server on 127.0.0.1:8083.
	@$(BIN)/stepout serve $(ARGS)

test: $(DEV) ## Pass the tests.
	@$(BIN)/pytest -n auto $(ARGS)

conformance: $(DEV) ## Run what was recorded on AWS, from ../shared/conformance or STEPOUT_CORPUS=DIR.
	@$(if $(STEPOUT_CORPUS),STEPOUT_CORPUS=$(STEPOUT_CORPUS)) $(BIN)/python -m tests.conformance

lint: $(DEV) ## Check style and types.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(DEV) ## Put the code into its form.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(DEV) ## Measure: one table from one run.
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(DEV) ## Load a server for 10 minutes with everything going wrong around it (Linux).
	@$(BIN)/python -m tests.soak $(ARGS)

lock: $(DEV) ## Pin all dependencies with their hashes.
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --output-file requirements/dev.txt

clean: ## Remove what the targets made.
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(DEV): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "stepout needs Python 3.11 or newer; name one: make PYTHON=python3.12 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "The module venv is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
