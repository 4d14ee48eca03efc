# make demo   a message from a gateway file through the socket, in a virtual environment of its own
# make test   everything: lint, types, tests (installs what they need)
# make schemas  what is made from the schemas and the command, after a change of them

VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/pytest -n auto --dist worksteal

.PHONY: demo test lint types pytest packages schemas clean
.DELETE_ON_ERROR:

demo: $(VENV)/.smsgwd
	@$(BIN)/smsgwd demo --config .

test: packages lint types pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

pytest: $(VENV)/.dev packages
	$(PYTEST)

packages:
	@tools/test-packages

schemas: $(VENV)/.smsgwd
	$(BIN)/python tools/bundle_schemas.py
	$(BIN)/python tools/describe_providers.py
	$(BIN)/python tools/describe_findings.py
	$(BIN)/python tools/write_completions.py

$(VENV)/bin/python:
	@tools/make-venv $(VENV)

$(VENV)/.smsgwd: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.smsgwd

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
