# Everything that a fresh machine with Python 3.11+ and make needs is done here.

PORT ?= 5006
# The first of these that is new enough makes the environment; PYTHON=... chooses another.
PYTHONS = python3 python3.14 python3.13 python3.12 python3.11 python
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN = .venv/bin
# Compiled to bytecode is what is imported, when it is; half of the time of an installation was for all the rest.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --editable

# Where this is set, as in many containers, that would not be kept: each process would compile anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# What one part of the tests compiled, none of the others compiles again.
unit fidelity browser notebooks: export PRDP_EXPLORER_CACHE ?= $(CURDIR)/.pytest_cache/compiled

.PHONY: serve test lint types unit fidelity browser notebooks gallery stories clean

# The explorer at http://localhost:$(PORT)/explorer, for this machine only.
serve: .venv/serve
	$(BIN)/python -m panel serve apps/explorer.py --address localhost --port $(PORT) \
	  --allow-websocket-origin localhost:$(PORT) --allow-websocket-origin 127.0.0.1:$(PORT) \
	  --unused-session-lifetime 5000 --check-unused-sessions 2000

# What CI runs.
test: lint types unit fidelity browser notebooks

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/test
	$(BIN)/pyrefly check --min-severity=error --summary=none

# Two at a time: many of them wait for a thread or a process. A file's tests share what they set up. NumPy's threads
# would wait for each other busily on cores that the other half of the tests has. In the order of the files' names:
# those with the fewest tests, which pytest else leaves for the end, are among the longest.
unit: .venv/test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -p no:nbmake -m "not ui" -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/fidelity

# Compiled as for a user, with the same environment variables: what is published was computed so.
fidelity: .venv/test
	XLA_FLAGS="$(XLA_FLAGS)" $(BIN)/python -m pytest -p no:nbmake -n 2 tests/fidelity

# Two at a time, which keep two cores busy. A browser on two busy cores: a test may be tried again, and the summary says so.
browser: .venv/test
	$(BIN)/python -m pytest -p no:nbmake -m ui -n 2 --dist worksteal --reruns 2 -rR tests/ui

notebooks: .venv/test
	PYTHONPATH=tests $(BIN)/python -m pytest -p environment --nbmake --nbmake-timeout=300 -n 2 notebooks

# The pictures that the README shows, taken anew; minutes.
gallery: .venv/test
	$(BIN)/python docs/gallery.py

# What the stories are told from, trained anew; minutes.
stories: .venv/test
	$(BIN)/python docs/record_stories.py

.venv/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found; set PYTHON=/path/to/python3." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

.venv/serve: .venv/python pyproject.toml
	$(INSTALL) ".[export]"
	@touch $@

.venv/test: .venv/python pyproject.toml
	$(INSTALL) ".[test,notebook,export]"
	@touch $@ .venv/serve

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache
