# The two commands are `make run` and `make test`; both set up what they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WITHOUT_SERVER := -m "not server and not browser"

.PHONY: run test soak pictures check lint format bench bench-idle bench-litellm bench-page lock clean

run: $(VENV)/.run $(if $(filter gevent,$(RUNTIME)),$(VENV)/.gevent)
	$(BIN)/python -m backend

# With PYTHONDONTWRITEBYTECODE each of its processes would have to compile all tests, each time.
test: $(VENV)/.dev tests/node/node_modules/.done chromium compiler redis nginx haproxy
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# Kills, freezes, ends and cuts off servers, Redis and nginx under readers who come back, and checks that what they
# get is exact: SEEDS=200 of 100 readers, in half an hour. `SOAK="--seed 7"` repeats one and tells all of it.
soak: $(VENV)/.dev redis nginx
	$(BIN)/python -m tests.chaos $(if $(RUNTIME),--runtime $(RUNTIME)) $(if $(SEEDS),--seeds $(SEEDS)) $(SOAK)

# The chat page in every state, as pictures in var/pictures; the README shows two of them.
pictures: $(VENV)/.dev chromium
	$(BIN)/python -m tests.browser.pictures var/pictures

check: $(VENV)/.dev tests/node/node_modules/.done redis
	$(BIN)/python -m pytest -n 2 $(WITHOUT_SERVER)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Measures Parley beside its peers and writes docs/performance.md, in a quarter of an hour. QUICK=1: in three
# minutes, on one runtime, and writes nothing. BENCH=--strict: fails if a goal is missed. BENCH=--redis: only what is
# measured on Redis, and writes nothing.
BENCH_BIN := .venv-bench/bin
bench: .venv-bench/.bench compiler $(if $(shell command -v npm),bench/node_modules/.done)
	$(BENCH_BIN)/python -m bench $(if $(QUICK),--scale quick --runtime $(or $(RUNTIME),eventlet)) $(BENCH)

# SOCKETS=10000 idle sockets for SECONDS=600.
bench-idle: .venv-bench/.bench compiler
	$(BENCH_BIN)/python -m bench --idle $(if $(SOCKETS),--sockets $(SOCKETS)) $(if $(SECONDS),--seconds $(SECONDS)) $(BENCH)

# LiteLLM's proxy beside Parley, and as its upstream, in two minutes, once it is installed: that takes 500 MB.
bench-litellm: .venv-bench/.bench .venv-litellm/.litellm compiler
	$(BENCH_BIN)/python -m bench --litellm $(BENCH)

# The chat page in Chromium, in three minutes; writes its section of docs/performance.md. QUICK=1: in one, and writes
# nothing.
bench-page: $(VENV)/.dev chromium
	$(BIN)/python -m bench.page $(if $(QUICK),--quick) $(BENCH)

.venv-litellm/.litellm: bench/litellm.txt
	$(PYTHON) -m venv .venv-litellm
	.venv-litellm/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/litellm.txt
	@touch $@

.venv-bench/.bench: bench/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt
	@touch $@

bench/node_modules/.done: bench/package-lock.json
	npm ci --prefix bench --silent --no-audit --no-fund
	@touch $@

# Chromium for the page's tests: CHROMIUM=<path>, the system's, else Debian's; without its windows, where it comes so.
.PHONY: chromium
chromium:
	@[ -n "$$CHROMIUM" ] && exit 0; \
	for name in chromium-headless-shell chromium chromium-browser google-chrome; do \
		command -v $$name >/dev/null && exit 0; done; \
	echo "Chromium is missing; installing it with apt-get"; \
	{ apt-get update -qq && { \
		apt-get install -y -qq --no-install-recommends chromium-headless-shell fonts-liberation || \
		apt-get install -y -qq chromium; }; } || { \
			echo "Install Chromium (apt-get install chromium) and run make test again" >&2; exit 1; }

# Redis for its store's tests: the wheel in .venv (for some Pythons on Linux), the system's, else Debian's.
.PHONY: redis
redis: $(VENV)/.dev
	@PATH="$(BIN):$$PATH" command -v redis-server >/dev/null || { \
		echo "Redis is missing; installing it with apt-get"; \
		(apt-get update -qq && apt-get install -y -qq redis-server) || { \
			echo "Install Redis (apt-get install redis-server) and run make test again" >&2; exit 1; }; }

# The proxies that the tests put before the server: the system's, else Debian's.
.PHONY: nginx haproxy
nginx haproxy:
	@PATH="$$PATH:/usr/sbin" command -v $@ >/dev/null || { \
		echo "$@ is missing; installing it with apt-get"; \
		(apt-get update -qq && apt-get install -y -qq $@) || { \
			echo "Install it (apt-get install $@) and run make test again" >&2; exit 1; }; }

# What loads the server in `make bench` is written in C: the system's compiler, else Debian's.
.PHONY: compiler
compiler:
	@command -v cc >/dev/null || { \
		echo "A C compiler is missing; installing it with apt-get"; \
		(apt-get update -qq && apt-get install -y -qq gcc libc6-dev) || { \
			echo "Install a C compiler (apt-get install gcc libc6-dev) and run make again" >&2; exit 1; }; }

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Parley needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.gevent: $(VENV)/.run requirements-gevent.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-gevent.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.python requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.run $(VENV)/.gevent

# The JavaScript client that the tests drive.
tests/node/node_modules/.done: tests/node/package-lock.json
	@command -v npm >/dev/null || { echo "Install Node.js (with npm) and run make test again" >&2; exit 1; }
	npm ci --prefix tests/node --silent --no-audit --no-fund
	@touch $@

# Pins everything pyproject.toml names, with hashes, for every platform and Python from 3.11 on.
LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock"
lock: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --upgrade -o requirements.txt
	$(LOCK) --extra gevent -c requirements.txt -o requirements-gevent.txt
	$(LOCK) --extra dev -c requirements.txt -c requirements-gevent.txt -o requirements-dev.txt
	$(LOCK) --extra bench -c requirements-dev.txt -o bench/requirements.txt
	$(subst pyproject.toml,bench/litellm.in,$(LOCK)) --upgrade -o bench/litellm.txt

clean:
	rm -rf $(VENV) .venv-bench .venv-litellm bench/build bench/node_modules .pytest_cache .mypy_cache .ruff_cache
