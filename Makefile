# Every target does its own set-up; `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
SEEDS ?= 1-3000
NATIVE := $(filter-out native/target,$(wildcard native/*)) $(wildcard native/src/*)

.PHONY: help install demo test test-fast lint types simulate prove chaos throttle pace rolling mixed kubernetes kubernetes-api image-check pin-images fuzz bench bench-peers bench-window bench-mapping bench-scale docs lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.native ## install into .venv, so that .venv/bin/connector is the command; with native code if cargo is there

demo: install ## the whole pipeline on simulators, with a reconciliation at the end (under a minute)
	$(BIN)/connector demo

test: $(VENV)/.test-tools ## start a real Apache Kafka; lint, type check and every test
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.suite

test-fast: $(VENV)/.test-tools ## every test that needs no Apache Kafka (some minutes)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.suite --fast

chaos: $(VENV)/.test-tools ## brokers and members fail for half an hour under load; a table shows what was lost or sent twice
	$(BIN)/python -m tests.integration.ordeals chaos

lint: $(VENV)/.test-tools ## ruff, format and rules
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: $(VENV)/.test-tools ## mypy, strict
	$(BIN)/mypy

prove: $(VENV)/.test-tools ## kill the connector at random, over and over, cut it from its coordinator, and show what it cost (more than a quarter of an hour; needs Java)
	$(BIN)/python -m tests.integration.ordeals kills --rounds 20
	$(BIN)/python -m tests.integration.ordeals chaos --only cut-coordinator

bench: $(VENV)/.test-tools ## the pipeline beside a bare loop of the same libraries, as a ratio
	$(BIN)/python -m tests.benchmarks.throughput

bench-peers: $(VENV)/.test-tools $(PEERS)/.installed ## the pipeline beside FastStream, Quix Streams and Bytewax on the same work (some minutes)
	$(BIN)/python -m tests.benchmarks.comparison --picture docs/peers.svg

bench-window: $(VENV)/.test-tools ## memory, time and longest step of a dedupe window of up to 10 million keys
	$(BIN)/python -m tests.benchmarks.window

bench-mapping: $(VENV)/.test-tools ## what a mapping file costs an event, beside the library's interpreter and the unmapped path
	$(BIN)/python -m tests.benchmarks.mapping

bench-scale: $(VENV)/.test-tools ## how the cost grows: partitions, restore, latency of Amazon, the first delivery (a quarter of an hour; needs Java)
	$(BIN)/python -m tests.benchmarks.scale

throttle: $(VENV)/.test-tools ## ten minutes of nothing but 429 with a full topic: memory, group, bounds, and the drain after it
	$(BIN)/python -m tests.benchmarks.throttle --picture tests/benchmarks/throttle.svg

pace: $(VENV)/.test-tools ## a steady load while Amazon throttles or is slow: requests and events per second (5 minutes)
	$(BIN)/python -m tests.benchmarks.pace --picture tests/benchmarks/pace.svg

rolling: $(VENV)/.test-tools ## 20 rolling restarts under load, for both protocols, with static and dynamic members
	$(BIN)/python -m tests.integration.ordeals rolling

mixed: $(VENV)/.test-tools ## members of e0780c9 and of this version in one group, updated and put back in turn (some minutes; needs the history)
	$(BIN)/python -m tests.integration.ordeals mixed

kubernetes: $(VENV)/.test-tools ## the manifests' environment through upgrade, scaling, rotation, outage and rollout, under load (some minutes; needs the history)
	$(BIN)/python -m tests.integration.ordeals kubernetes

kubernetes-api: $(VENV)/.test-tools ## judge the manifests by Kubernetes' own code, and its Pod Security (compiles for some minutes the first time; needs Go 1.26)
	$(BIN)/python -m tests.deploy.kubernetes_api

image-check: $(VENV)/.test-tools ## play the Dockerfile without a container engine, and have the image deliver (up to half an hour; root, Debian, Java, Rust)
	$(BIN)/python -m tests.deploy.image

pin-images: ## name the base images of the Dockerfile by digest (needs Docker with buildx); a release does this by itself
	$(PYTHON) -m tests.deploy.pins

fuzz: $(VENV)/.test-tools ## a million damaged records, 100,000 in every framing, through mapping files, and answers (some minutes)
	$(BIN)/python -X faulthandler -m tests.fuzz records
	$(BIN)/python -X faulthandler -m tests.fuzz framings
	$(BIN)/python -X faulthandler -m tests.fuzz mappings
	$(BIN)/python -X faulthandler -m tests.fuzz answers
	[ ! -e $(VENV)/.native ] || $(BIN)/python -X faulthandler -m tests.fuzz codec

simulate: $(VENV)/.test-tools ## play the whole connector on virtual time, with faults, from seeds: SEEDS=1-3000
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

docs: $(VENV)/.docs-tools ## the documentation as a site with search, in site/; every link is checked
	$(BIN)/python -m tests.settings_page
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

lock: ## resolve the locked versions again, within pyproject's bounds (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		pyproject.toml --group build -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		pyproject.toml --extra aws --extra azure --extra gcp --group build -c requirements.lock -o deploy/requirements-extras.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--group test -c requirements.lock -o tests/requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--group docs -c requirements.lock -c tests/requirements.lock -o docs/requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--group native -o native/requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		tests/benchmarks/peers/requirements.in -o tests/benchmarks/peers/requirements.lock

clean: ## remove what the targets above made
	rm -rf $(VENV) $(PEERS) native/target site .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.test-tools: tests/requirements.lock $(VENV)/.docs-tools
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r tests/requirements.lock
	$(BIN)/python -m tests.browser
	@touch $@

# What the connector is compared with: an environment of its own, which nothing else needs.
$(PEERS)/.installed: tests/benchmarks/peers/requirements.lock
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r tests/benchmarks/peers/requirements.lock
	@touch $@

# Made only if the native part is installed. Without it, every target says why, and goes on.
$(VENV)/.native: $(NATIVE) $(VENV)/.installed $(if $(NATIVE_WHEEL),FORCE)
	@NATIVE_WHEEL="$(NATIVE_WHEEL)" $(BIN)/python native/install.py $@

.PHONY: FORCE
FORCE:

$(VENV)/.docs-tools: docs/requirements.lock $(VENV)/.installed | $(VENV)/.native
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r docs/requirements.lock
	@touch $@
