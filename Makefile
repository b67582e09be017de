# Two commands do everything on a machine with Python 3.11 to 3.13, pip and make:
#   make serve   sets up and runs the service
#   make test    sets up and runs the tests

PYTHON ?= python3
# HOST=0.0.0.0 listens on all addresses.
HOST ?= 127.0.0.1
PORT ?= 3000
EXTRAS ?=
TORCH ?= cpu
VENV := .venv
BIN := $(VENV)/bin
export BENTOML_DO_NOT_TRACK := 1

.PHONY: serve gee models test test-all lint docs docs-generate bento image clients bench bench-peers clean help

help:
	@echo "make serve | gee | models | test | test-all | lint | docs | docs-generate | bento | image | clients | bench | bench-peers | clean"

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	"GeoBento needs Python 3.11 to 3.13, this is %d.%d; run: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[serve]' -c constraints.txt
	@touch $@

$(VENV)/.developing: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[serve,gee,geoparquet,models,redis,tracing]' -r requirements-dev.txt -c constraints.txt
	@touch $@

# Networks, tokenizers and the hub client for every model but mosaiks.
models: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[serve,models]' -c constraints.txt

# The client of Google Earth Engine.
gee: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[serve,gee]' -c constraints.txt

serve: $(VENV)/.installed
	@$(BIN)/geobento models import mosaiks
	@$(BIN)/geobento demo-archive
	@echo "GeoBento serves on http://$(HOST):$(PORT); the documentation of the API is at the same address."
	@echo "Try: curl -s http://localhost:$(PORT)/image_embedding -F model=mosaiks -F images=@tests/data/field.jpg"
	@$(BIN)/bentoml serve --host $(HOST) --port $(PORT)

test: $(VENV)/.developing
	$(BIN)/python -m pytest -m "not slow"

test-all: clients
	$(BIN)/python -m pytest

lint: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The Bento of the models in GEOBENTO_MODELS, or of mosaiks and what else the model store holds.
# EXTRAS=gee,geoparquet,redis,tracing adds the clients of Earth Engine and Redis, stac-geoparquet and
# the exporter of spans.
bento: $(VENV)/.installed
	@test -n "$$GEOBENTO_MODELS" || $(BIN)/geobento models import mosaiks
	@test -z "$(EXTRAS)" || $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[serve,$(EXTRAS)]' -c constraints.txt
	$(BIN)/python -m deploy.bento --extras '$(EXTRAS)'

# A container image of it; TORCH=cu128 for a GPU.
image: bento
	$(BIN)/python -m deploy.image --torch '$(TORCH)'

# The generated parts of the documentation: answers, tables, a page per model, the OpenAPI document.
docs-generate: $(VENV)/.developing
	$(BIN)/python -m docs.generate

# The documentation as a site of plain files in build/site; fails on broken links and anchors.
docs: $(VENV)/.developing
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Clients in Python and, where node is, in TypeScript, from docs/openapi.json; in build/clients.
clients: $(VENV)/.developing
	$(BIN)/python -m clients.generate

# Speed against the limit of this machine and beside other servers; results in benchmarks/results.
# A look of some minutes; SHORT= for figures, which takes about an hour.
SHORT ?= --short
bench: $(VENV)/.developing
	$(BIN)/python -m benchmarks $(SHORT)

# This service, Infinity and LitServe in turn; the others are installed into build/peers.
bench-peers: $(VENV)/.developing
	$(BIN)/python -m benchmarks.comparison

clean:
	rm -rf $(VENV) build *.egg-info
