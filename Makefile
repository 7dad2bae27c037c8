# wijkpols: the commands of README.md. Everything is installed from the locks, into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help demo test test-bluez test-deps check bench soak soak-gateway mutants bench-ingest bench-withdrawal lock attack clean
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo [ARGS=…]  the whole house on this machine: bands, gateway, broker, store, analytics, pages
demo: $(VENV)/demo.stamp
	@$(BIN)/wijkpols demo $(ARGS)

## make test [ARGS=…]  installs what the tests need (Debian packages too, as root or by sudo) and runs them
test: test-deps
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

## make test-bluez     the gateway on real BlueZ, in qemu with Debian's kernel; installs Debian packages too
test-bluez: $(VENV)/dev.stamp
	@tools/debian-packages qemu-system-x86 bluez dbus busybox-static mosquitto
	@$(BIN)/python -m pytest -q tests/bluez/on_bluez.py $(ARGS)

test-deps: $(VENV)/dev.stamp
	@tools/debian-packages mosquitto influxdb chromium postgresql openssl npm

## make check          lint, types, layers, docs
check: $(VENV)/dev.stamp
	@tools/check

## make bench          side-by-side measurements
bench: $(VENV)/dev.stamp
	@for file in $(filter-out bench/ingest_beside.py bench/node_red.py bench/withdrawal.py,$(wildcard bench/*.py)) bench/analytics; do echo "== $$file"; $(BIN)/python $$file $(ARGS) || exit 1; done

## make soak [ARGS=…]  400,000 readings while broker, ingest and store are killed in turn (--readings, --seed)
soak: test-deps
	@$(BIN)/python tests/soak/run.py $(ARGS)

## make soak-gateway [ARGS=…]  a day of 200 bands on one adapter of 5 slots, with whatever goes wrong (--hours, --seed)
soak-gateway: test-deps
	@$(BIN)/python tests/soak/field.py $(ARGS)

## make mutants        break each guarantee once, and see that a test notices
mutants: test-deps
	@$(BIN)/python tools/mutants.py $(ARGS)

## make attack [ARGS=…]  the long form of the attacks: ten to twenty minutes
attack: $(VENV)/dev.stamp
	@$(BIN)/wijkpols attack --long $(ARGS)

## make bench-ingest   Mosquitto, InfluxDB and our workers beside Node-RED (needs npm; ARGS=--json)
bench-ingest: test-deps
	@$(BIN)/python bench/ingest_beside.py $(ARGS)

## make bench-withdrawal  a thousand withdrawals at 5,000 readings a second (ARGS=--json): five minutes
bench-withdrawal: test-deps
	@$(BIN)/python bench/withdrawal.py $(ARGS)

## make lock           renew the locks (needs uv)
lock:
	@tools/lock $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) (once, about half a minute) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/demo.stamp
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
