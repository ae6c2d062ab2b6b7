# make demo   installs into .venv, walks the whole road on two models, ends with a table
# make test   installs into .venv, runs every test
PYTHON ?= python3
VENV   ?= .venv
PIP     = $(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off -q -c constraints.txt $(PIP_ARGS)
DEMO   ?= demo
# the other engines are large, and some bend their dependencies: they get an environment of their own
IN_PEERS = $(MAKE) --no-print-directory VENV=.venv-peers EXTRAS=,openvino,mnn,ncnn,tract,executorch,litert

.PHONY: help demo install install-dev readme test test-setup zoo zoo-setup lint format benchmark peers-test peers-run bench-zoo bench-zoo-run power-test cross-check clean
.DEFAULT_GOAL := help

help: ## show the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "edge-runtime needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
	  || { echo "this Python has no venv: on Debian, apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing PyTorch (CPU), onnx and onnxruntime into $(VENV): a minute or two"
	$(PIP) -e ".[export,bench,examples$(EXTRAS)]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing the test and lint tools into $(VENV)"
	$(PIP) -e ".[export,bench,examples,dev]"
	@touch $@

install: $(VENV)/installed ## edge with everything a host needs, in .venv

install-dev: $(VENV)/installed-dev ## the same with the test and lint tools

demo: $(VENV)/installed ## the whole road on this machine: export, check, measure, compare with PyTorch
	$(VENV)/bin/python examples/demo.py $(DEMO)

readme: $(VENV)/installed ## README.md's picture and table from the last make demo
	$(VENV)/bin/python examples/readme.py $(DEMO)

test: $(VENV)/installed-dev ## every test
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

test-setup: $(VENV)/installed-dev ## what some tests use: Debian packages (root or sudo), an older onnxruntime, small weights
	sh tests/system-packages.sh
	$(VENV)/bin/python -m export_tools.throwaway 1.15
	$(VENV)/bin/python -m tests.zoo.fetch

zoo-setup: $(VENV)/installed-dev ## all weights of the zoo: 210 MB, into ~/.cache/edge-zoo
	$(VENV)/bin/python -m tests.zoo.fetch --all

zoo: zoo-setup ## every network and trap of tests/zoo exported, checked afresh and measured: a quarter of an hour
	$(VENV)/bin/python -m tests.zoo.matrix $(ZOO_ARGS)

lint: $(VENV)/installed-dev ## ruff, strict types, the layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(VENV)/installed-dev ## let ruff format and fix
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

peers-test: ## other engines (OpenVINO, MNN, ncnn, tract, ExecuTorch, LiteRT) for real, in an environment of their own, .venv-peers
	$(IN_PEERS) peers-run

peers-run: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks.peers

bench-zoo: ## all engines over every network of the zoo, into docs/benchmarks.md; BENCH_ZOO_ARGS="--artifacts FOLDER"
	$(IN_PEERS) bench-zoo-run

bench-zoo-run: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks.zoo $(BENCH_ZOO_ARGS)

benchmark: $(VENV)/installed ## every promised ratio against its target, measured side by side: six minutes
	$(VENV)/bin/python -m benchmarks

power-test: $(VENV)/installed ## how often verdicts are wrong here: 20 A/A runs and 20 planted slowdowns, up to an hour
	$(VENV)/bin/python -m benchmarks.power $(POWER_ARGS)

cross-check: $(VENV)/installed ## our mean time of a call against hyperfine's (apt-get install hyperfine)
	$(VENV)/bin/python -m benchmarks.crosscheck

clean: ## remove .venv and everything that was made
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
