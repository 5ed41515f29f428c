# The commands of the project. Each sets up what it needs and can be run again at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The tests that compare numbers, and start no processes, commands or runs, which would take long.
NUMERIC := $(shell grep -rlE 'torch\.equal|assert_close|allclose|pytest\.approx' tests --include='test_*.py' \
	| xargs grep -LE 'subprocess|from running|training_run|import Store|benchmarks.time')
AVX2 := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2

.PHONY: quickstart paper test test-avx2 test-slow torture fuzz soak audit coverage check dist wheel docs format mutants bench clean

quickstart: $(STAMP)
	$(BIN)/cascore quickstart

# Draws docs/results anew; what was measured is not measured again.
paper: $(STAMP)
	$(BIN)/python -m paper all

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Other kernels round otherwise: a tolerance that holds here only by luck shows.
test-avx2: $(STAMP)
	$(AVX2) $(BIN)/python -m pytest -n 2 --dist loadfile $(NUMERIC)

coverage: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=95

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# Kills, races and damages the commands at random, after damaged bytes for whatever reads files;
# docs/reliability.md. BUDGET=36000 for a night.
torture: fuzz
	$(BIN)/python tools/torture.py --seconds $(or $(BUDGET),600)

fuzz: $(STAMP)
	$(BIN)/python tools/fuzz.py --seconds 20

# An hour in one process; docs/reliability.md.
soak: $(STAMP)
	$(BIN)/python tools/soak.py --minutes 60

# Known vulnerabilities of what is pinned; without a connection it says that nothing was audited.
audit: $(STAMP)
	$(BIN)/python tools/audit.py

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The site, whole each time, for a page names what others define. It loads nothing from elsewhere.
docs: $(STAMP)
	rm -rf build/docs
	$(BIN)/sphinx-build -c docs -d build/doctrees -E -W --keep-going -q . build/docs
	! grep -rlE '<(script|link|img|iframe)[^>]*(src|href)="(https?:)?//' build/docs --include='*.html'

# The packages of a release, checked. ADDRESS, of the repository, makes the README's links absolute.
dist: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[release]'
	rm -rf dist
	$(BIN)/python tools/package.py $(if $(ADDRESS),--address $(ADDRESS))
	$(BIN)/twine check --strict dist/*

# The wheel as a stranger gets it: in an environment with nothing else, away from the repository.
wheel: dist
	rm -rf build/empty && $(PYTHON) -m venv build/empty && mkdir build/empty/elsewhere
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.whl
	cd build/empty/elsewhere && ../bin/cascore sample digits --count 4 --out pictures && ../bin/cascore evaluate digits --count 200

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python -m benchmarks.speed

# The virtual environment is the project's own: one that is active is neither used nor changed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cascore needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# cosmic-ray changes the source in place, so it gets a copy. Hours on two cores.
mutants: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[mutants]'
	rm -rf build/mutants && mkdir -p build/mutants
	cp -r src tests pyproject.toml cosmic-ray.toml build/mutants/
	cd build/mutants && ../../$(BIN)/cosmic-ray init cosmic-ray.toml session.sqlite
	cd build/mutants && ../../$(BIN)/cr-filter-operators session.sqlite cosmic-ray.toml
	cd build/mutants && ../../$(BIN)/cosmic-ray exec cosmic-ray.toml session.sqlite
	cd build/mutants && ../../$(BIN)/cr-report --show-diff --surviving-only session.sqlite

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
