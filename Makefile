# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# One entry point for the demo, the tests and the tools; the work itself is in tools/ and tests/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON := .venv/bin/python
# Each process has a file at a time. Half of what the lab does is waiting, hence more than there are cores.
BESIDE := --dist loadfile --no-loadscope-reorder
LAB := $(PYTHON) -m pytest tests $(addprefix --ignore=tests/,unit kernel bench browser)
BENCH := PYTHONPATH=plugins/module_utils:.collections $(PYTHON) -m tests.bench
LAYERS := lint test-unit test-oldest test-sanity test-browser test-lab test-kernel test-molecule test-artifact

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install the Debian packages, the Python environment and the collection link that all else needs
	@tools/setup

.PHONY: demo
demo: setup ## Alice and Bob, each behind a NAT, talk directly: the lab, site.yml and the proof
	@$(PYTHON) -m tests.demo up

.PHONY: demo-down
demo-down: setup ## Remove the demo's hosts and networks
	@$(PYTHON) -m tests.demo down

.PHONY: test
test: setup ## Run every layer of tests; KEEP_GOING=1 goes on after a failure
	@tools/run-layers $(LAYERS)

.PHONY: lint
lint: setup ## Check style, types and documentation without running anything
	@tools/lint

.PHONY: test-unit
test-unit: setup ## Test the engine and the plugins in isolation
	@$(PYTHON) -m pytest tests/unit $(BESIDE) -n 2

.PHONY: test-oldest
test-oldest: setup ## Run the unit tests of what runs on hosts by ansible-test, on the oldest Python
	@tools/ansible-test units

.PHONY: test-sanity
test-sanity: setup ## Run ansible-test sanity on every supported Python found here
	@tools/ansible-test sanity

.PHONY: test-browser
test-browser: setup ## Open the page of wgsd.mesh.status in a real Chromium
	@tools/setup tests/browser/apt-packages.txt
	@$(PYTHON) -m pytest tests/browser

.PHONY: test-lab
test-lab: setup ## Test on real WireGuard behind real NATs (every test that has no layer of its own)
	@$(LAB) -m 'not kernel and not long and not alone' $(BESIDE) -n 3; beside=$$?; \
		((beside < 2)) && $(LAB) -m 'not kernel and not long and alone' && exit $$beside

.PHONY: test-kernel
test-kernel: setup ## Test devices, and a mesh for hours (see `kernel`), on a kernel that has WireGuard
	@tools/setup tests/kernel/apt-packages.txt
	@$(PYTHON) -m tests.kernel

.PHONY: kernel
kernel: setup ## Build the kernel on which test-kernel is faster and tests more; some minutes, kept in .cache
	@tools/setup tests/kernel/apt-packages.txt tests/kernel/uml-packages.txt
	@$(PYTHON) -m tests.kernel --build

.PHONY: test-molecule
test-molecule: setup ## Run the scenarios on systemd hosts: check, converge, idempotence, side effect, verify
	@$(PYTHON) tools/run_molecule.py

.PHONY: test-long
test-long: setup ## Run what make test has no time for: other Pythons and ansible-cores, all scenarios, long tests
	@tools/ansible-test-newest sanity
	@tools/ansible-test units all
	@$(PYTHON) tools/run_molecule.py --all
	@$(LAB) -m long $(BESIDE) -n 2

.PHONY: test-artifact
test-artifact: setup ## Build the collection, install it elsewhere and use it by its full name
	@tools/artifact

.PHONY: bench
bench: setup ## Measure speed against floors of the same run
	@$(BENCH)

.PHONY: bench-fleet
bench-fleet: setup ## Measure runs of site.yml: on 5, 20 and 50 hosts, and the controller with 1,000; an hour
	@$(BENCH) converged controller

.PHONY: grid
grid: setup ## Measure pairs of NAT kinds through moves, reboots, outages and loss against theory
	@PYTHONPATH=plugins/module_utils $(PYTHON) -m tests.lab.grid $(GRID)

.PHONY: soak
soak: setup ## Load the responder for half an hour (WGSD_SOAK_MINUTES) while its parts die
	@$(BENCH) soak

.PHONY: fuzz
fuzz: export WGSD_FUZZ_INPUTS ?= 10000000
fuzz: export WGSD_FUZZ_EXAMPLES ?= 20000
fuzz: setup ## Throw ten million generated inputs (WGSD_FUZZ_INPUTS) at the engine
	@$(PYTHON) -m pytest -rP tests/fuzz

.PHONY: reference
reference: setup ## Write the reference of modules, plugins and roles as HTML, in .cache/reference
	@tools/reference

.PHONY: readmes
readmes: setup ## Write the variables of the roles into their READMEs, as lint wants them
	@$(PYTHON) tools/role_readme.py

.PHONY: clean
clean: ## Remove what setup and the tests made in this folder (demo-down first)
	@tools/clean
