# make demo: from nothing to a scored submission; make test: the tests; both install what they need into .venv.
PYTHON ?= python3
PYTHON_OLD ?= python3.11
BIN := .venv/bin
SMOKE := tests/benchmarks/test_results.py tests/pipeline/test_competitions.py tests/pipeline/test_answer_kinds.py \
	tests/pipeline/test_new_competition.py tests/inference/models
PAGES := tests/notebooks tests/pipeline/report/test_browser.py
OFFLINE := tests/pipeline/delivery/test_bundle_offline.py tests/inference/bundle/test_dry_run.py
export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: install demo demo-short test test-all test-old slow fuzz smoke pages offline cluster lint docs clean

# Tests of a module stay on one worker: what they share is made once.
SPREAD := -n 2 --dist loadscope --no-loadscope-reorder

install: .venv/installed

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,formats]'
	touch .venv/installed

demo: install
	$(BIN)/python -m pipeline demo

demo-short: install
	$(BIN)/python -m pipeline demo --short

test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q $(SPREAD) -m 'not smoke' $(PYTEST_ARGS)

# What CI runs beside the tests, as two workers share it out: all of fuzz, smoke, pages and offline below.
slow: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q $(SPREAD) -m smoke $(SMOKE) tests/fuzz $(PAGES) $(OFFLINE) $(PYTEST_ARGS)

# All malformed inputs; a tenth of them is among the tests.
fuzz: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 tests/fuzz $(PYTEST_ARGS)

test-all: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 $(PYTEST_ARGS)

# The six real competitions in their smoke size and the two cheapest rows of docs/results.md, where ../shared/data is;
# a run of each kind of answer and of what new-competition writes, all networks.
smoke: install
	$(BIN)/pytest -q -m smoke $(SMOKE) $(PYTEST_ARGS)

# The page of a run in a browser with no network (Debian's chromium and chromium-driver), and the notebooks.
pages: install
	$(BIN)/pytest -q -m smoke $(PAGES) $(PYTEST_ARGS)

# A bundle as the host runs it: a fresh environment, no network, the notebook, the dry run; wheels come from the index.
offline: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m smoke $(OFFLINE) $(PYTEST_ARGS)

# Runs and a search shared out on a Ray cluster of several nodes on this machine, with nodes, head and driver killed.
cluster: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m smoke tests/pipeline/distributed tests/pipeline/search $(PYTEST_ARGS)

# inference and submissions under versions as old as those of Kaggle's image; that torch brings its GPU libraries, 4 GB.
test-old: .venv-old/installed
	OMP_NUM_THREADS=1 .venv-old/bin/pytest -q -m 'not smoke' --ignore=tests/submissions/host/test_contracts.py tests/inference tests/submissions
	OMP_NUM_THREADS=1 .venv-old/bin/pytest -q -m smoke tests/inference/bundle/test_dry_run.py

.venv-old/installed: tests/old-stack.txt pyproject.toml
	test -d .venv-old || $(PYTHON_OLD) -m venv .venv-old
	.venv-old/bin/pip install --quiet --disable-pip-version-check -r tests/old-stack.txt
	.venv-old/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch .venv-old/installed

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tables of all settings and the JSON Schemas of both YAML documents, from the models that check them.
docs:
	$(BIN)/python -m pipeline settings --markdown > docs/settings.md.partial && mv docs/settings.md.partial docs/settings.md
	$(BIN)/python -m pipeline schema pipeline/schemas

clean:
	rm -rf .venv .venv-old build *.egg-info
