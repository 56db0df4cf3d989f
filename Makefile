# `make study`: the whole study, from nothing to tables and figures.  `make test`: every check.
# Both first build .venv from the lock when it is missing or older than the lock.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help .venv study test docs bench lock clean

CORES ?= all
PROFILE ?=
BIN := .venv/bin
PROFILE_FLAG := $(if $(PROFILE),--config profile=$(PROFILE))

# One thread a job: jobs that each use every core slow each other down many times over.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export PYTHONNOUSERSITE := 1

help:
	@echo "make study [PROFILE=smoke] [CORES=2]   the tables and figures (default profile: see params.yaml)"
	@echo "make test                              lint, types, workflow and tests"
	@echo "make docs                              the documentation: site/index.html"
	@echo "make bench                             what surrounds the networks, as ratios (minutes)"
	@echo "make .venv                             the environment alone, from requirements.txt"
	@echo "make lock                              requirements.txt anew from pyproject.toml"
	@echo "make clean                             remove .venv and caches; results stay"

.venv: .venv/installed

# --no-deps: the lock is complete, and leaves one package out on purpose (pyproject.toml says which).
# uv, which is in the lock, is several times faster than pip. pip is for machines where it alone knows the package index.
.venv/installed: requirements.txt
	@python=; for name in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if "$$name" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; \
	    then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then echo "make: expected Python 3.11, 3.12 or 3.13 with venv as python3; found none" >&2; exit 1; fi; \
	echo "Installing requirements.txt into .venv with $$($$python --version)"; \
	"$$python" -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r <(sed -n '/^uv==/,/[^\\]$$/p' requirements.txt)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes \
	    -r requirements.txt || \
	    $(BIN)/python -m pip install --no-deps --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

study: .venv/installed
	$(BIN)/snakemake --cores $(CORES) $(PROFILE_FLAG)
	@$(BIN)/pig results $(if $(PROFILE),--profile $(PROFILE))

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m pytest -n 2
	@echo "make test: lint, format, types, workflow, documentation and tests all passed"

# Any warning is an error. `.venv/bin/mkdocs serve` shows it while you write.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html is written; its search wants a server: $(BIN)/python -m http.server --directory site"

# Minutes, on any machine. Longer ones, or for a GPU, are called by hand: each benchmark's first lines say how.
bench: .venv/installed
	$(BIN)/python benchmarks/around.py --profile demo paper
	$(BIN)/python benchmarks/copying.py --generated 256 --training 512 --size 128

lock: .venv/installed
	$(BIN)/uv pip compile pyproject.toml --extra test --universal --python-version 3.11 --fork-strategy fewest \
	    --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet \
	    --output-file requirements.txt
	@touch .venv/installed

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info
