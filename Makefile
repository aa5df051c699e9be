# The logic lives in Python; this file only says what depends on what.
# PYTHON makes .venv, and may be python3.11, python3.12 or python3.13.
PYTHON ?= python3
RUN := .venv/bin/python -m
BIRDWALK := .venv/bin/birdwalk
.DEFAULT_GOAL := help
.PHONY: help demo up down status psql test lint pictures bench bench-million lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: .venv/.installed-local ## embed the sample pictures, or IMAGES=folder, and show the nearest of QUERY=image
	@$(BIRDWALK) demo $${IMAGES:+--pictures "$$IMAGES"} $${QUERY:+--query "$$QUERY"}

up: .venv/.installed-local ## start the local stack in the background, serving IMAGES=folder or the samples
	@$(BIRDWALK) up $${IMAGES:+--pictures "$$IMAGES"}

down: .venv/.installed-local ## stop the local stack
	@$(BIRDWALK) down

status: .venv/.installed-local ## show the local stack's servers
	@$(BIRDWALK) status

psql: .venv/.installed-local ## ask the local stack's database; Q="SELECT ..." asks one question
	@$(BIRDWALK) psql $${Q:+-c "$$Q"}

test: .venv/.installed-dev ## run all tests
	@$(RUN) pytest -n 2

lint: .venv/.installed-dev ## check style, types and the direction of imports
	@$(RUN) ruff check . && $(RUN) ruff format --check .
	@$(RUN) mypy
	@.venv/bin/python -c 'from importlinter.cli import lint_imports_command as lint; lint()'

pictures: .venv/.installed-dev ## draw the README's pictures anew, into docs/
	@$(RUN) tests.acceptance.readme_pictures

bench: .venv/.installed-dev ## measure, and print tables with their ratios
	@$(RUN) tests.bench

bench-million: .venv/.installed-dev ## measure a run over a million images; takes half an hour
	@$(RUN) tests.bench million

lock: ## resolve the newest allowed versions into the three requirements files
	@$(PYTHON) -m deployments.lock

.venv/.installed-local: requirements.txt requirements-local.txt pyproject.toml
	@$(PYTHON) deployments/environment.py $@ $(filter %.txt,$^)

.venv/.installed-dev: requirements.txt requirements-local.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) deployments/environment.py $@ $(filter %.txt,$^)
