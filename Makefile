# Two commands matter: `make demo` shows Plait at work, `make test` proves it.
# Each makes its own virtual environment from requirements.lock. demo, up, bench and chaos pass
# on what ARGS holds: make up ARGS="--base-port 60050".
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROTOS := $(shell find protos -name '*.proto')

.PHONY: help demo test lint up train bench chaos quality proto lock dashboards clean
help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# torch resolves its own accelerator libraries, which differ by platform; all
# else is exactly the lock.
$(READY): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "Plait needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@echo "Setting up $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Could not make a virtual environment: on Debian, apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -c "import gateway.fusion.pipeline, gateway.index"  # compiles what is compiled
	@touch $@

demo: $(READY) ## train on real data, start five processes, walk through what they do
	@$(BIN)/plait demo $(ARGS)

up: $(READY) ## start the five processes in the foreground until Ctrl-C
	@$(BIN)/plait up $(ARGS)

train: $(READY) ## import the demo data and train all models
	@$(BIN)/plait demo --prepare-only

lint: $(READY) ## formatting, types, layering, protos
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/buf lint

test: lint ## everything: lint, unit, integration, end to end, contracts
	@$(BIN)/python -m pytest

bench: $(READY) ## the same job on Plait, bare ONNX Runtime and other systems, side by side
	@$(BIN)/python -m benchmarks.compare --json var/bench.json $(ARGS)

chaos: $(READY) ## kill, stop, spoil, overload and fuzz the five processes; print what held
	@$(BIN)/python -m benchmarks.chaos $(ARGS)

quality: $(READY) ## every quality number of the README; ARGS="--data DIR" adds the public sets
	@$(BIN)/python -m benchmarks.quality $(ARGS)

proto: $(READY) ## regenerate the code beside the .proto files
	@$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=protos --grpc_python_out=protos \
		--plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
		--mypy_out=protos --mypy_grpc_out=protos $(PROTOS)

lock: ## resolve requirements.lock anew from pyproject.toml (needs uv)
	@uv pip compile pyproject.toml --universal --python-version 3.11 --extra cpu --extra train --extra multilingual --extra dev \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links $$(sed 's/^/--no-emit-package /' requirements.skip) \
		-o requirements.lock

dashboards: $(READY) ## write dashboards/*.json from code
	@$(BIN)/python -m dashboards.build

clean: ## remove the environment and everything generated at run time
	@rm -rf $(VENV) var .cache
