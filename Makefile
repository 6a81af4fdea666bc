# airflow-ha-chaos: `make help` lists the targets.
PYTHON ?= python3.11
AIRFLOW ?= 3.0.6
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
NPM := $(shell command -v npm 2> /dev/null)
ALLURE := $(if $(NPM),reports/node_modules/.ready)
RUNS ?= reports/runs
TESTS ?= tests

# Each of the many Pythons that are started here would compile the project and .venv anew.
unexport PYTHONDONTWRITEBYTECODE
# Packages go into .venv, wherever else pip and uv are told to put them.
unexport PIP_USER PIP_TARGET PIP_PREFIX UV_SYSTEM_PYTHON UV_EXCLUDE_NEWER

.DEFAULT_GOAL := help
.PHONY: help setup tools reproduce test pytest lint types suite report clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv, the suite's own environment

$(READY): requirements.txt
	@echo "Setting up $(VENV) (half a minute, once)"
	@$(or $(shell command -v $(PYTHON)),python3) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements.txt)
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) -r requirements.txt \
	    || $(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

tools: setup ## fetch kind and helm, pinned and checked, for --lab kind
	@$(RUN) -m lab tools

reproduce: setup ## make apache/airflow#57618 happen on Airflow 3.0.6 (AIRFLOW=... for another)
	@echo "Making apache/airflow#57618 happen on Airflow $(AIRFLOW); the first time sets up that Airflow too"
	@$(RUN) -m pytest suites/test_duplicate_tries.py -k held -m "not meanwhile" --airflow $(AIRFLOW) --expect-known \
	    --log-cli-level=INFO --no-header -p no:cacheprovider -q --show-capture=no

test: setup lint ## check and test everything in this project; takes minutes (TESTS=... for some)
	@$(MAKE) --no-print-directory --jobs 2 types pytest
	@echo "Everything that ran has passed; what did not run is listed above, under SKIPPED."
	@echo "Next: make reproduce, or .venv/bin/pytest suites/ --airflow YOURS"

pytest: setup $(ALLURE)
	@$(RUN) -m pytest $(TESTS) -n 4 --dist loadgroup --no-loadscope-reorder \
	    || $(RUN) -m tests.again $$?

lint: setup ## check style, format and import rules
	@$(RUN) -m ruff check --quiet . && $(RUN) -m ruff format --quiet --check .
	@$(VENV)/bin/lint-imports --no-cache > /dev/null || $(VENV)/bin/lint-imports --no-cache

types: setup ## check types
	@$(RUN) -m mypy

suite: setup ## test the newest final Airflow, as `pytest suites/ -n 8` does
	@$(RUN) -m pytest suites/ -n 8

report: setup $(ALLURE) ## build the dashboard of all runs in reports/site (RUNS=... for other runs)
	@$(RUN) -m reports build $(RUNS)

reports/node_modules/.ready: reports/package-lock.json
	@echo "Setting up Allure (some seconds, once)"
	@cd reports && $(NPM) ci --silent && touch node_modules/.ready \
	    || echo "Allure could not be set up; reports leave it out"

clean: ## take labs down; remove .venv and reports/runs, but not the cached Airflow environments
	@test ! -e $(RUN) || $(RUN) -m lab down
	@rm -rf $(VENV) reports/runs reports/site reports/node_modules .mypy_cache .ruff_cache .pytest_cache
