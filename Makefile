# Two commands for a newcomer: `make demo` and `make test`. Each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check bench soak try-reboot devices mutants lock clean help

help:
	@echo "make demo    the whole gantry in software: devices, cloud and agent, with a tour   (PORT_SHIFT=n moves its ports)"
	@echo "make test    all tests        make check   ruff, mypy --strict, import contracts"
	@echo "make bench   figures          make lock    pin the dependencies anew"
	@echo "make devices the table of products in the READMEs        make mutants    are wrong numbers in profiles caught?"
	@echo "make try-reboot   cmd 1 with host: true in a Debian container: systemd, logind, polkit (root, debootstrap, a mirror)"
	@echo "make soak    does a day of polling grow anything, a million hostile frames and requests, 10 000 episodes (hours)"

# A .venv with exactly the locked packages, checked by hash. Made again when a lock file changes.
$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gantry-agent needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(BIN)/python -m hwsim demo --port-shift $(or $(PORT_SHIFT),0)

test: $(READY)
	@$(BIN)/python tests/tools.py
	$(BIN)/python -m pytest -q $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python tests/bench.py

# PARTS="snmp-v3 traps" for some of them.
soak: $(READY)
	@$(BIN)/python tests/tools.py
	$(BIN)/python tests/soak.py $(PARTS)

# `host: true` for real. ARGS="--suite trixie" or "--mirror URL"; some minutes, as root, with a Debian mirror at hand.
try-reboot: $(READY)
	$(BIN)/python tests/container.py $(ARGS)

# The tables of products in both READMEs, from the profiles and the evidence in the tests.
devices: $(READY)
	$(BIN)/python tests/devices.py

# Every number of every profile is flipped, one at a time: does its evidence catch it? NAMES="ups-mib …" for some.
mutants: $(READY)
	$(BIN)/python tests/mutants.py $(NAMES) --missed

# The environment that `make lock` itself needs is only uv; it is not a dependency of the project.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --all-extras --group dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
