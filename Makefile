# Every target installs what it needs first. `make test` is what must pass; `make demo` shows why you would want it.
SHELL := /bin/sh
PY := .venv/bin/python
SEEDS ?= 2000
STACKS ?= ../shared/stacks

.PHONY: help setup lint test test-fast test-integration sim soak demo bench clients conformance clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup:  ## Install what is missing: venv, Python and (as root) Debian packages
	@packaging/setup.sh

lint: setup  ## Formatting, lint, types, import contracts
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test-fast: setup  ## Unit tests, scripts, properties, short simulations (under 60 s)
	$(PY) -m pytest -q tests -m "not soak"

test-integration: setup  ## Real engines, sockets and namespaces (needs root)
	$(PY) -m pytest -q integration -m "not soak"

test: lint test-fast test-integration  ## Everything

sim: setup  ## Simulation of the consensus and of whole managers: make sim SEEDS=n
	$(PY) -m tests.sim.run --seeds $(SEEDS)

soak: setup  ## The long forms
	$(PY) -m pytest -q tests integration -m soak

demo: setup  ## A real five-node cluster on this machine, a stack on it, and two nodes killed
	$(PY) -m integration.demo

conformance: setup  ## Compare stack deploy with the docker CLI over a folder of stacks: make conformance STACKS=dir
	python3 $(STACKS)/compare.py --cmd '$(CURDIR)/.venv/bin/shoal -H {socket} stack deploy -c {file} teststack'

clients: setup  ## Ansible describes a swarm twice, and finds nothing to change the second time (installs Ansible in a scratch folder)
	$(PY) -m integration.third_party

bench: setup  ## Every benchmark
	@for file in bench/*.py; do name=$$(basename $$file .py); echo "== $$name"; $(PY) -m bench.$$name || exit 1; done

bench-%: setup
	$(PY) -m bench.$*

clean:  ## Remove caches and the venv
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
