# The two commands that matter: make run, make test.
#
# FIRSTCOME_REDIS_SERVER, FIRSTCOME_MYSQLD and FIRSTCOME_RABBITMQ_SERVER name other server programs;
# a server that is named is not installed. ARGS hands further flags on:
#   make run ARGS="--listen 127.0.0.1:9090"     make test ARGS="--test it order"
# test-faults reads FIRSTCOME_FAULTS_SEED (any number; else a random one, which it prints), FIRSTCOME_FAULTS_ROUNDS (faults,
# 120), FIRSTCOME_FAULTS_KINDS (names with commas between them; else all) and FIRSTCOME_FAULTS_PATIENT (1: what sleeps
# sleeps for half a minute or a minute). CONTRIBUTING.md says more.
# make test ARGS="--test it cluster_sales" reads FIRSTCOME_SALES_ROUNDS (of each kind of sale, 1), FIRSTCOME_SALES_BUYERS (of each,
# 1000) and FIRSTCOME_SALES_SEED (of the first round; else a random one, which it prints).
# The tests read FIRSTCOME_TEST_CELLS (cells of their engines, 1) and FIRSTCOME_TEST_REDIS (single, or cluster: three servers, and
# eight cells unless the other says otherwise); test-cells sets both.
# bench reads BENCH_SECONDS (each load, 10), BENCH_ONLY (unit, growth, burst, aof, reads, claims, latency, overload,
# sustained, ready, alternative, with commas between them; else all) and what docs/performance.md says.
# loadtest reads SCENARIO (a name of loadtest/*.js) and what loadtest/README.md says: BASE_URL, VUS, RATE, DURATION, STOCK …
# fuzz-api makes a Python environment in the target folder, once, from the package index.

export PATH := $(PATH):$(HOME)/.cargo/bin

ARGS ?=
SCENARIO ?=
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-pages test-cells bench test-faults test-mutants test-upgrade loadtest fuzz-api lint

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing: servers, a C compiler (asks for nothing; says what it cannot do)
	@sh ops/setup.sh

run: setup ## build the release and start it with private servers and a demo catalogue
	cargo build --release
	exec $(TARGET_DIR)/release/firstcome dev $(ARGS)

test: ## run all tests, against private servers and in a browser
	@sh ops/setup.sh test
	cargo test $(ARGS)

test-pages: ## test the scripts of the pages, and check the types of the k6 scenarios (Node.js; the npm registry once)
	@sh ops/setup.sh test-pages
	node --test src/console/console.test.js src/console/shop/shop.test.js
	npm ci --prefix loadtest --no-audit --no-fund --silent
	npm run --prefix loadtest check

test-cells: setup ## run the integration tests with eight cells, on one Redis and then on a Redis Cluster (ARGS="answers::": some)
	FIRSTCOME_TEST_CELLS=8 cargo test --test it $(ARGS)
	FIRSTCOME_TEST_REDIS=cluster cargo test --test it $(ARGS)

test-faults: setup ## kill, cut and stop servers and engines under load, and check what was acknowledged
	cargo test --test it faults::what_was_acknowledged_survives_faults -- --ignored --nocapture

test-mutants: setup ## take one mechanism away at a time: does the test that proves it fail?
	ops/mutants.sh

test-upgrade: setup ## the release before and this one on the same data at once (PREVIOUS=tag or commit)
	ops/test-upgrade.sh

bench: setup ## measure the engine against its parts, their bound and the usual way, in one run (docs/performance.md)
	cargo build --locked --release --example row_lock
	cargo bench --locked --bench engine

loadtest: ## run a k6 scenario against a running engine (SCENARIO=flash_sale; loadtest/README.md)
	@sh loadtest/run.sh $(SCENARIO)

fuzz-api: ## compare the API with its OpenAPI document, by schemathesis (MAX_EXAMPLES=200: longer)
	@sh ops/setup.sh fuzz-api
	cargo build --locked
	sh ops/fuzz-api.sh

lint: ## check the formatting, and clippy without warnings
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
