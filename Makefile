# Each target installs what it needs first: what runs the service, or with it what tests and checks it.
# Everything happens in .venv; nothing is installed elsewhere.

VENV    := .venv
BIN     := $(VENV)/bin
RUNS    := $(VENV)/.run-done
STAMP   := $(VENV)/.setup-done
PYTHON  ?=
# Two more than there are cores: many tests wait, for an expiry or a program.
WORKERS ?= $(shell echo $$(( 2 + $$(nproc 2>/dev/null || echo 2) )))
ARGS    ?=
PAGE    := tests/browser
UV      ?= $(BIN)/uv
# Every package is pinned and its hash checked; the pins are complete, so pip has nothing to resolve (--no-deps).
INSTALL  = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
COMPILE  = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
           --no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" $(UPGRADE)

# Where this is set, each start of the program compiles it anew; the tests start it over and over.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run demo drill test test-fast test-all acceptance coverage lint types screenshots format bench docs
.PHONY: pins clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with all pinned packages and the program caducee

$(BIN)/python:
	@for candidate in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "creating $(VENV) with $$($$candidate --version)"; exec $$candidate -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "Caducée needs Python 3.11 or newer. Install it, or name one: make run PYTHON=/path/to/python3" >&2; exit 1

# The program and the packages it runs on. Python compiles the modules that it uses when it first starts.
$(RUNS): $(BIN)/python requirements/run.txt requirements/build.txt pyproject.toml
	@echo "installing the pinned packages that the service runs on (a quarter of a minute, more on a slow network)"
	@$(INSTALL) --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

# The other packages. Tests start many processes at once, which would all compile the same modules: compiled here.
$(STAMP): $(RUNS) requirements/dev.txt
	@echo "installing the pinned packages for tests and checks (half a minute, more on a slow network)"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true # as pip does, ignore files that do not compile
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

run: $(RUNS) ## start the service on http://127.0.0.1:8000 and show a first token
	$(BIN)/caducee serve --welcome $(ARGS)

demo: $(RUNS) ## the life of one file, from deposit to proven deletion, in a scratch folder
	$(BIN)/python deploy/demo.py $(ARGS)

drill: $(RUNS) ## restore a backup in a scratch folder: what has ended stays closed
	$(BIN)/python deploy/drill.py $(ARGS)

test: $(STAMP) ## every test but the full-scale ones and those of test-all
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not acceptance and not external" $(ARGS)

test-fast: $(STAMP) ## unit and integration tests on SQLite
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	  -m "not postgres and not acceptance and not external and not slow" tests/unit tests/integration $(ARGS)

test-all: $(STAMP) ## after `make test`: the tests that need other browsers or servers (marker: external)
	$(BIN)/python -m tests.external $(ARGS)

acceptance: $(STAMP) ## the full-scale tests, one after the other
	$(BIN)/python -m pytest -m acceptance $(ARGS)

coverage: $(STAMP) ## what `make test` reaches, by line and branch
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) -m "not acceptance and not external" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(STAMP) ## style, types, layers, dependencies, house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	@$(MAKE) --no-print-directory types
	$(BIN)/python -m pytest -q tests/unit/test_house_rules.py tests/unit/test_dockerfile.py

# npm is needed for this alone: TypeScript reads the types in the page's comments; nothing is built.
types: ## the types of the recipient's page
	@if command -v npm >/dev/null; then \
	  $(MAKE) --no-print-directory $(PAGE)/node_modules/.package-lock.json && \
	  for project in tsconfig tsconfig.worker; do $(PAGE)/node_modules/.bin/tsc -p $(PAGE)/$$project.json || exit 1; done; \
	elif [ "$$CADUCEE_REQUIRE_ALL" = 1 ]; then echo "NO NPM HERE: the page's types cannot be checked" >&2; exit 1; \
	else echo "NO NPM HERE: the types of the recipient's page were NOT checked" >&2; fi

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json
	@npm ci --silent --prefix $(PAGE)
	@touch $@

screenshots: $(STAMP) ## take the pictures in docs/images anew
	$(BIN)/python -m tests.browser.screenshots

format: $(STAMP) ## rewrite the code as `make lint` wants it
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure; see bench/
	$(BIN)/python -m bench $(ARGS)

docs: $(STAMP) ## check the documentation: links, and every claim that a test holds
	$(BIN)/python -m pytest -k docs -m "not acceptance and not external" $(ARGS)

pins: $(BIN)/python ## rewrite requirements/*.txt from pyproject.toml (newer versions: make pins UPGRADE=--upgrade)
	@test -x "$$(command -v $(UV))" || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) --extra server --extra postgres --output-file requirements/run.txt
	$(COMPILE) --constraint requirements/run.txt --all-extras --group dev --output-file requirements/dev.txt
	$(UV) pip compile --quiet --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make pins" --constraint requirements/dev.txt --output-file requirements/build.txt

clean: ## remove caches and .venv; var/ (data) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
