# Two commands do all set-up on a fresh machine: make demo and make test. make alone lists what there is.

.DEFAULT_GOAL := help
.PHONY: help demo test check bench build install needs

# Arguments for the program (make demo ARGS=--small) or for cargo test (make test ARGS=leases).
ARGS ?=

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# rustup puts cargo where a shell that was open before does not look.
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## List the targets
	@echo 'make TARGET [ARGS=...]'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: build ## Install what is missing, build, run the demonstration (ARGS=--small for seconds)
	$(TARGET_DIR)/release/wharf demo $(ARGS)

test: needs ## Install what is missing, run all tests
	$(CARGO) test --locked $(ARGS)

check: needs ## Everything that has to hold before a merge
	.ci/run

bench: build ## Measure speed and memory against peers and limits (ARGS='extract --scale 10'; docs/benchmarks.md)
	$(CARGO) bench --locked --bench speed -- $(ARGS)

build: needs ## Build the release program
	$(CARGO) build --release --locked

install: needs ## Put wharf among cargo's programs
	$(CARGO) install --path . --locked

needs: ## Install what is missing: PostgreSQL server programs, a C compiler
	@scripts/install-needs
