# Everything a contributor runs. `make help` lists it; each target works from a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := requirements/constraints.txt
# Most tests wait for a daemon to start, to time out or to drain: three processes keep two cores busy.
JOBS ?= 3
PYTEST_ARGS ?=
FUZZ_TARGETS ?= client_hello proxy_header request_head chunked_body certificate_names
SECONDS ?= 300
BENCH ?= --rounds 3 --seconds 4

.PHONY: help demo test check format e2e bench bench-latency bench-workers bench-logs bench-micro fuzz install uninstall deb test-trixie clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 21

demo: $(VENV)/.runtime  ## serve https://localhost:8443 with a certificate made on the spot, and show every handshake
	$(BIN)/python -m terminator demo

test: $(VENV)/.tools  ## run all tests: unit tests, then the real daemon with real clients
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

e2e: $(VENV)/.tools  ## run only the tests that start the real daemon
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/e2e $(PYTEST_ARGS)

check: $(VENV)/.tools  ## format, lint, types and import floors; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py tests/test_mirror.py

format: $(VENV)/.tools  ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.runtime  ## CPU cost beside nginx, HAProxy and Caddy on this machine (those that are installed)
	$(BIN)/python bench/compare.py $(BENCH)

bench-latency: $(VENV)/.runtime  ## p50, p99 and p99.9 beside nginx, at half of what each can take and at the same rate
	$(BIN)/python bench/latency.py $(LATENCY)

bench-workers: $(VENV)/.runtime  ## throughput of two workers beside one (as root: each in a control group of its own)
	$(BIN)/python bench/workers.py $(WORKERS)

bench-logs: $(VENV)/.runtime  ## CPU that metrics and logs add
	$(BIN)/python bench/telemetry_cost.py $(LOGS)

bench-micro: $(VENV)/.runtime  ## time the pure functions on the way of every request (MICRO="-o after.json")
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[bench]'
	$(BIN)/python bench/micro.py $(MICRO)

fuzz: $(VENV)/.tools  ## coverage-guided fuzzing of every parser strangers can reach, SECONDS each (default 300)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[fuzz]'
	for target in $(FUZZ_TARGETS); do \
		$(BIN)/python fuzz/run.py $$target -max_total_time=$(SECONDS) -print_final_stats=1 || exit 1; \
	done

install:  ## install to /opt/terminator with systemd units, man pages and hooks (DESTDIR=, PREFIX=)
	PYTHON=$(PYTHON) packaging/install.sh install

uninstall:  ## remove what install made; configuration, keys and logs stay
	packaging/install.sh uninstall

deb:  ## build dist/terminator-proxy_*.deb for this Debian release
	packaging/deb.sh

test-trixie:  ## the systemd tests in Debian 13, made by debootstrap (as root; MIRROR= names another archive)
	packaging/trixie.sh $(BIN)/python -m pytest -p no:cacheprovider tests/systemd $(PYTEST_ARGS)

clean:  ## remove the virtual environment and all caches
	rm -rf $(VENV) .demo .fuzz .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made once, and brought up to date when pyproject.toml or the constraints change.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'terminator needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo 'This Python cannot make virtual environments; on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable .
	touch $@

$(VENV)/.tools: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[test,check]'
	touch $@ $(VENV)/.runtime
