# `make dev` and `make test` do all their own set-up; `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help dev test faults soak bench bench-peers measure measure-quick release dist ci

TARGET := $(or $(CARGO_TARGET_DIR),target)
# Root's clone may stand where PostgreSQL, which refuses to run as root, cannot get to: then the default of `sortie dev`.
DATA := $(if $(filter 0,$(shell id -u)),,--data-dir .dev)
export PATH := $(HOME)/.cargo/bin:$(PATH)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: ## Install what is missing, build, and run the whole cluster on this machine
	@scripts/setup
	cargo build -p sortie-control -p sortie-gateway -p sortie-cli --bins
	"$(TARGET)/debug/sortie" dev $(DATA) $(DEV)

# The environment that tests want, and what they drive. nft and ip need not be in the PATH of who is not root.
TESTED = PATH="$$(scripts/setup --print-test-path):$$PATH:/usr/sbin:/sbin" \
  SORTIE_TEST_NODE_MODULES="$(abspath $(TARGET))/test-node/node_modules"

test: ## Install what is missing, build, and run every test
	@scripts/setup --tests
	cargo build --workspace --bins
	$(TESTED) cargo test --workspace

faults: ## Run each fault as a test: processes killed, disks full, clocks moved, networks cut
	@scripts/setup --tests
	cargo build --workspace --bins
	$(TESTED) cargo test --workspace --test cluster -- faults::
	$(TESTED) cargo test --workspace --test control -- fence:: herd::
	$(TESTED) cargo test --workspace --lib -- journal:: snapshot::

soak: ## Run the tests that take long
	@scripts/setup --tests
	cargo build --workspace --bins
	cargo test --workspace --lib -- --ignored
	$(TESTED) cargo test --workspace --test cluster -- --ignored --nocapture

bench: ## Compare the gateway with NGINX on this machine
	@scripts/setup --bench
	scripts/bench

bench-peers: ## Compare it with NGINX, Envoy and Squid
	@scripts/setup --peers
	scripts/bench --peers

load-%: ## One view of k6, e.g. make load-smoke (loadtest/README.md has the others)
	@scripts/setup --load
	scripts/load k6 $*

measure: ## Measure everything that has a bar, into loadtest/results (over an hour)
	@scripts/setup --peers
	scripts/measure

measure-quick: ## The same, smaller and shorter: fifteen minutes
	@scripts/setup --peers
	scripts/measure --quick

release: ## Build the release programs, guided by profiles
	@scripts/setup --release
	scripts/release

dist: ## Make the packages of this platform: tarball, wheel, npm package
	@scripts/setup --release
	scripts/dist $(DIST)

ci: ## What CI runs
	.ci/run
