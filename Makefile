# Everything a newcomer needs; each target sets up what it needs itself.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements-dev.txt pyproject.toml
DEMO_DATA := data/demo
DEMO_ROOT := runs/demo
JOB_PORT ?= 8099
POOL_PORT ?= 50000
TEST_PROCESSES ?= 2
GPU := k8s/images/gpu/
SBOM := PYTHONWARNINGS=ignore $(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --pyproject pyproject.toml \
	--output-reproducible
COMPILE := $(BIN)/uv pip compile --quiet --override overrides.txt --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --python-version 3.11 --python-platform x86_64-manylinux_2_28

.PHONY: help setup demo test test-slow mlmd-test lint format bench portable schema lock sbom clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Install the locked packages into .venv (does nothing when the lock has not changed)
	@cat $(LOCKS) | cmp -s - $(VENV)/installed || $(MAKE) --no-print-directory install

.PHONY: install
install:
	@echo "Installing about 270 locked packages (3 GB) into $(VENV); this takes a few minutes once."
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@cat $(LOCKS) > $(VENV)/installed

demo: setup  ## Make a synthetic click log and run the whole pipeline on it
	@$(BIN)/clickrank synth $(DEMO_DATA)
	@$(BIN)/clickrank run $(DEMO_DATA) --root $(DEMO_ROOT) --config configs/demo.yaml || test $$? -eq 4

test: setup  ## Run the default tests, in TEST_PROCESSES processes (2)
	@$(BIN)/pytest -m "not slow" --numprocesses $(TEST_PROCESSES) --dist loadfile

test-slow: setup  ## Run the tests marked slow
	@$(BIN)/pytest -m slow

mlmd-test: setup  ## Run the tests of the metadata store on a MariaDB of Debian's packages, unpacked into build/ unless one is installed
	@$(BIN)/python -m tests.mariadb
	@$(BIN)/pytest tests/pipeline/test_connection.py tests/pipeline/test_run_on_mysql.py

lint: setup  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup  ## Put the code into the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup  ## Measure feature engineering, reading, the training step and the evaluation beside how others do it (an hour)
	@$(BIN)/clickrank bench features
	@$(BIN)/clickrank bench input
	@$(BIN)/clickrank bench step
	@$(BIN)/clickrank bench evaluate

portable: setup  ## Start Beam's job service and an external worker pool until Ctrl-C (JOB_PORT, POOL_PORT)
	@$(BIN)/python -m benchmarks.portable --job-port $(JOB_PORT) --pool-port $(POOL_PORT)

schema: setup  ## Render schemas/schema.pbtxt from the feature table
	@$(BIN)/python -m schemas.data_schema > schemas/schema.pbtxt.new && mv schemas/schema.pbtxt.new schemas/schema.pbtxt

lock: setup  ## Resolve pyproject.toml again into the hash-pinned requirements files (UPGRADE=--upgrade for newer versions)
	@$(COMPILE) pyproject.toml $(UPGRADE) --extra dev --output-file requirements-dev.txt
	@$(COMPILE) pyproject.toml --constraint requirements-dev.txt --output-file requirements.txt
	@$(COMPILE) $(GPU)requirements.in $(UPGRADE) --constraint requirements-dev.txt --output-file $(GPU)requirements.txt

sbom: setup  ## List what the images install, as CycloneDX, in build/sbom-cpu.json and build/sbom-gpu.json (fetches the tool)
	@mkdir -p build
	@$(SBOM) --output-file build/sbom-cpu.json requirements.txt
	@cat requirements.txt $(GPU)requirements.txt | $(SBOM) --output-file build/sbom-gpu.json -

clean:  ## Remove the demo's data and runs, and caches (not .venv)
	@rm -rf $(DEMO_DATA) $(DEMO_ROOT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
