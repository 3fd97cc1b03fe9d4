# The words of daily work: `make help`.

VENV ?= .venv
BIN = $(VENV)/bin
FITS = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for it in python3 python3.13 python3.12 python3.11; do $$it -c '$(FITS)' 2>/dev/null && echo $$it && break; done)
SIZE ?= 1GB
CHANGES ?= 400000
LOG ?= 200MB
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup programs majors check test demo benchmark lock docs clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.complete ## install everything into .venv, exactly as locked

$(VENV)/.complete: requirements.lock pyproject.toml
	@echo "installing the locked packages into $(VENV) (about a minute) ..."
	@test -n "$(PYTHON)" || { echo "pgkeep needs Python 3.11 or newer. Next: install it (apt install python3)"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "Next: install the venv module (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@awk '/^uv==/ {found = 1} found {print} found && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

programs: setup ## build ipfs and ipfs-cluster, unless they are there (2 to 4 minutes, once)
	@$(BIN)/python -m pgkeep.sandbox.binaries

majors: setup ## fetch PostgreSQL servers of other versions, for the tests (90 MB, once)
	@$(BIN)/python tests/majors/fetch.py

check: setup ## lint, format, types, architecture, unit tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n $(JOBS) tests/unit

test: check programs majors ## every test: what `check` does, then real servers in a network of their own (JOBS=2)
	@# Each job has servers of its own. A file stays with one job.
	$(BIN)/python -m pgkeep.sandbox.isolation -- $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		tests/contracts tests/in_airflow tests/journeys

demo: programs ## Airflow keeps a database and its changes; destroy it, bring it back (KEEP=1 leaves it running)
	@# A browser could not reach into the namespace, so what is kept stays outside.
	$(BIN)/python -m pgkeep.sandbox.$(if $(KEEP),demo --keep,isolation -- $(BIN)/python -m pgkeep.sandbox.demo)

benchmark: programs majors ## speed and memory against the bare pipe (SIZE=1GB CHANGES=400000 LOG=200MB)
	$(BIN)/python -m pgkeep.sandbox.isolation -- $(BIN)/python tests/benchmark/full.py --size $(SIZE)
	$(BIN)/python -m pgkeep.sandbox.isolation -- $(BIN)/python tests/benchmark/changes.py --changes $(CHANGES)
	$(BIN)/python tests/benchmark/csvlog.py --log $(LOG)

lock: ## resolve the dependencies anew into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --output-file requirements.lock pyproject.toml

docs: setup ## write the generated tables of the documentation anew
	$(BIN)/python docs/generate.py

clean: ## remove what was installed and cached here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
