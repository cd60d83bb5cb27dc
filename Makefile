# Every target sets up first (scripts/setup.py), which is instant once it is done.
# Paths are quoted and programs are called as modules: a clone's path may hold spaces.

PYTHON ?= python3
PY := "$(CURDIR)/.venv/bin/python"
MIGRATIONS := supabase/migrations supabase/queues
EXAMPLES := examples/market_hall/supabase/migrations examples/market_hall/adoption
# One more than the two cores of a small machine, because some tests wait for the clock; each starts a stack of its own.
PYTEST_WORKERS ?= 3
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: bench browser chromium pictures help setup demo shop site test release-test check deploy-test real-parts shards image image-test stack fuzz soak chaos mutants relay-mutants shards-mutants schema versions lock canary floors clean

help:
	@echo "make setup   set this clone up (implied by all others)"
	@echo "make demo    one payment end to end on real parts; KEEP=1 leaves it running"
	@echo "make shop    a sample shop to click through (examples/storefront), with a pay page in Stripe's place; PORT=8000 fixes its port"
	@echo "make test    static checks, the database's and the relay's tests"
	@echo "make check   the static checks alone"
	@echo "make site    the documentation as a site, with search, in dist/site"
	@echo "make release-test  upgrades in both directions, making room in a project that lives, short runs of chaos, fuzz and mutants"
	@echo "make deploy-test   nginx before two relays, the units, the alerts, and pg_cron; as root installs what it needs of Debian"
	@echo "make real-parts  the SQL suites on Debian 13's PostgreSQL 17 with pg_cron, plpgsql_check, pgTAP, pgaudit and PL/Proxy; as root on Debian"
	@echo "make shards  the chaos run over a router and two databases, with PL/Proxy of Debian 13; as root on Debian"
	@echo "make image   the image, with docker, podman or buildah; make image-test builds and runs it as root on Debian"
	@echo "make stack   a local Supabase project until Ctrl-C; STACK_ARGS='--data DIR' keeps data, keys and ports"
	@echo "make fuzz    34,000 hostile and odd requests at both routes; FULL=1 sends a million"
	@echo "make soak    a million requests, and the relay's memory while they come; SOAK_ARGS='--requests N'"
	@echo "make chaos   10,000 deliveries while everything fails; FULL=1 sends 100,000; CHAOS_EVENTS=... scales"
	@echo "make bench   the relay beside its peers and its floors; BENCH_PEERS='node fastapi next deno' takes all"
	@echo "make mutants small faults of the migrations, and which test kills each; MUTANTS='ID ...' takes some"
	@echo "make relay-mutants  the same for the relay's own code; make shards-mutants for deploy/shards, as root on Debian"
	@echo "make schema  write sql_tests/schema.sql anew; make versions runs the suites on every PostgreSQL here"
	@echo "make browser the desk, the report, the sample shop and the site in a real Chromium; as root on Debian installs it"
	@echo "make pictures  draw the documents' pictures of the desk and the report anew"
	@echo "make canary  the relay's suites with the newest versions of its libraries, pre-releases included; make floors: the oldest"
	@echo "make lock    write the lock files anew; UPGRADE=1 takes newer versions"
	@echo "make clean   remove what the set-up and the tools made"

setup:
	@$(PYTHON) scripts/setup.py

demo: setup
	@$(PY) -m demo $(if $(KEEP),--keep)

shop: setup
	@exec $(PY) -m demo.storefront $(if $(PORT),--port $(PORT))

stack: setup
	@exec $(PY) -m local_stack $(STACK_ARGS)

check: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m sqlfluff lint --disable-progress-bar $(MIGRATIONS) $(EXAMPLES) deploy/shards
	@"$(CURDIR)/.venv/bin/squawk" $(addsuffix /*.sql,$(MIGRATIONS) $(EXAMPLES))
	@"$(CURDIR)/.venv/bin/hadolint" Containerfile
	@"$(CURDIR)/.venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose.yaml
	@"$(CURDIR)/.venv/bin/kubernetes-validate" --strict --quiet deploy/kubernetes.yaml
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@"$(CURDIR)/.venv/bin/zizmor" --quiet --offline --no-progress .github/workflows deploy/jobs-workflow.yml
	@$(PY) scripts/lint_workflows.py .github/workflows/*.yml deploy/jobs-workflow.yml

# Pages, links and anchors are checked: what leads to nothing fails the build. `make check` builds it too. Without --quiet,
# which switches --strict off.
site: setup
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "built in dist/site; with its search:  python3 -m http.server --directory dist/site"

test: check
	@$(PY) -m pytest -q -n $(PYTEST_WORKERS) --maxprocesses 4 --dist loadfile --ignore tests/deploy --ignore tests/browser --ignore tests/real_parts -m "not release" $(PYTEST_ARGS)

# Apart from `test`, because each of them takes a while.
SHORT_RUNS = tests/test_chaos.py tests/test_fuzz.py tests/test_mutants.py sql_tests/test_mutants.py
release-test: setup
	@$(PY) -m pytest -q -n $(PYTEST_WORKERS) --maxprocesses 4 --dist loadfile -m release -o timeout=1800 -o faulthandler_timeout=2000 tests/release $(SHORT_RUNS) $(PYTEST_ARGS)

# Apart from `test`, because it needs programs that neither pip nor npm can bring. DEBIAN_POSTGRES is the major version that
# the Debian release has: 15 in Debian 12, 17 in Debian 13.
DEBIAN_POSTGRES ?= 15
deploy-test: setup
	@sh scripts/debian_packages.sh nginx=nginx-light systemd-analyze=systemd openssl=openssl promtool=prometheus \
		/usr/share/postgresql/$(DEBIAN_POSTGRES)/extension/pg_cron.control=postgresql-$(DEBIAN_POSTGRES)-cron
	@$(PY) -m pytest -q -n $(PYTEST_WORKERS) --maxprocesses 4 --dist worksteal tests/deploy --ignore tests/deploy/test_image.py $(PYTEST_ARGS)

# What hosted projects run and no wheel has. REAL_PARTS_SUITES names what runs beside the tests of these parts themselves.
REAL_PARTS_SUITES ?= sql_tests
real-parts: setup
	@sh scripts/debian_packages.sh debootstrap=debootstrap
	@bin=$$($(PY) scripts/real_parts.py) && LOCAL_STACK_PG_BIN=$$bin $(PY) -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile \
		tests/real_parts tests/deploy/test_pg_cron.py $(REAL_PARTS_SUITES) $(PYTEST_ARGS)

# The databases and settings of `make chaos`, a router (deploy/shards) before two of them; it ends with the invariants of each
# and across both.
shards: setup
	@sh scripts/debian_packages.sh debootstrap=debootstrap
	@bin=$$($(PY) scripts/real_parts.py) && LOCAL_STACK_PG_BIN=$$bin $(PY) -m chaos --shards $(if $(FULL),--full)

# IMAGE_OPTIONS='--build-arg BASE=...' goes to the builder.
image:
	@sh deploy/build_image.sh order-group-relay $(IMAGE_OPTIONS)

# Makes its own base image of Debian's packages, which takes a minute; IMAGE_TEST_SYSTEM names a directory that
# debootstrap has filled already.
image-test: setup
	@sh scripts/debian_packages.sh buildah=buildah debootstrap=debootstrap
	@$(PY) -m pytest -q -o timeout=1800 -o faulthandler_timeout=2000 tests/deploy/test_image.py $(PYTEST_ARGS)

# A seed that a report names repeats its run: make fuzz FUZZ_ARGS='--seed 1'.
fuzz: setup
	@$(PY) -m fuzz $(if $(FULL),--full) $(FUZZ_ARGS)

soak: setup
	@$(PY) -m fuzz.soak $(SOAK_ARGS)

# BENCH_PEERS="node fastapi next deno" takes all; BENCH_ARGS=--keep writes bench/results/.
BENCH_PEERS ?= node fastapi
bench: setup
	@$(PY) scripts/setup_bench.py $(BENCH_PEERS)
	@$(PY) -m bench relay $(BENCH_PEERS) $(BENCH_ARGS)

# CHAOS_EVENTS, CHAOS_COPIES, CHAOS_FAULTS, CHAOS_RELAYS and CHAOS_SEED come through the environment.
chaos: setup
	@$(PY) -m chaos $(if $(FULL),--full)

# Two at once suit two cores; sql_tests/mutants/report.md is the table of the last whole run.
mutants: setup
	@$(PY) -m sql_tests.mutation $(MUTANTS) $(if $(MUTANTS),,--report sql_tests/mutants/report.md)

relay-mutants: setup
	@$(PY) -m tests.mutants relay $(MUTANTS)

shards-mutants: setup
	@sh scripts/debian_packages.sh debootstrap=debootstrap
	@bin=$$($(PY) scripts/real_parts.py) && LOCAL_STACK_PG_BIN=$$bin $(PY) -m tests.mutants shards $(MUTANTS)

schema: setup
	@$(PY) -m sql_tests.schema

versions: setup
	@$(PY) -m sql_tests.versions

browser: setup chromium
	@$(PY) -m pytest -q tests/browser $(PYTEST_ARGS)

pictures: setup chromium
	@$(PY) -m tests.browser.pictures

chromium: setup
	@command -v google-chrome >/dev/null || command -v chromium-browser >/dev/null || sh scripts/debian_packages.sh chromium=chromium
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r requirements/browser.txt

# CANARY_ARGS names what pytest runs instead of the relay's suites.
canary floors: setup
	@$(PY) scripts/canary.py $(subst canary,newest,$@) $(CANARY_ARGS)

lock: setup
	@$(PY) scripts/lock.py $(if $(UPGRADE),--upgrade)

clean:
	rm -rf --one-file-system .venv .bench .canary .real-parts node_modules bench/peers/node_modules bench/peers/.next dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
