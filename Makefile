# `make demo` and `make test` are all the set-up there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where torch comes from. The default index brings the CUDA build on Linux; on a machine without a
# GPU `make demo TORCH_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"` saves gigabytes.
TORCH_FLAGS ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all check docs format chaos bench constraints clean

$(VENV)/.user: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_FLAGS) torch
	$(PIP) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.user
	$(PIP) -e ".[dev,all]"
	touch $@

demo: $(VENV)/.user  ## train, evaluate and predict on bundled data with the bundled model
	$(BIN)/profactory demo

docs: $(VENV)/.docs  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.docs: $(VENV)/.dev
	$(PIP) -e ".[docs]"
	touch $@

# In the order of tests/conftest.py. A worker that dies ends the run: pytest-xdist would wait for it for ever.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: $(VENV)/.dev  ## what CI runs: all tests but those of `make test-all` and of GPUs
	$(PYTEST) -m "not gpu and not extensive" $(PYTEST_FLAGS) tests

test-all: $(VENV)/.dev  ## with the examples of every page and the benchmarks at a small size: some minutes more
	$(PYTEST) -m "not gpu" $(PYTEST_FLAGS) tests

chaos: $(VENV)/.dev  ## the long form of tests/chaos: 200 kills, full disks, races
	CHAOS_KILLS=200 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/chaos $(PYTEST_FLAGS)

bench: $(VENV)/.dev  ## speed beside other programs: benchmarks/results, the tables of docs/performance.md and README
	$(BIN)/python benchmarks/run.py $(BENCH_FLAGS)

check: $(VENV)/.dev  ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(VENV)/.docs  ## rewrite constraints.txt from this environment, which has every extra
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
