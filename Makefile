# Every target has one line of help; `make` alone prints them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEEDS ?= 2000
SIDE ?= outbound
MAILS ?= 2000
CLUSTER ?= 1

.DEFAULT_GOAL := help

.PHONY: help setup fmt check test demo up down status sim chaos bench lock clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Postlane needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "this Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

setup: $(READY) ## Make the virtual environment with the locked packages

fmt: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

check: setup ## Format check, lint, types, import layers, schema compatibility
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m postlane.adapters.schema_compatibility

test: setup ## All tests, on a real Kafka broker and real mail servers of their own
	$(BIN)/pytest $(ARGS)

demo: setup ## Watch real mail go round; KEEP=1: it runs on until Ctrl-C or `make down`
	$(BIN)/python -m demo $(if $(KEEP),--keep)

up: setup ## Start Kafka, a mail server and the test relay; write .local/postlane.toml for them
	$(BIN)/python -m localstack up $(ARGS)

down: setup ## Stop what `make up` or `make demo` started
	$(BIN)/python -m localstack down
	$(BIN)/python -m demo --stop

status: setup ## Say what of it runs, and where
	$(BIN)/python -m localstack status

sim: setup ## Simulate the lanes, the governor and the leases on random schedules (SEEDS=2000)
	$(BIN)/python -m sim --seeds $(SEEDS)

chaos: setup ## Kill, stop and cut real services under load (SIDE=outbound|inbound MAILS=2000 SEED=.. LIMITS=0 CLUSTER=3 PLANTED=..)
	$(BIN)/python -m chaos --side $(SIDE) --mails $(MAILS) --cluster $(CLUSTER) $(if $(SEED),--seed $(SEED)) $(if $(LIMITS),--limits $(LIMITS)) $(if $(PLANTED),--planted $(PLANTED))

bench: setup ## Measure speed, latency, recovery and memory (SIDE=outbound|inbound)
	$(BIN)/python benchmarks/$(SIDE).py

COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header

lock: setup ## Write both requirements.lock anew from pyproject.toml
	$(COMPILE) --all-extras --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra outbound --extra inbound --extra s3 --constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml

clean: ## Remove the virtual environment and everything local, after `make down`
	-@[ ! -e $(READY) ] || { $(BIN)/python -m localstack down; $(BIN)/python -m demo --stop; }
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
