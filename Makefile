# Everything a contributor needs. `make check` before a commit, `make test` before a push.

PY := uv run --frozen python
RUN := uv run --frozen
UV_VERSION := 0.13.9
SOURCES := operator/src serving-image/src tests

.PHONY: help check test unit generate verify room golden demo demo-down docs images bench-serving bench-routing proof uv sync

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

check: sync verify ## format, lint, types, import borders, generated files (half a minute)
	$(RUN) ruff format --check $(SOURCES)
	$(RUN) ruff check $(SOURCES)
	$(RUN) mypy
	$(RUN) lint-imports --no-cache

test: check ## everything, with real API servers and a real node; minutes, more the first time
	$(PY) -m tests.support.cluster prebuild
	$(RUN) pytest -m "not bed_b" -n 3 --durations=10
	$(RUN) pytest -m bed_b --durations=10

unit: sync ## the tests that need no cluster
	$(RUN) pytest -m "not apiserver and not bed_b" --durations=10

generate: ## write everything that is generated from the rooms
	$(PY) -m plumbline_operator.crdgen write
	$(PY) -m plumbline_operator.refgen write
	$(PY) -m plumbline_operator.healthgen write
	$(PY) -m tests.support.render

verify: ## check that everything generated is what the code says
	$(PY) -m plumbline_operator.crdgen verify
	$(PY) -m plumbline_operator.refgen verify
	$(PY) -m plumbline_operator.healthgen verify

room: ## make room NAME=x: a new kind that already obeys the laws
	$(PY) -m tests.support.scaffold $(NAME)

demo: sync ## a whole cluster here, with the worked example running in it
	$(PY) -m tests.support.demo up

demo-down: ## stop what `make demo` started
	$(PY) -m tests.support.demo down

docs: sync ## the documentation, in docs/_build/html
	$(RUN) sphinx-build -W --keep-going -b html docs docs/_build/html

images: sync ## build every image
	$(PY) -m tests.support.cluster images build

proof: sync ## every fault, bad input and load of tests/proof/goals.toml, whole, and a table; hours (GOAL=x: one)
	$(PY) -m tests.proof $(GOAL)

bench-serving: sync ## the speed of serving beside KServe and MLServer, as ratios with spread
	$(PY) -m benchmarks.serving

bench-routing: sync ## what a request through the router costs more than one without it, as ratios with spread
	$(PY) -m benchmarks.routing

sync: uv
	@uv sync --frozen --quiet

# Debian's own Python refuses to be installed into unless told that this is meant.
uv:
	@command -v uv >/dev/null || python3 -m pip install --quiet uv==$(UV_VERSION) \
		|| python3 -m pip install --quiet --break-system-packages uv==$(UV_VERSION)
