# The commands a developer needs, each from a fresh clone. What they start is in infra/dev/stack; `make help` explains.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

stack := infra/dev/stack
cache := $(shell $(stack) path cache)

# One target folder and one set of flags for everything here, so that no command rebuilds what another has built.
export CARGO_TARGET_DIR ?= $(cache)/target
export SQLX_OFFLINE := true
# mold links in a fraction of the time, where the compiler knows it.
has_mold := $(shell echo 'int main(void) { return 0; }' | cc -fuse-ld=mold -x c - -o /dev/null 2>/dev/null && echo yes)
mold_flag := $(if $(has_mold),-Clink-arg=-fuse-ld=mold)
export RUSTFLAGS := $(strip $(filter-out $(mold_flag),$(RUSTFLAGS)) $(mold_flag))

# The log of `make run`: PostgreSQL's table, or Kafka with KAFKA=1. Each has its profile, for a read model follows one log.
run_profile := $(if $(KAFKA),run-kafka,run)
run_services := postgres$(if $(KAFKA), kafka)

.PHONY: help
help:
	@echo 'Lotline: make COMMAND'
	@echo
	@echo '  run            build Lotline and start it with demo data; PostgreSQL is installed and started for it.'
	@echo '                 KAFKA=1 keeps the log in Kafka instead of PostgreSQL. Ctrl-C stops Lotline; the services stay.'
	@echo '  use            point a shell at what `make run` has started: eval "$$(make use)", then: lotline doctor'
	@echo '  stop           stop the services of every profile; their data stays'
	@echo '  clean-state    delete what `make run` has stored, in both profiles'
	@echo
	@echo '  test           every test, on PostgreSQLs and Kafkas of its own, fresh each time, stopped afterwards'
	@echo '  check          format, lints, dependencies, documentation, house rules: quick, before each commit'
	@echo '  check-deploy   alert rules, dashboard, Helm chart and compose file, by the tools that are installed'
	@echo '  bench          the benchmarks, on services of their own; ONLY=prefix picks some'
	@echo
	@echo '  formats        renew domain/schema after a type of the log changed (check it in)'
	@echo '  sqlx           renew .sqlx after a query or a migration changed (check it in)'
	@echo '  env            print the build settings of these commands: eval "$$(make env)", then cargo shares their cache'
	@echo
	@echo 'The services by hand: infra/dev/stack --help'

.PHONY: env
env:
	@printf 'export CARGO_TARGET_DIR=%q RUSTFLAGS=%q SQLX_OFFLINE=true\n' "$$CARGO_TARGET_DIR" "$$RUSTFLAGS"

# For a shell that looks at the demo: where its database and log are, and the binary on the PATH.
.PHONY: use
use:
	@$(stack) env --profile $(run_profile)
	@printf 'export PATH=%q:"$$PATH" LOTLINE_LOG__KIND=%s\n' "$$CARGO_TARGET_DIR/release" '$(if $(KAFKA),kafka,postgres)'
	@echo 'export LOTLINE_POSTGRES__URL=$$STACK_POSTGRES_URL LOTLINE_KAFKA__BROKERS=$${STACK_KAFKA_BROKERS:-127.0.0.1:9092}'

.PHONY: run
run:
	@$(stack) install build $(run_services)
	@cargo build --release -p lotline-infra --bin lotline
	@echo 'The services go on after Ctrl-C; `make stop` stops them.'
	@$(stack) with --profile $(run_profile) $(run_services) -- infra/dev/demo $(if $(KAFKA),kafka,postgres)

.PHONY: test
test:
	@$(stack) install
	@$(stack) with --profile test --fresh --down postgres kafka kafka-secured -- infra/dev/test

.PHONY: bench
bench:
	@$(stack) install
	@cargo build --release -p lotline-infra -p lotline-tests --bins
	@$(stack) with --profile bench --down postgres kafka -- \
	  cargo run --release -p lotline-tests --bin bench -- $(if $(ONLY),--only $(ONLY))

.PHONY: check
check:
	@$(stack) install build cargo-deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@# Else the adapter rots: nothing that is built or tested by default has it.
	cargo clippy --workspace --lib --test contract --features lotline-tests/eventstoredb -- -D warnings
	infra/dev/check-dependencies
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace
	cargo test -p lotline-tests --test house_rules

.PHONY: check-deploy
check-deploy:
	@infra/dev/check-deploy

.PHONY: sqlx
sqlx:
	@$(stack) install build postgres sqlx-cli
	@$(stack) with --profile sqlx --fresh --down postgres -- infra/dev/prepare-sqlx

.PHONY: formats
formats:
	UPDATE_SCHEMA=1 cargo test --workspace --test formats fresh::the_files_in_git_are_those_of_the_types

.PHONY: stop
stop:
	@$(stack) down --all

.PHONY: clean-state
clean-state:
	@$(stack) wipe --profile run
	@$(stack) wipe --profile run-kafka
