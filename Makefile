# `make demo` and `make test` are all that a fresh machine with Python >= 3.11 needs.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: demo test test-slow test-campaign check lint reference docs dist clean

demo: $(INSTALLED)
	@$(BIN)/debater demo

test: $(INSTALLED)
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(INSTALLED)
	@$(BIN)/python -m pytest -m slow

# Kills, damage, hostile input, many processes: SECONDS of each campaign, from where the last run ended (build/campaign).
SECONDS ?= 600
test-campaign: $(INSTALLED)
	@$(BIN)/python -m tests.campaign --seconds $(SECONDS)

check: lint test
	@command -v chromium chromium-browser google-chrome >/dev/null || echo "The report's page was not tested, as no Chromium is installed (Debian, Ubuntu: apt install chromium)."

lint: $(INSTALLED)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

reference: $(INSTALLED)
	@$(BIN)/python -m docs.reference

# The site, in an environment of its own: only the generated pages, which git keeps, come from this one.
DOCS := build/docs-env
docs: $(DOCS)/.installed
	@$(DOCS)/bin/python docs/assemble.py
	@$(DOCS)/bin/zensical build --clean --strict

$(DOCS)/.installed: docs/requirements.txt
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install -qq --requirement docs/requirements.txt
	@touch $@

# Sdist and wheel, which is made from the sdist; see RELEASING.md.
dist:
	@$(PYTHON) -m venv build/tools
	@build/tools/bin/python -m pip install -qq build twine
	@rm -rf dist
	@build/tools/bin/python -m build
	@build/tools/bin/twine check --strict dist/*

# Made again only when what is to be installed has changed.
$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or say make PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: debater needs Python 3.11 or newer; say make PYTHON=/path/to/python3."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) could not make .venv: is its venv package installed (Debian, Ubuntu: apt install python3-venv)?"; exit 1; }
	@echo "Installing debater and what it needs into .venv; this happens once and takes 2 to 10 minutes, most of it download."
	@$(BIN)/python -m pip install -qq --editable '.[dev]' --constraint constraints.txt
	@touch $@
	@echo "Installed."

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
