# Everything a newcomer needs: `make demo` runs the main job, `make test` passes the tests; both set themselves up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CXX_SOURCES := bench/engine/src/* bench/engine/include/*.h bench/engine/library/*.?pp bench/engine/examples/*.c bench/models/native/*.cpp bench/models/native/*.h tests/native/*.cpp tests/native/*.hpp
NATIVE := $(wildcard bench/engine/CMakeLists.txt bench/engine/src/* bench/engine/library/* bench/models/native/*)

.DEFAULT_GOAL := help
.PHONY: help install demo test native docs lint format clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed ## Make the virtual environment and build the engine

demo: $(VENV)/installed ## Train, prune, time and score a small study of real speech, then report (under 20 minutes)
	$(BIN)/lanewise demo

test: $(VENV)/installed ## Run the tests (under 25 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests

native: ## Build the engine without Python and run its C++ tests
	.ci/native

docs: $(VENV)/installed ## Make the generated pages and pictures of docs/ again
	$(BIN)/python -m docs.generate

lint: $(VENV)/installed ## Check style and types
	$(BIN)/ruff check bench studies reports tests docs
	$(BIN)/ruff format --check bench studies reports tests docs
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)

format: $(VENV)/installed ## Format the code in place
	$(BIN)/ruff format bench studies reports tests docs
	$(BIN)/clang-format -i $(CXX_SOURCES)

clean: ## Remove the virtual environment and builds (studies in runs/ stay)
	rm -rf $(VENV) build

$(VENV)/installed: pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Lanewise needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@command -v $${CXX:-c++} >/dev/null || \
	  { echo "Lanewise needs a C++20 compiler and found none; install one (Debian, Ubuntu: apt install g++) or set CXX"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing packages and building the engine: about two minutes, most of it torch and mlflow."
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[dev,dashboard,corpus]'
	touch $@
