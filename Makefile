# Two commands are all a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# Two of the synthetic users, of different tastes.
DEMO_USERS := 366396 1202590
# What is measured: the demo's bundle, which is then made, or the one of another store.
STORE ?= $(DEMO)/store
SERVED = $(filter $(DEMO)/store/%,$(STORE)/anime/1/manifest.json)
# Tests in a worker a core, each of one thread, since threads that wait for each other on a core that
# another worker has take many times as long. More than a few workers would each make the same models.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest \
	--numprocesses auto --maxprocesses 4 --dist loadfile
EXTRAS ?= cpu,train,http,mal,lists,histories,baselines,torchserve,signing,tracing,bench,docs,dev

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast check format docs node web web-picture proto proto-check \
	proto-release picture bench bench-quick bench-reload soak chaos clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/installed  ## make .venv with every extra, at the tested versions

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(DEMO)/store/anime/1/manifest.json  ## data, training, export, and titles with reasons over gRPC
	@: > $(DEMO)/facade.log; \
	trap 'exit 130' INT TERM; trap 'kill $$facade 2>/dev/null; wait $$facade' EXIT; \
	$(BIN)/anirank serve --store $(DEMO)/store --address 127.0.0.1:0 > $(DEMO)/facade.log & facade=$$!; \
	until grep -q ' on ' $(DEMO)/facade.log; do kill -0 $$facade || exit 1; sleep 0.1; done; \
	cat $(DEMO)/facade.log; \
	address="$$(sed -E 's/.* on ([^,]+),.*/\1/' $(DEMO)/facade.log)"; \
	for user in $(DEMO_USERS); do \
		$(BIN)/anirank rank --user $$user --top 5 --explain --address "$$address" || exit 1; \
	done

$(DEMO)/data/users-score-2023.csv: $(VENV)/installed
	$(BIN)/anirank synth $(DEMO)/data

$(DEMO)/run/evaluation.json: $(DEMO)/data/users-score-2023.csv
	rm -rf $(DEMO)/run
	$(BIN)/anirank train $(DEMO)/data $(DEMO)/run

$(DEMO)/store/anime/1/manifest.json: $(DEMO)/run/evaluation.json
	rm -rf $(DEMO)/store
	$(BIN)/anirank export $(DEMO)/run --store $(DEMO)/store --name anime --version 1 --light

test: install  ## run every test; COVERAGE=--cov holds branch coverage to its floor, and takes longer
	$(PYTEST) $(COVERAGE)

test-fast: install  ## the tests that take seconds, without coverage
	$(PYTEST) -m "not slow"

check: install proto-check  ## formatting, lint, types, and stubs that match the contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install  ## format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install  ## the pages and the reference as a site, in build/docs; what leads nowhere fails
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning docs build/docs

node:  ## install what the client and the example for Node need, and build the client
	cd clients/node && npm ci --ignore-scripts --no-audit --no-fund && npm run build
	cd examples/node && npm ci --ignore-scripts --no-audit --no-fund

web: $(SERVED)  ## build the page that recommends without a server, of STORE's light graph, into build/web
	cd web && npm ci --ignore-scripts --no-audit --no-fund
	node web/build.mjs $(STORE)/anime/1/light build/web

web-picture: install web  ## draw the picture of docs/web.md anew, and measure the page
	$(BIN)/python docs/figures/web.py build/web docs/figures/web.png

proto: install  ## make the Python stubs from proto/
	$(BIN)/python proto/stubs.py

proto-release: install  ## keep the contracts of a release, which later ones may not break
	$(BIN)/buf build proto --exclude-source-info --output proto/released.binpb

proto-check: install  ## lint the contracts, whether they break callers, and whether the stubs are theirs
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/released.binpb
	$(BIN)/python proto/stubs.py --check

picture: install $(DEMO)/store/anime/1/manifest.json  ## draw the picture of the README anew
	$(BIN)/python docs/figures/demo.py $(DEMO)/store/anime/1 docs/figures/demo.svg

bench: install $(SERVED)  ## the façade beside its floors and its peers: 15 minutes
	$(BIN)/python -m benchmarks.serving.comparison --store $(STORE)

bench-quick: install $(SERVED)  ## the same in two minutes, to build/figures: to see that everything runs
	$(BIN)/python -m benchmarks.serving.comparison --store $(STORE) --quick

bench-reload: install $(SERVED)  ## latency while versions are switched
	$(BIN)/python -m benchmarks.serving.reload --store $(STORE)

soak: install $(SERVED)  ## ten minutes of load, reloads and killed workers, for each backend
	$(BIN)/python -m benchmarks.serving.soak --store $(STORE)
	$(BIN)/python -m benchmarks.serving.soak --store $(STORE) --backend torchserve

chaos: install $(SERVED)  ## ten minutes of bad versions, killed workers and attackers
	$(BIN)/python -m benchmarks.chaos.run --store $(STORE)

clean:  ## remove what the targets above made, but for .venv
	rm -rf $(DEMO) build .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
