# Each target first installs the packages that it needs: those of the service, for most targets also those of tests and
# checks. Everything is installed into .venv, nothing elsewhere.

VENV    := .venv
BIN     := $(VENV)/bin
RUNS    := $(VENV)/.run-done
STAMP   := $(VENV)/.setup-done
PYTHON  ?=
# Four more workers than cores, because many tests wait for an expiry or a process.
WORKERS ?= $(shell echo $$(( 4 + $$(nproc 2>/dev/null || echo 2) )))
ARGS    ?=
PAGE    := tests/browser
UV      ?= $(BIN)/uv
# Every package is pinned and its hash is checked; the pins are complete, so pip need not resolve anything (--no-deps).
INSTALL  = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
COMPILE  = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
           --no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" $(UPGRADE)

# If this were set, every start of the program would compile it again, and the tests start it many times.
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

# The program and its packages. Python compiles each module when it is first imported.
$(RUNS): $(BIN)/python requirements/run.txt requirements/build.txt pyproject.toml
	@echo "installing the pinned packages of the service (about 15 seconds, longer on a slow network)"
	@$(INSTALL) --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

# The other packages. All modules are compiled here, because tests start many processes at once, and each would compile
# them.
$(STAMP): $(RUNS) requirements/dev.txt
	@echo "installing the pinned packages for tests and checks (about 30 seconds, longer on a slow network)"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true # as pip does, ignore files that do not compile
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

run: $(RUNS) ## start the service on http://127.0.0.1:8000 and show a first token
	$(BIN)/caducee serve --welcome $(ARGS)

demo: $(RUNS) ## run one file through its life, from deposit to verified deletion, in a scratch folder
	$(BIN)/python deploy/demo.py $(ARGS)

drill: $(RUNS) ## restore a backup in a scratch folder and show that it opens nothing that has ended
	$(BIN)/python deploy/drill.py $(ARGS)

test: $(STAMP) ## run every test except those of acceptance and test-all
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not acceptance and not external" $(ARGS)

test-fast: $(STAMP) ## run the unit and integration tests on SQLite
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	  -m "not postgres and not acceptance and not external and not slow" tests/unit tests/integration $(ARGS)

test-all: $(STAMP) ## run the tests that need other browsers or servers (marker: external); use after `make test`
	$(BIN)/python -m tests.external $(ARGS)

acceptance: $(STAMP) ## run the full-scale tests, one after the other
	$(BIN)/python -m pytest -m acceptance $(ARGS)

coverage: $(STAMP) ## report the lines and branches that `make test` reaches
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) -m "not acceptance and not external" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(STAMP) ## check style, types, layers, dependencies, house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	@$(MAKE) --no-print-directory types
	$(BIN)/python -m pytest -q tests/unit/test_house_rules.py tests/unit/test_dockerfile.py

# Only this target needs npm. TypeScript checks the types in the page's comments; nothing is built.
types: ## check the types of the recipient's page
	@if command -v npm >/dev/null; then \
	  $(MAKE) --no-print-directory $(PAGE)/node_modules/.package-lock.json && \
	  for project in tsconfig tsconfig.worker; do $(PAGE)/node_modules/.bin/tsc -p $(PAGE)/$$project.json || exit 1; done; \
	elif [ "$$CADUCEE_REQUIRE_ALL" = 1 ]; then echo "npm is missing: the types of the recipient's page cannot be checked" >&2; exit 1; \
	else echo "npm is missing: the types of the recipient's page were NOT checked" >&2; fi

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json
	@npm ci --silent --prefix $(PAGE)
	@touch $@

screenshots: $(STAMP) ## renew the pictures in docs/images
	$(BIN)/python -m tests.browser.screenshots

format: $(STAMP) ## rewrite the code in the house style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure the service (docs/performance.md)
	$(BIN)/python -m bench $(ARGS)

docs: $(STAMP) ## check the documentation: links, and every statement that a test compares with the code
	$(BIN)/python -m pytest -k docs -m "not acceptance and not external" $(ARGS)

pins: $(BIN)/python ## rewrite requirements/*.txt from pyproject.toml (newer versions: make pins UPGRADE=--upgrade)
	@test -x "$$(command -v $(UV))" || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) --extra server --extra postgres --extra s3 --output-file requirements/run.txt
	$(COMPILE) --constraint requirements/run.txt --all-extras --group dev --output-file requirements/dev.txt
	$(UV) pip compile --quiet --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make pins" --constraint requirements/dev.txt --output-file requirements/build.txt

clean: ## remove caches and .venv; var/ (data) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
