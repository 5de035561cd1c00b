# What a person types. Each target installs what it needs.
DATA ?= data
PORT ?= 8400
WORKERS ?= 1
PYTHON ?= python3
BIN := .venv/bin
# What the folders of tests/compat pin, installed.
CLIENTS := $(patsubst tests/%/requirements.txt,.venv/%/stamp,$(wildcard tests/compat/*/requirements.txt)) \
	$(patsubst tests/%/package-lock.json,.venv/%/stamp,$(wildcard tests/compat/*/package-lock.json))

# One more than there are processors: many tests wait.
TESTERS := $(shell expr $$(nproc) + 1)

# Environments are made side by side.
MAKEFLAGS += --jobs=3

.PHONY: serve test soak check bench docs clean

serve: .venv/serve.stamp
	@$(BIN)/strongroom init --if-missing --data "$(DATA)" --port $(PORT)
	@exec $(BIN)/strongroom serve --config "$(DATA)/strongroom.yaml" --port $(PORT) --workers $(WORKERS)

test: check .venv/awscli/bin/aws debian $(CLIENTS)
	$(BIN)/pytest -q -n $(TESTERS) --dist loadfile --no-loadscope-reorder

soak: .venv/dev.stamp .venv/awscli/bin/aws debian .venv/compat/iam_simulate/stamp
	$(BIN)/pytest -q -s --soak -m soak
	$(BIN)/pytest -q --hsm -n $(TESTERS) --dist loadfile tests/e2e tests/fuzz

check: .venv/dev.stamp
	$(BIN)/ruff format --check src tests tools
	$(BIN)/ruff check src tests tools
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/dev.stamp debian
	$(BIN)/python tests/bench/run.py

docs: .venv/dev.stamp
	$(BIN)/python tools/generate_messages.py
	$(BIN)/python tools/generate_docs.py

clean:
	rm -rf .venv build

.venv/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit("Strongroom needs Python 3.11 or newer: make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/serve.stamp: .venv/python.stamp pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/dev.stamp: .venv/python.stamp pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ .venv/serve.stamp

# The AWS CLI pins a botocore of its own, so it lives in an environment of its own.
.venv/awscli/bin/aws: .venv/python.stamp
	$(PYTHON) -m venv .venv/awscli
	.venv/awscli/bin/pip install --quiet --disable-pip-version-check awscli
	@touch $@

# Each client of tests/compat has an environment of its own, made anew when its pins change.
.venv/compat/%/stamp: tests/compat/%/requirements.txt | .venv/python.stamp
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv/compat/%/stamp: tests/compat/%/package-lock.json | .venv/python.stamp debian
	@rm -rf $(@D) && mkdir -p $(@D) && cp $< $(<D)/package.json $(@D)
	npm ci --prefix $(@D) --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

# What tests and benchmarks need of Debian, by the commands that say whether it is there.
DEBIAN := haproxy=haproxy npm=npm openssl=openssl pkcsconf=opencryptoki softhsm2-util=softhsm2 strace=strace wrk=wrk \
	$(firstword $(wildcard /usr/lib/postgresql/*/bin/postgres) postgres)=postgresql

.PHONY: debian
debian:
	@missing=; for one in $(DEBIAN); do command -v $${one%=*} >/dev/null || missing="$$missing $${one#*=}"; done; \
	test -z "$$missing" || { apt-get update -qq && apt-get install -y -qq $$missing; }
