# The one entrance. Every target installs what it needs of the machine first (scripts/setup), so a fresh clone needs
# Rust and make only. `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
# Targets build on one another's results and share cargo's lock: `make -j` gains nothing, so it changes nothing.
.NOTPARALLEL:

# What setup installs for this folder only (a newer Node, sqlx-cli) goes before what the machine has.
export PATH := $(CURDIR)/target/tools/bin:$(PATH):$(HOME)/.cargo/bin:/usr/sbin
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Queries are checked against .sqlx, which `make prepare` writes; with DATABASE_URL set, against that database.
ifndef DATABASE_URL
export SQLX_OFFLINE ?= true
endif

# Files of npm packages that the server serves. They are copied, not committed.
VENDOR := htmx.org/dist/htmx.min.js

SQLX := target/tools/bin/cargo-sqlx
SCRIPTS := $(wildcard scripts/*) tests/browser/run .ci/run

.PHONY: help setup setup-test setup-check setup-bench assets copy-assets demo test check bench fuzz fmt prepare

help: ## this list
	@echo "Muster. On a fresh clone: make demo, then make test."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo ARGS=--once     the same, but it ends by itself and says how it went"
	@echo "  make bench ONLY=firmware  only the benchmarks whose names begin so"

demo: setup assets ## a server and eight devices on this machine, updated before your eyes
	@scripts/progress "building the demo" cargo build --profile demo --bin muster-server --bin muster-agent --bin muster-fwup --bin muster-demo
	@exec $(TARGET)/demo/muster-demo $(ARGS)

test: setup setup-test assets ## every test: Rust's, with a real Postgres, then the browser's
	@scripts/progress "building the tests" cargo build --workspace --bins --tests
	@scripts/test-postgres scripts/run-tests

check: setup setup-check assets $(SQLX) ## what a reviewer's machine would say: format, lints, licences, queries, compose, shell
	cargo fmt --all --check
	shellcheck $(SCRIPTS)
	@if docker compose version >/dev/null 2>&1; then compose="docker compose"; else compose=docker-compose; fi; \
	  echo "$$compose config"; $$compose --env-file .env.example config --quiet
	@scripts/progress "clippy" cargo clippy --workspace --all-targets -- -D warnings
	@scripts/progress "clippy of the other socket" \
	  cargo clippy --workspace --all-targets --features muster-server/upgrade-socket -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo deny check bans licenses sources; \
	  if cargo deny fetch db; then cargo deny check advisories; else echo "check: advisories NOT checked: their database cannot be fetched"; fi; \
	else \
	  echo "check: deny.toml NOT checked: cargo-deny is not installed (cargo install --locked cargo-deny)"; \
	fi
	@scripts/test-postgres scripts/prepare --check

fmt: ## format the code
	cargo fmt --all

prepare: setup assets $(SQLX) ## after a query or a migration changed: write .sqlx anew
	@scripts/test-postgres scripts/prepare

bench: setup setup-bench assets ## measure, as JSON lines on standard output
	@scripts/progress "building the server with the other socket" \
	  cargo build --release --workspace --bin muster-server --features muster-server/upgrade-socket
	@cp -f $(TARGET)/release/muster-server $(TARGET)/release/muster-server-upgrade
	@scripts/progress "building the benchmarks" cargo build --release --workspace --bins
	@exec $(TARGET)/release/muster-bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

fuzz: setup ## hostile input for crates/fwup, a minute a target; FUZZ_SECONDS=600, ONLY=apply
	@scripts/fuzz $(or $(FUZZ_SECONDS),60) $(ONLY)

setup: ## install what is missing on this machine; nothing when all is there
	@scripts/setup

setup-test: ## … and what only the tests need: Chromium, fonts
	@scripts/setup test

setup-check: ## … and what only the checks need: shellcheck, docker-compose
	@scripts/setup check

setup-bench: ## … and what only the benchmarks need: nginx to compare with
	@scripts/setup bench

assets: setup copy-assets ## fill static/vendor from the npm packages

copy-assets:
	@mkdir -p static/vendor
	@for file in $(VENDOR); do \
	  cmp -s "node_modules/$$file" "static/vendor/$${file##*/}" || cp "node_modules/$$file" static/vendor/; \
	done

$(SQLX):
	@scripts/progress "building sqlx-cli, once" cargo install sqlx-cli@0.9.0 --locked --root target/tools \
	  --no-default-features --features postgres,rustls
