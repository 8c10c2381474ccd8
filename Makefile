# make help says what there is. CLUSTER=local|kind picks the cluster's provider.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

export MEANET_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/meanet
export CARGO_TARGET_DIR ?= $(MEANET_CACHE)/target
CLUSTER_CMD := hack/cluster/cluster$(if $(CLUSTER), --provider $(CLUSTER))

# Always the whole workspace: another selection of packages changes the features of shared crates, and compiles burn once more.
CARGO_FLAGS := --release --workspace --locked

.PHONY: help
help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# How long a target took, said at its end.
TOOK = trap 'echo "== make $@: $$SECONDS s" >&2' EXIT

.PHONY: test
test: drift unit neon backends instructions e2e ## Everything that CI runs: drift, unit and API server tests, other processors and backends, instruction counts, then e2e on a cluster

.PHONY: unit
unit: ## Unit tests, and tests against a real API server
	$(TOOK)
	assets=$$(hack/cluster/cluster assets)
	eval "$$assets"
	export KUBEBUILDER_ASSETS
	cargo test $(CARGO_FLAGS)

.PHONY: neon
neon: ## Test the kernels for ARM, under QEMU where this is no ARM machine
	$(TOOK)
	hack/neon

.PHONY: backends
backends: ## Compile what trains with CUDA or LibTorch, as far as it can be without either
	$(TOOK)
	# Their crates leave out what they fetch and link where only documentation is made, and types are checked all the same.
	DOCS_RS=1 RUSTC_WORKSPACE_WRAPPER= cargo check --locked --package meanet-net --features cuda,torch,tch/doc-only

.PHONY: instructions
instructions: ## Count the instructions of what must stay fast; RENEW=1 makes the counts the ones to compare with
	cargo build $(CARGO_FLAGS) --example instructions
	hack/bench/instructions "$(CARGO_TARGET_DIR)/release/examples/instructions" $(if $(RENEW),--renew)

.PHONY: bench
bench: ## Measure against other engines and servers (QUICK=1: in minutes; ONLY=engine,server: some; see hack/bench/README.md)
	hack/bench/run $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

.PHONY: e2e
e2e: ## Tests on a cluster: the one of KUBECONFIG, or one brought up for the time of the tests
	$(TOOK)
	e2e/run

.PHONY: idle
idle: ## What the operator takes in five minutes of a cluster where nothing happens
	MEANET_IDLE_SECONDS=300 e2e/run idle

.PHONY: demo
demo: ## Bring up a cluster and run a MEANet on it
	e2e/demo

.PHONY: images
images: ## Build the images as archives
	hack/images

.PHONY: generate
generate: ## Generate manifests/crd and docs/api.md
	cargo build $(CARGO_FLAGS) --bin crdgen
	"$(CARGO_TARGET_DIR)/release/crdgen" manifests/crd docs/api.md

.PHONY: drift
drift: ## Fail where manifests/crd or docs/api.md is not what the types say
	$(TOOK)
	hack/crd-drift

.PHONY: lint
lint: ## Formatting, clippy, shellcheck
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	shellcheck -x .ci/run hack/images hack/crd-drift hack/data hack/reproduce hack/rustc-static hack/neon hack/venv hack/bench/run e2e/run e2e/demo e2e/lib/*.sh e2e/tests/*.sh

.PHONY: data
data: ## Fetch the official CIFAR-100 archive, checksum verified
	hack/data

.PHONY: reproduce
reproduce: ## Measure what the method is worth: docs/results.md and plots. TRAIN=1 trains everything first; see hack/reproduce
	cargo build $(CARGO_FLAGS) --bin meanet
	hack/reproduce

.PHONY: cluster-up
cluster-up: ## Make a cluster of one cloud node and two edge nodes
	$(CLUSTER_CMD) up

.PHONY: cluster-down
cluster-down: ## Remove it and all it left
	$(CLUSTER_CMD) down
