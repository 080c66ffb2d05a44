# make demo: from nothing to a scored submission; make test: the tests; both install what they need into .venv.
PYTHON ?= python3
BIN := .venv/bin
export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: install demo demo-short test test-all smoke lint clean

install: .venv/installed

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch .venv/installed

demo: install
	$(BIN)/python -m pipeline demo

demo-short: install
	$(BIN)/python -m pipeline demo --short

test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 -m 'not smoke' $(PYTEST_ARGS)

test-all: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 $(PYTEST_ARGS)

# The six real competitions in their smoke size, from ../shared/data where it is at hand.
smoke: install
	$(BIN)/pytest -q -m smoke tests/pipeline/test_competitions.py $(PYTEST_ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv build *.egg-info
