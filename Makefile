# Everything is done in a virtual environment of the project's own, made on first use.
PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# The distribution that runs what the compiler made: Python and C.
RUNTIME := sparsegen/runtime/native
PIP := $(BIN)/python -m pip --disable-pip-version-check

# As many tests at a time as there are cores, up to 8: each process takes 1 GB. Neighbours stay together, as they
# share fixtures; and unlike the other ways, `worksteal` and `load` go on after a test that crashes its process.
JOBS ?= $(shell nproc)
# Bytecode is kept, whatever the environment says: otherwise each of them compiles every source again.
PYTHON_WITH_BYTECODE := PYTHONDONTWRITEBYTECODE= $(BIN)/python
SIDE_BY_SIDE := --numprocesses $(JOBS) --maxprocesses 8 --dist worksteal

.PHONY: compare test soak bench bench-check check setup peers race

# Sparse against dense on a 50 % pruned ResNet-18, layer by layer.
compare: setup
	$(BIN)/sparsegen compare resnet18 --json compare.json --png compare.png
	$(BIN)/sparsegen compare resnet18 --structure kernel:4 --json compare-kernel.json --png compare-kernel.png

# A seeded sample of every large set of cases; see tests/sampling.py.
test: setup
	$(PYTHON_WITH_BYTECODE) -m pytest $(SIDE_BY_SIDE)

# All of their cases, and many more examples of each property: hours, which go on from where the last run stood,
# for MINUTES where given. What became of them is kept in bench/results.
soak: setup
	$(PYTHON_WITH_BYTECODE) -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(SIDE_BY_SIDE)

# Timings, one layer at a time; see bench/README.md.
bench: setup
	$(BIN)/python -m pytest bench --benchmark-columns=min,median,iqr,rounds --benchmark-sort=name

# What got slower than the results that are kept of this kind of CPU: ratios, in at most 15 minutes.
bench-check: setup
	$(BIN)/python -m bench.check

# Environments of the other engines that `sparsegen compare --peers all` meets.
peers: setup
	$(BIN)/python bench/peers/make.py

# Models, sparsities, batches and threads against every engine: hours; goes on from where it stood.
race: peers
	$(BIN)/python -m bench.race

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

setup: $(STAMP)

# setuptools comes first, pinned, so that the build that follows uses it and fetches no other.
$(STAMP): pyproject.toml constraints.txt tests/no-deps-requirements.txt $(RUNTIME)/pyproject.toml $(wildcard $(RUNTIME)/src/* $(RUNTIME)/sparsegen_runtime/include/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt setuptools
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable $(RUNTIME) --editable '.[bench,peers,zoo,dev]'
	$(PIP) install --no-deps --requirement tests/no-deps-requirements.txt
	touch $@
