# `make demo` and `make test` set up what they need on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_JAX := $(VENV)/.installed_jax
INSTALLED_RAY := $(VENV)/.installed_ray

.PHONY: demo test lint bench clean

demo: $(INSTALLED)
	@$(BIN)/python -m serving.demo tf_facegcn/assets/astronaut.jpg output/demo
	@echo "The mesh (obj), the landmarks and pose (json), the arrays (npz) and the picture are in output/demo"

test: $(INSTALLED) $(INSTALLED_JAX) $(INSTALLED_RAY)
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/facegcn bench hierarchy --json output/bench/hierarchy.json
	$(BIN)/facegcn bench graph --json output/bench/graph.json
	$(BIN)/facegcn bench model --json output/bench/model.json
	$(BIN)/facegcn bench data --json output/bench/data.json
	$(BIN)/facegcn bench train --json output/bench/train.json
	$(BIN)/facegcn bench serving --json output/bench/serving.json

clean:
	rm -rf $(VENV) output build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache

# Installed anew only when the list of packages or the project's metadata changes.
# --no-deps: requirements.txt names every package, see its first lines.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(INSTALLED_JAX): requirements-jax.txt $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-jax.txt
	@touch $@

$(INSTALLED_RAY): requirements-ray.txt $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-ray.txt
	@touch $@
