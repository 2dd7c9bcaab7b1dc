.DEFAULT_GOAL := help
STARTER ?= spaceflights-astro
PYTHON ?= python3
STEP := $(PYTHON) steps.py
export DO_NOT_TRACK := 1

help: ## List the targets
	@awk -F ' *## ' '/^[a-z-]+:.* ## / { sub(/:.*/, "", $$1); printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: .venv/demo ## Create a project and run its DAG on a real local Airflow (STARTER=astro-airflow-iris)
	@.venv/bin/python demo.py $(STARTER)

test: .venv/test ## Run all tests (as root, on Debian: installs podman, PostgreSQL, PgBouncer, Redis)
	@.ci/packages
	.venv/bin/python -m pytest --numprocesses=4 --dist=loadgroup --no-loadscope-reorder

test-fast: .venv/test ## Run the tests that take seconds and do not need root
	.venv/bin/python -m pytest -m "not slow"

mutants: .venv/test ## Tell which small mistakes the fast tests notice (OPTIONS=--slow: all tests)
	.venv/bin/python tests/mutants.py $(OPTIONS)

lint: .venv/test ## Run the checks of a commit: ruff, mypy, and whether starters/ is up to date
	.venv/bin/pre-commit run --all-files

starters: .venv/test ## Write starters/ from layers/
	.venv/bin/python compose.py

docs: .venv/docs ## Build the documentation into site/
	.venv/bin/python -m mkdocs build --strict

pictures: .venv/pictures ## Take the documentation's pictures again (needs chromium from Debian)
	.venv/bin/python -m docs.pictures

workshop: .venv/demo ## Put a workshop with all that it installs into build/workshop/, for USB sticks
	$(MAKE) -C workshop

bench: .venv/test ## Measure creating projects, reading DAG files and running DAGs, against kedro-airflow
	.venv/bin/python benchmarks/creation.py
	.venv/bin/python benchmarks/parsing.py
	.venv/bin/python benchmarks/runs.py

.venv/pictures .venv/test: .venv/demo
.venv/demo: ALSO = --compile-bytecode .
.venv/pictures: ALSO = $(addprefix -r ,$(wildcard layers/examples/*/requirements.txt))
.venv/test: ALSO = --compile-bytecode . $(addprefix -r ,$(wildcard layers/base/requirements.txt layers/examples/*/requirements.txt layers/platforms/*/requirements.txt))
.venv/demo .venv/docs .venv/pictures .venv/test: pyproject.toml
	@test -x .venv/bin/uv || { $(STEP) "Create .venv" $(PYTHON) -m venv .venv && \
		$(STEP) "Install uv" .venv/bin/pip install --quiet uv; }
	@$(STEP) "Install the tools for make $(notdir $@)" .venv/bin/uv pip install --quiet --python .venv --group $(notdir $@) $(ALSO)
	@touch $@

.PHONY: help demo test test-fast lint mutants starters docs pictures workshop bench
