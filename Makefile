# What there is to run. Everything lives in .venv; nothing is installed elsewhere.
.DEFAULT_GOAL := help
PYTHON ?= python3
IMAGE ?= bowline:latest
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help setup demo demo-kubernetes test test-unit test-api test-node image lint crds conformance docs-carried mistakes mutants adversity differential soak bench bench-load bench-redo clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv, with uv and the versions of requirements.lock in it

$(READY): requirements.lock pyproject.toml .ci/setup
	@PYTHON=$(PYTHON) .ci/setup $(VENV)
	@touch $@

demo: $(READY) ## The whole road on two servers of its own; KEEP=1 leaves them running; SOURCE=oracle: from its stand-in
	@KEEP=$(KEEP) PYTHONPATH=.$(if $(SOURCE),:tests) $(RUN) -m demo --source $(or $(SOURCE),postgresql)

demo-kubernetes: $(READY) ## The demo in a cluster: one of its own (needs root), or KUBECONFIG's (OPTIONS=--help)
	@PYTHONPATH=tests:. $(RUN) -m kube.demonstrate $(OPTIONS)

test: lint test-unit test-api test-node ## All checks and all tests; test-node needs root

test-unit: $(READY) ## All tests on databases and processes of this machine
	@.ci/timed $@ $(RUN) -m pytest

# The programs first: their first build takes longer than a test may.
test-api: $(READY) ## Real API server and controllers; builds them with Go where KUBEBUILDER_ASSETS is not set
	@PYTHONPATH=tests .ci/timed programs $(RUN) -m kube.binaries kubectl kube-apiserver kube-controller-manager
	@.ci/timed $@ $(RUN) -m pytest tests/kube -m "not node"

test-node: $(READY) ## The image, and a real node with kubelet and containerd that runs it; needs root
	@PYTHONPATH=tests .ci/timed programs $(RUN) -m kube.binaries kubelet kube-scheduler
	@PYTHONPATH=tests .ci/timed image $(RUN) -m kube.image
	@.ci/timed $@ $(RUN) -m pytest tests/kube -m node

image: ## Build the image IMAGE with docker, podman or buildah, whichever works (BUILDER=...)
	@.ci/image $(IMAGE)

lint: $(READY) ## Formatting, rules, types, and the direction of imports
	$(RUN) -m ruff format --check
	$(RUN) -m ruff check
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

crds: $(READY) ## Write crds/, and the chart's copy, anew from api.py
	@mkdir -p crds && $(VENV)/bin/bowline crd > crds/databasemigrations.yaml
	@cp crds/databasemigrations.yaml charts/bowline/files/crds/

conformance: $(READY) ## The endpoints' suite: ENDPOINT=memory, postgresql, yugabytedb or oracle; none: all
	ENDPOINT=$(ENDPOINT) $(RUN) -m pytest tests/endpoints

docs-carried: $(READY) ## Write what is carried into docs/postgresql.md, from a run of the suite
	CARRIED=postgresql $(RUN) -m pytest tests/endpoints/test_carried.py --deselect tests/endpoints/test_carried.py::test_the_page_says_what_is_carried

soak: $(READY) ## The road under kill -9 of every role: SEEDS=20 of them, or SEED=N alone; SOURCE=oracle: from its stand-in
	@PYTHONPATH=tests:. $(RUN) -m soak --source $(or $(SOURCE),postgresql) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20))

mistakes: $(READY) ## What people get wrong, what they are told, and how it goes on: CASE="wrong port"
	@PYTHONPATH=tests:. $(RUN) -m mistakes $(if $(CASE),--case "$(CASE)")

mutants: $(READY) ## Break the product in one place at a time: each break must be noticed by its test
	@PYTHONPATH=tests $(RUN) -m mutants.harness $(NAMES)

adversity: $(READY) ## What Oracle's redo does to naive readers, and not to Bowline: SEEDS=20; ADVERSITY=late_redo SEED=7
	@PYTHONPATH=tests $(RUN) -m adversity $(if $(ADVERSITY),--adversity $(ADVERSITY)) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20))

differential: $(READY) ## Random transactions at the stand-in for Oracle, streamed: SEEDS=1000 of them, or SEED=N alone
	@PYTHONPATH=tests $(RUN) -m differential $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

bench: $(READY) ## Bowline beside its peers, into bench/results.md; exit 1 below a floor: ONLY=apply:tpcb,lag ROUNDS=5 SIZE=0.5 QUICK=1
	@PYTHONPATH=tests:. $(RUN) -m bench $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SIZE),--size $(SIZE)) $(if $(RESULTS),--results $(RESULTS)) $(if $(QUICK),--quick --results /dev/null)

bench-load: $(READY) ## Lag under 2,000 changes a second for a minute, then ten cutovers in a row
	@$(RUN) -m bench.load

bench-redo: $(READY) ## Statements of LogMiner read a second, against a tokenizer of regular expressions
	@$(RUN) -m bench.redo

clean: ## Remove .venv and caches
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
