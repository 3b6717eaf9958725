# Two commands always work on a fresh machine (Python 3.11+, make, a network to the package index):
#   make demo    a strategy trading on the embedded exchange, with its chart in the browser
#   make test    the whole test suite
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: venv dev browser demo test chaos lint types check format docs bench-latency bench-scripts clean

venv: $(VENV)/.installed

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Milo needs Python 3.11 or newer; $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing pinned packages"
	@$(PIP) install -r requirements.txt
	@touch $@

dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "installing pinned packages for tests"
	@$(PIP) install -r requirements-dev.txt
	@touch $@

# For the browser tests; the browser itself comes from the system (Debian: apt install chromium).
browser: dev
	@$(PIP) install -r requirements-browser.txt

# DEMO_SECONDS=60 ends the demo by itself; DEMO_PORT serves its chart elsewhere.
demo: venv
	@$(BIN)/python main.py --script samples/macd_crossover.script --loop live \
		$(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS)) $(if $(DEMO_PORT),--port $(DEMO_PORT))

# In two halves at once: the tests of processes mostly wait.
.PHONY: test-core test-processes
test: dev
	@$(MAKE) --no-print-directory -j2 test-core test-processes
test-core: dev
	@$(BIN)/python -m pytest --ignore=tests/shell
test-processes: dev
	@$(BIN)/python -m pytest tests/shell

# Faults and kill -9 on engine, guard and exchange; prints what was promised and what was measured.
# OUT=DIR keeps the exchange's ledgers, RECORD=FILE writes the page.
SEED ?= 1
JOBS ?= 1
chaos: dev
	@$(BIN)/python -m tests.chaos --runs $(or $(RUNS),200) --seed $(SEED) --jobs $(JOBS) \
		$(if $(OUT),--out $(OUT)) $(if $(RECORD),--record $(RECORD))

# Random scripts and random frames for SECONDS=60, from SEED=1; fails with what it found.
.PHONY: fuzz
fuzz: dev
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(SEED)

lint: dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: dev
	@$(BIN)/mypy

check: lint types test

format: dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Writes what is made from the code into the docs; a test fails where this was forgotten.
docs: venv
	@$(BIN)/python -c 'from pathlib import Path; from milo.orders.diagram import rewritten; \
		page = Path("docs/orders.md"); page.write_text(rewritten(page.read_text()))'

# The time from a candle's close to the entry on the wire, over RUNS entries; fails where it is too long.
bench-latency: venv
	@$(BIN)/python -m benchmarks.latency --runs $(or $(RUNS),1000)

# What scripts cost: an evaluation, a worker's start and memory, a killed worker, 50 scripts at once.
bench-scripts: venv
	@$(BIN)/python -m benchmarks.scripts --runs $(or $(RUNS),2000)

# The backtester beside others, which are installed into .bench/ (2 GB). README: benchmarks/README.md.
# CANDLES=100000 is quicker, BENCH_RUNS=5 steadier, PEERS=backtesting,vectorbt less to install.
.PHONY: bench
bench: venv
	@$(BIN)/python -m benchmarks.backtest --candles $(or $(CANDLES),1000000) \
		--runs $(or $(BENCH_RUNS),3) $(if $(PEERS),--peers $(PEERS))

# The chart beside lightweight-charts in one browser process (npm fetches it, a Chromium is installed).
# CHART_RUNS=3 is quicker; CHART_ARGS="--scale 2" measures at two device pixels, --conflated lets the
# anchor conflate. Fails where a goal is missed or the anchor cannot be had.
.PHONY: bench-chart
bench-chart: browser
	@$(BIN)/python -m benchmarks.chart --runs $(or $(CHART_RUNS),5) $(CHART_ARGS)

clean:
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache
