# Everything sets itself up: Python 3.11 or newer and pip are all that is assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
READY := $(VENV)/ready
# There while packages are installed: an environment whose installation was killed is made anew.
UNFINISHED := $(VENV)-unfinished

TORCH := $(VENV)/torch-ready

RUNTIMES := openvino ncnn mnn opencv tract iree tvm litert ort-web

.PHONY: bench test torch arm64 runtimes quick check docs picture notebook clean

bench: $(READY)  ## the main job: the sixteen networks of the MobileNet paper, measured here
	$(BIN)/mnbench run v1 --alpha 1,0.75,0.5,0.25 --res 224,192,160,128 --results results/local

# pytest's processes have the cores between them: numpy's threads that wait for one cost more than they give
test quick: export OPENBLAS_NUM_THREADS := 1

test: $(READY)  ## the whole suite
	$(BIN)/python -m pytest -n auto --dist worksteal

torch: $(TORCH)  ## PyTorch, for the tests that compare trained networks with it; without it they are skipped

arm64: $(READY)  ## an emulated arm64 Python, for the tests that run every graph on it; without it they are skipped
	$(BIN)/mnbench devices setup arm64

runtimes: $(READY)  ## an environment for each other runtime, for the tests that run it; without them they are skipped
	for runtime in $(RUNTIMES); do $(BIN)/mnbench devices setup $$runtime || exit; done

quick: $(READY)  ## the part that takes under a minute
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

check: $(READY)  ## linters, types, the direction of imports, generated docs, the line budget
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/cog -I . --check README.md docs/*.md
	$(BIN)/python .ci/size

picture: $(READY)  ## draw the plots of the README and the docs again, from results/
	$(BIN)/mnbench plot mult-adds cpu --where 'top1>0' -o docs/latency-light.svg
	$(BIN)/mnbench plot mult-adds cpu --where 'top1>0' --dark -o docs/latency-dark.svg
	$(BIN)/mnbench plot devices --results results/runtimes -o docs/runtimes-light.svg
	$(BIN)/mnbench plot devices --results results/runtimes --dark -o docs/runtimes-dark.svg

docs: $(READY) picture  ## write again what the docs generate
	$(BIN)/ruff format .
	$(BIN)/cog -I . -r README.md docs/*.md

notebook: $(READY)  ## run the notebook again and store its outputs
	$(BIN)/jupyter execute --inplace docs/notebook.ipynb

clean:
	rm -rf $(VENV) $(UNFINISHED) dist

$(READY): pyproject.toml $(CONSTRAINTS)
	@if test -d $(UNFINISHED) || ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mnbench needs Python 3.11 or newer: make PYTHON=python3.12")' \
	  && mkdir -p $(UNFINISHED) && echo "$(PYTHON) -m venv --clear $(VENV)" && $(PYTHON) -m venv --clear $(VENV); \
	fi
	@mkdir -p $(UNFINISHED)
	$(BIN)/python -m pip install --quiet --upgrade --constraint $(CONSTRAINTS) pip \
	&& $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable . --group dev; \
	status=$$?; rmdir $(UNFINISHED); exit $$status
	@touch $@

$(TORCH): $(READY)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --group torch
	@touch $@
