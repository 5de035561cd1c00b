# What a person types. Each target installs what it needs.
DATA ?= data
PORT ?= 8400
WORKERS ?= 1
PYTHON ?= python3
BIN := .venv/bin
# What the folders of tests/compat pin, installed.
CLIENTS := $(patsubst tests/%/requirements.txt,.venv/%/stamp,$(wildcard tests/compat/*/requirements.txt)) \
	$(patsubst tests/%/package-lock.json,.venv/%/stamp,$(wildcard tests/compat/*/package-lock.json))

.PHONY: serve test soak check bench docs clean

serve: .venv/serve.stamp
	@$(BIN)/strongroom init --if-missing --data "$(DATA)" --port $(PORT)
	@exec $(BIN)/strongroom serve --config "$(DATA)/strongroom.yaml" --port $(PORT) --workers $(WORKERS)

test: check .venv/awscli/bin/aws strace openssl postgresql softhsm2-util $(CLIENTS)
	$(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder

soak: .venv/dev.stamp .venv/awscli/bin/aws strace softhsm2-util .venv/compat/iam_simulate/stamp
	$(BIN)/pytest -q -s --soak -m soak

check: .venv/dev.stamp
	$(BIN)/ruff format --check src tests tools
	$(BIN)/ruff check src tests tools
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/dev.stamp wrk softhsm2-util
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

.venv/compat/%/stamp: tests/compat/%/package-lock.json | .venv/python.stamp npm
	@rm -rf $(@D) && mkdir -p $(@D) && cp $< $(<D)/package.json $(@D)
	npm ci --prefix $(@D) --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

.PHONY: postgresql
postgresql:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq $@; }

.PHONY: softhsm2-util
softhsm2-util:
	@command -v $@ >/dev/null || { apt-get update -qq && apt-get install -y -qq softhsm2; }

.PHONY: strace openssl wrk npm
strace openssl wrk npm:
	@command -v $@ >/dev/null || { apt-get update -qq && apt-get install -y -qq $@; }
