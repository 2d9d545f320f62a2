# Two commands do everything: `make demo` and `make test`. Both install what they need first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One numeric thread a process: the tests and the demo run several processes on few cores.
export OMP_NUM_THREADS ?= 1
# More options for `make demo` and `make up`: make up ARGS="--port 8441"
ARGS ?=
# Files of tests that run at once; each file's tests stay in order in one process.
TEST_PROCESSES ?= 2
# A safety stop for a test that waits for ever: it prints every stack, names the test and ends the run.
TEST_STOP_S ?= 1500

.PHONY: help install demo up test test-slow lint format contracts audit bench clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

install: ## Make .venv and node_modules
	@PYTHON=$(PYTHON) VENV=$(VENV) sh scripts/install.sh

demo: install ## Run the whole network end to end on real pairs; writes demo.json
	$(BIN)/curiosity demo --out demo.json $(ARGS)

up: install ## Start a network on this machine and leave it running until Ctrl-C
	$(BIN)/curiosity up $(ARGS)

test: install ## All fast tests
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --max-worker-restart 0 \
		-o faulthandler_timeout=$(TEST_STOP_S) -o faulthandler_exit_on_timeout=true

test-slow: install ## The long campaigns
	$(BIN)/pytest -m slow

lint: install ## Format, lint, types, import rules, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contracts: install ## Compile the contracts and write curiosity/chain/abi
	$(BIN)/python -m contracts.build

audit: install ## Static analysis and proofs of the contracts, with tools of their own
	@[ -x .cache/audit/bin/slither ] || $(PYTHON) -m venv .cache/audit
	@.cache/audit/bin/pip install -q -r contracts/audit-requirements.txt
	$(BIN)/python -m contracts.audit --json benchmarks/results/contracts_audit.json

bench: install ## Ratios against bare operations
	$(BIN)/python -m benchmarks.ledger

clean: ## Remove what the commands made, but not .venv
	rm -rf .cache demo.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
