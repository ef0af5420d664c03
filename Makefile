# Two commands matter: `make lab` and `make test`. `make help` lists the rest.
PYTHON ?= python3
V      := .venv
PY     := $(V)/bin/python
JOBS   ?= 2

# Small tensors on few cores: one thread a process is faster and repeats bit by bit.
export OMP_NUM_THREADS ?= 1
export PYTHONHASHSEED  ?= 0
# Hundreds of processes import the same sources: compiled once, also where the environment says otherwise.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: lab test help setup lint unit oldest newest chapters execute results protocol claims assets site links student solutions slides pdf gpu bench real exam clean
.DEFAULT_GOAL := help

lab: setup            ## open JupyterLab in course/  [HOST=127.0.0.1 PORT=8888 ARGS="--no-browser"]
	cd course && JUPYTER_CONFIG_PATH="$(CURDIR)/tools/jupyter" "$(CURDIR)/$(V)/bin/jupyter" lab README.md \
	  $(if $(HOST),--ip=$(HOST)) $(if $(PORT),--port=$(PORT) --ServerApp.port_retries=0) $(ARGS)

test: setup lint unit chapters   ## everything that CI runs: lints, tests, every chapter in both languages

setup: $(V)/.installed

# pip first: the one that comes with Python may take twice as long.
# --no-compile: of what is installed less than half is ever imported, and Python compiles that as it goes.
$(V)/.installed: requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "facelearn needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V). Try: make PYTHON=python3.12 lab"; exit 1; }
	@echo "Setting up $(V): a few minutes, once"
	$(PYTHON) -m venv $(V)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt --upgrade pip
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lint: setup           ## ruff, mypy, and the lints of the course
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --num-workers $(JOBS)
	$(PY) tools/lint.py

unit: setup           ## the tests alone
	$(PY) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder tests

# What does not depend on the course's tools, at either end of the ranges of pyproject.toml.
ENDS = tests/losses tests/data tests/test_training.py tests/test_distributed.py tests/test_measuring.py tests/test_models.py \
  tests/test_recipe.py tests/test_verification.py tests/test_verification_identification.py tests/test_figures.py tests/test_cli.py
oldest: VERSION = ==\2
oldest newest:        ## tests of the package on the oldest or the newest versions it takes, in .venv-oldest or .venv-newest
	$(PYTHON) -m venv .venv-$@
	.venv-$@/bin/python -m pip install --quiet --disable-pip-version-check --upgrade \
	  $$(sed -n 's/^    "\(.*\)>=\(.*\)",$$/\1$(VERSION)/p' pyproject.toml) pytest pytest-xdist hypothesis selenium psutil
	.venv-$@/bin/python -m pytest -q -n $(JOBS) --dist loadfile $(ENDS)

# One language runs at the budget whose outputs a reader sees, the other, whose code is the same, as a smoke test.
NBVAL = $(PY) -m pytest -q -p tools.forked_kernels --nbval-lax --nbval-current-env --nbval-cell-timeout=600 -n $(JOBS) --dist loadscope
chapters: setup       ## run every chapter through nbval: English at the cpu budget, Chinese at smoke
	FACELEARN_BUDGET=cpu $(NBVAL) course/en
	FACELEARN_BUDGET=smoke $(NBVAL) course/zh

execute: setup        ## run the chapters and store their outputs in both languages  [CHAPTER=12]
	$(PY) tools/execute.py -j $(JOBS) $(CHAPTER)

results: setup        ## the full runs behind the claims, resumable  [CHAPTER=12]
	$(PY) tools/results.py --jobs $(JOBS) $(CHAPTER)

protocol: setup       ## settings of every loss and the table that compares them on synthetic faces, resumable
	$(PY) tools/protocol.py --jobs $(JOBS)

claims: setup         ## every claim again with fresh seeds, resumable, and the page that says how it stands
	$(PY) tools/claims.py --jobs $(JOBS)

assets: setup         ## draw the stored pictures and animations again  [CHAPTER=12]
	$(PY) tools/assets.py $(CHAPTER)
	$(if $(CHAPTER),,$(PY) tools/readme_picture.py && $(PY) tools/report_picture.py)

site: setup           ## the HTML site in both languages, into _site/
	$(PY) tools/site.py

links: setup          ## ask every address that leads out of the site; needs a network
	$(PY) tools/site.py --check-links

student: setup        ## the course with its exercises open, into handout/LANG  LANG=zh|en [OUT=folder] [NBGRADER=1 CHAPTER=12]
	@PYTHONUTF8=1 $(PY) tools/student.py $(if $(NBGRADER),nbgrader,student) $(HANDOUT)

solutions: setup      ## the same with solutions and answers, into handout/LANG-solutions  LANG=zh|en [OUT=folder]
	@PYTHONUTF8=1 $(PY) tools/student.py solutions $(HANDOUT)

# LANG is also the locale's variable, which every shell has set: tools/student.py takes a hint from it, or says what is missing.
HANDOUT = --language "$(LANG)" $(if $(OUT),--out "$(OUT)") $(if $(CHAPTER),--chapters $(CHAPTER))

slides: setup         ## the lectures of course/slides in both languages, into _slides/; they need no network  [CHAPTER=12]
	$(PY) tools/slides.py $(CHAPTER)

pdf: setup            ## chapters, the table of losses and the poster to print, into _pdf/; needs Chromium and a Chinese font  [CHAPTER=12]
	$(PY) tools/pdf.py $(CHAPTER)
	$(if $(CHAPTER),,$(PY) tools/sheets.py)

gpu:                  ## run the chapters as plain scripts at the full budget; needs torch, not Jupyter  [CHAPTER=12]
	PYTHONPATH="$(CURDIR)" $(if $(wildcard $(PY)),$(PY),$(PYTHON)) tools/gpu.py $(CHAPTER)

bench: setup          ## speed and memory, measured side by side
	for b in losses memory pairs verification identification faces training; do $(PY) benchmarks/$$b.py || exit 1; done

real: setup           ## losses on LFW, whose files $$FACELEARN_DATA/lfw holds; resumable, hours  [SEEDS=3 RUN=runs/lfw]
	$(PY) -m facelearn.real_faces --seeds $(or $(SEEDS),3) --run $(or $(RUN),runs/lfw) --jobs $(JOBS) \
	  --csv course/results/real_faces.csv
	$(PY) -m facelearn.real_faces claims --run $(or $(RUN),runs/lfw) --csv course/results/real_faces_claims.csv
	$(PY) -m facelearn.real_faces claims --net --run $(or $(RUN),runs/lfw) --csv course/results/real_faces_net_claims.csv
	$(PY) tools/real_faces_page.py

exam: setup           ## the frozen configuration on people never seen  PAIRS=pairs.txt IMAGES=aligned112.tar [TRAIN= OUT= SEED=]
	$(PY) -m facelearn.real_faces exam --pairs $(PAIRS) --images $(IMAGES) $(if $(TRAIN),--train $(TRAIN)) \
	  $(if $(OUT),--out $(OUT)) $(if $(SEED),--seed $(SEED)) $(if $(DEVICE),--device $(DEVICE))

clean:                ## remove the environment and caches
	rm -rf $(V) .venv-oldest .venv-newest .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

help:
	@echo "make lab    open the course in JupyterLab"; echo "make test   run all tests and all chapters"; echo
	@awk -F ':.*## ' '/^[a-z ]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
