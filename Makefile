# Everything starts here; each target sets itself up. Needs Python 3.11 or newer and make.
# `make play` and `make run` are the first things to try; docs/deploy.md is about production.

PYTHON ?= python3
# Each installation has ports and a folder of its own, so that they can run beside each other.
RUN_PORTS = --port $(or $(PORT),8000) --simulator-port $(or $(SIMULATOR_PORT),8900)
PLAY_PORTS = --port $(or $(PORT),8100) --simulator-port $(or $(SIMULATOR_PORT),8150)
PLAY_DIR ?= var/play
WORKERS ?= 1

BIN := .venv/bin
# A stamp per lock file content: a changed lock installs again, an unchanged one costs nothing.
RUNTIME := .venv/.runtime-$(firstword $(shell cksum < requirements.txt))
DEVELOP := .venv/.develop-$(firstword $(shell cksum < requirements-dev.txt))
# The lock files name every package, so pip has nothing to resolve (--no-deps): an older pip that
# meets `coverage[toml]` would otherwise look for the newest release and find no hash for it.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-input --require-hashes --no-deps
CHECK := $(BIN)/python -m pip check --disable-pip-version-check
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras \
	--no-emit-index-url --no-emit-find-links --allow-unsafe
BENCHMARKS := arming billing fanout scale console flood

# In this order: what takes longest begins first, and what takes the most of the processors in between.
PROCESS_TESTS := clients subscriptions $(addprefix execution/tests/test_, freezing.py clocks.py \
	killing.py) quantleap execution brokers partners bench
# The newcomer's morning first: it takes three minutes, nearly all of them waiting. Then the walks
# through the whole console, which take as long.
BROWSER_TESTS := clients/demo $(addprefix quantleap/core/tests/test_console_pages,.py _phone.py) \
	quantleap execution subscriptions marketplace partners brokers

ROUNDS ?= 20
PORTFOLIOS ?= 200
STORIES ?= 500
SEED ?= 1
SECONDS ?= 60
freeze-rounds: ROUNDS = 50
hold-stories: STORIES = 20000

.PHONY: help develop run play demo week demo-controls faults kill-rounds freeze-rounds billing-kill-rounds billing-oracle stories hold-stories limits test coverage test-parallel test-process browser lint bench lock clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' Makefile

develop: $(DEVELOP) ## Install what tests, lint and benchmarks need; those targets also do this themselves

run: $(RUNTIME) ## Run everything on this machine (PORT=8000) until Ctrl-C
	$(BIN)/python manage.py up --die-with-parent $(RUN_PORTS) --workers $(WORKERS)

play: $(RUNTIME) ## Watch it trade on any day: a trading morning with customers (PORT=8100) until Ctrl-C
	$(BIN)/python -m clients.demo.play $(PLAY_PORTS) --base-dir $(PLAY_DIR)

demo: $(RUNTIME) ## One whole trading day over HTTP, checked; report in var/demo (KEEP=1 leaves it open)
	$(BIN)/python -m clients.demo.run $(if $(KEEP),--keep)

week: $(RUNTIME) ## Five trading days with one executor, checked every evening; report in var/week (SHORT=1: two)
	$(BIN)/python -m clients.week.run $(if $(SHORT),--short)

demo-controls: $(RUNTIME) ## Break one thing at a time; the demo check for it must fail
	$(BIN)/python -m clients.demo.controls

faults: $(DEVELOP) ## What a broker can do wrong, checked against its book (SCENARIO=a7, LIST=1)
	$(BIN)/python -m execution.tests.faults $(if $(LIST),--list) $(if $(SCENARIO),--scenario $(SCENARIO))

kill-rounds: $(DEVELOP) ## Kill parts at random moments around the entry (ROUNDS=20), check the book
	$(BIN)/python -m execution.tests.killing.rounds --rounds $(ROUNDS)

freeze-rounds: $(DEVELOP) ## Freeze an executor around its orders, wake it beside its successor (ROUNDS=50)
	$(BIN)/python -m execution.tests.freezing.rounds --rounds $(ROUNDS) --exact 10

billing-kill-rounds: $(DEVELOP) ## Kill billing runs, worker and Postgres, at random moments (ROUNDS=20)
	$(BIN)/python -m subscriptions.billing.tests.killing.rounds --rounds $(ROUNDS)

billing-oracle: $(DEVELOP) ## Compare billing with a slow biller on random portfolios (PORTFOLIOS=200, ORACLE_SEED=)
	PORTFOLIOS=$(PORTFOLIOS) $(BIN)/pytest -n0 -o timeout=0 -q -k "agree or once_at_the_end" \
		subscriptions/billing/tests/test_portfolios.py

stories: $(DEVELOP) ## Play random trading days against a toy broker (STORIES=500, SEED=1), check its book
	STORIES=$(STORIES) SEED=$(SEED) $(BIN)/pytest -n0 -p no:randomly -o timeout=0 -q -k every_story \
		execution/tests/test_next_steps_stories.py

hold-stories: $(DEVELOP) ## Play random histories under holds on the real services (STORIES=20000, SEED=1)
	STORIES=$(STORIES) SEED=$(SEED) $(BIN)/pytest -n0 -p no:randomly -o timeout=0 -q -k whatever_is_held \
		execution/tests/test_hold_stories.py

limits: $(DEVELOP) ## Hammer the rate limits with eight processes for a minute (SECONDS=60)
	SECONDS=$(SECONDS) $(BIN)/pytest -n0 -o timeout=0 -q quantleap/core/tests/test_rate_limit_processes.py

# Both at a time: what starts processes waits for most of its time, and what only computes steps back
# for it. One is read as it comes, the other from its log, at the end or with `tail -f`.
test: $(DEVELOP) ## The whole test suite
	@mkdir -p var; \
	$(MAKE) test-parallel NICELY="nice -n 19" >var/test-parallel.log 2>&1 & parallel=$$!; \
	trap 'kill $$parallel 2>/dev/null' INT TERM HUP; \
	$(MAKE) test-process; process=$$?; \
	wait $$parallel; parallel=$$?; cat var/test-parallel.log; \
	test $$process = 0 -a $$parallel = 0

coverage: $(DEVELOP) ## The test suite with branch coverage; takes half as long again
	$(BIN)/coverage erase
	$(MAKE) test-parallel test-process COVER="--cov --cov-append --cov-report="
	$(BIN)/coverage report --skip-covered --skip-empty

# exec: whoever ends the make that waits in the background ends pytest, and not a shell before it.
test-parallel: $(DEVELOP)
	exec $(NICELY) $(BIN)/pytest -n 2 -m "not process and not browser" $(COVER)

# Five files at a time, whatever the cores: nearly all of their time is a trading day's, and waits.
test-process: $(DEVELOP)
	$(BIN)/pytest -n 5 --dist loadfile --no-loadscope-reorder -p no:randomly -m process \
		$(COVER) $(PROCESS_TESTS)

browser: $(DEVELOP) ## Drive the pages in the system's headless Chromium
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -p no:randomly -m browser \
		$(BROWSER_TESTS)

lint: $(DEVELOP) ## Formatting, types, import directions, migrations, deploy checks, OpenAPI
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache
	.ci/check-settings $(BIN)/python

bench: $(DEVELOP) ## Benchmarks; each writes JSON below var/bench
	set -e; for name in $(BENCHMARKS); do $(BIN)/python -m bench.$$name; done

lock: $(DEVELOP) ## Compile the requirements again; UPGRADE=1 takes newer versions
	$(COMPILE) $(if $(UPGRADE),--upgrade) --output-file=requirements.txt requirements.in
	$(COMPILE) $(if $(UPGRADE),--upgrade) --output-file=requirements-dev.txt requirements-dev.in

clean: ## Remove everything that set-up and runs have left, data included
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "QuantLeap needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

$(RUNTIME): | .venv/bin/pip
	$(INSTALL) -r requirements.txt
	$(CHECK)
	@touch $@

# The development lock contains the runtime lock, so both stamps are earned at once.
$(DEVELOP): | .venv/bin/pip
	$(INSTALL) -r requirements-dev.txt
	$(CHECK)
	@touch $@ $(RUNTIME)
