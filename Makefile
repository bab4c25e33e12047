# make demo: everything on the embedded data set; make test: the whole test suite. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test install lint clean
.DEFAULT_GOAL := demo

demo: install  # 252: Ctrl-C during dvc status
	@export PATH="$(CURDIR)/$(BIN):$$PATH" && { dvc status -q || { [ $$? -ne 252 ] && python -m flows.benchmark --jobs 2 --takes "5 to 8 minutes on two idle CPU cores"; }; } && echo && itr leaderboard && cat docs/after-demo.txt

test: install
	$(BIN)/python -m pytest -q -n auto

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; assert (3, 11) <= v < (3, 14)' 2>/dev/null \
	  || { echo "error: $(PYTHON) is not Python 3.11, 3.12 or 3.13. Name one: make PYTHON=python3.11 …" >&2; exit 1; }
	@echo "Making $(VENV) and installing the pinned packages: a few minutes the first time."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV)
