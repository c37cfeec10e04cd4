# Each target installs what it needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# Test processes; each runs on one thread.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: help install demo test lint docs dist clean

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /make \1: /p' $(MAKEFILE_LIST)

install: $(READY) ## the environment in .venv, with what the tests need

$(READY): requirements.txt constraints.txt setup.py pyproject.toml mmdet_runtime/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt -r requirements.txt pytest pytest-xdist ruff import-linter mypy \
		onnx onnxruntime openvino nncf transformers trackers starlette uvicorn simplejpeg pydantic simsimd stringzilla
# albumentations asks for a second OpenCV, which would overwrite the first.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt albumentations albucore
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
# Only a CUDA build of torch gets torchvision, for its kernels; otherwise the torch implementations in mmdet/ops are used.
	if $(BIN)/python -c 'import torch, sys; sys.exit(torch.version.cuda is None)'; then \
		$(BIN)/python -m pip install --quiet -c constraints.txt torchvision; fi
	touch $@

demo: install ## UFPMP-Det on drawn drone scenes, from training to a report; VERBOSE=1 prints the whole log
	$(BIN)/python tools/misc/demo.py $(if $(VERBOSE),--verbose)

test: install ## the test suite, on all cores or on JOBS
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: install ## ruff, the import contracts, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: install ## the site, in site/; read it by python -m http.server -d site
	$(BIN)/python -m pip install --quiet -c constraints.txt zensical mkdocstrings-python
	$(BIN)/zensical build --clean --strict

dist: install ## the source distributions and wheels, in dist/
	$(BIN)/python -m pip install --quiet -c constraints.txt build twine
	rm -rf dist
	$(BIN)/python -m build -q --outdir dist .
	$(BIN)/python -m build -q --outdir dist mmdet_runtime
	$(BIN)/python -m twine check --strict dist/*

clean: ## remove what make has made
	rm -rf $(VENV) .cache site work_dirs build dist *.egg-info mmdet_runtime/build mmdet_runtime/*.egg-info
