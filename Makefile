# One definition of each gate: CI runs these targets, and so does a person. `make help` lists them.
# Everything that is downloaded or built, apart from system packages and cargo's registry, stays inside the checkout.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## install what is missing, build, run the demo with Snakemake, print the totals; does nothing when all is done
	@scripts/run.sh snakemake

.PHONY: run-drive
run-drive: ## the same with halo-drive, without Python
	@scripts/run.sh drive

.PHONY: build
build: ## release binaries in target/release
	@scripts/setup.sh build
	cargo build --locked --release --workspace --bins

.PHONY: test
test: setup-test fmt lint ## install what is missing, then format, lint, every test and a short run of each fuzz target
	cargo test --locked --workspace --no-fail-fast
	scripts/fuzz.sh

.PHONY: fmt
fmt: setup-test ## is everything formatted? (nothing is changed)
	cargo fmt --all --check
	.venv/bin/snakefmt --check Snakefile workflow

.PHONY: lint
lint: setup-test ## clippy and `snakemake --lint`, which needs the binaries
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo build --locked --workspace --bins
	HALOCLINE_BIN=$(CURDIR)/target/debug scripts/snakemake.sh --lint

.PHONY: setup-test
setup-test:
	@scripts/setup.sh build workflow test

.PHONY: bench
bench: build bench-memory ## the benchmarks; raw runs land in benches/runs, tables in benches/RESULTS.md
	@scripts/setup.sh test bench
	cargo build --locked --release -p halocline-chem --example engines -p halocline-table --example sample
	benches/run

# Needs 15 GB of disk in target/.
.PHONY: bench-memory
bench-memory: build ## the memory tests with 50 million rows (`make bench-memory ROWS=8000000`: with fewer); part of bench
	cargo build --locked --release --workspace --examples
	HALOCLINE_ROWS=$(or $(ROWS),50000000) cargo test --locked --release --no-fail-fast -p halocline-tests --test memory_merge \
		--test memory_split_validate --test transform_memory --test balance -- --nocapture --test-threads 1 \
		2>&1 | tee benches/runs/memory.txt

.PHONY: soak
soak: ## all 68,000 natural products through 1X and every rule, on 2 cores and 2 GiB, unattended
	scripts/soak.sh

.PHONY: torture
torture: setup-test ## 200 random kills of both engines, 1,000 flipped bits in every kind of file, 4,000 made-up rules, the whole demo on SLURM
	cargo build --locked --release --workspace --bins
	HALOCLINE_KILLS=200 cargo test --locked --release -p halocline-tests --test kills -- --nocapture
	HALOCLINE_DAMAGES=1000 cargo test --locked --release -p halocline-tests --test corruption --test hostile -- --nocapture
	HALOCLINE_RULE_SETS=50 cargo test --locked --release -p halocline-tests --test strangers -- --nocapture
	HALOCLINE_SLURM=full cargo test --locked --release -p halocline-tests --test slurm -- --nocapture

# e.g. `make fuzz SECONDS=60 TARGETS="rules text"`
SECONDS ?= 600
.PHONY: fuzz
fuzz: ## fuzz every target for SECONDS (600), or those in TARGETS; corpora stay in target/fuzz
	scripts/fuzz.sh $(SECONDS) $(TARGETS)

.PHONY: clean
clean: ## remove what was built and computed: target, results, the Python environments
	rm -rf target results logs benchmarks .snakemake .cache .venv .venv-test .venv-bench-2022 .venv-bench-newest
