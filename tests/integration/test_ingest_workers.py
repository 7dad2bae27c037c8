"""`wijkpols ingest run --workers N`: they share the readings, and begin and end together."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.ports import Holdings
from ingest.app import Ingest, open_store
from ingest.workers import worker_names
from tests.ingestkit.gateways import Town, eventually, forget_session
from tests.ingestkit.influxd import Influxd
from tests.ingestkit.people import consent, reading
from tests.servers import Broker

PEOPLE, MINUTES = 40, 50
_numbers = itertools.count()


@pytest.fixture
def name(broker: Broker) -> Iterator[str]:
    chosen = f"crew-{next(_numbers)}"
    yield chosen
    for worker in worker_names(chosen, 2):
        forget_session(broker, worker)


@contextmanager
def command(
    broker: Broker, store_url: str, folder: Path, name: str, *, workers: int = 2, said: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """The command, ready; `said` is the line that it is to print first."""
    settings = {
        "WIJKPOLS_BROKER_URL": broker.url,
        "WIJKPOLS_STORE_URL": store_url,
        "WIJKPOLS_INGEST_NAME": name,
        "WIJKPOLS_INGEST_REJECTS": str(folder / "rejects.sqlite"),
    }
    words = [sys.executable, "-m", "wijkpols", "ingest", "run", "--workers", str(workers)]
    with subprocess.Popen(
        words, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            if said:
                assert said in process.stdout.readline()
            ready = {process.stdout.readline().split(":")[0] for _ in range(workers)}
            assert ready == set(worker_names(name, workers))
            yield process
        finally:
            process.kill()


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes of its workers (beside multiprocessing's own tracker)."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_two_workers_share_the_readings_and_end_together(broker: Broker, store_url: str, tmp_path: Path, name: str):
    with Town(broker, f"{name}-town") as town, command(broker, store_url, tmp_path, name) as process:
        town.consents((number, consent(number)) for number in range(PEOPLE))
        for minute in range(0, MINUTES, 5):
            for number in range(PEOPLE):
                town.send(*(reading(number, minute + more) for more in range(5)))
        town.acknowledged()
        if store_url.startswith("influxdb"):
            looked_at = open_store(store_url)
            eventually(lambda: looked_at.holdings() == Holdings(PEOPLE * MINUTES, 0))
            looked_at.close()
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    counted = {line.split(":")[0]: int(line.split(" readings")[0].rsplit(" ", 1)[1]) for line in told.splitlines()}
    assert set(counted) == set(worker_names(name, 2))
    assert min(counted.values()) > 0
    with command(broker, store_url, tmp_path, name) as process:  # what was still queued
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    store = open_store(store_url)
    eventually(lambda: store.holdings().readings >= sum(counted.values()))
    assert store.holdings().readings <= PEOPLE * MINUTES
    store.close()


def stopped(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return told


def test_fewer_workers_leave_nothing_behind(broker: Broker, store_url: str, tmp_path: Path, name: str):
    with Town(broker, f"{name}-town") as town:
        town.consents((number, consent(number)) for number in range(PEOPLE))
        with command(broker, store_url, tmp_path, name) as process:
            stopped(process)
        for minute in range(MINUTES):  # each session gets its share, though nobody is there
            town.send(*(reading(number, minute) for number in range(PEOPLE)))
        town.acknowledged()
        told = f"{name}-2: no longer used; the readings that waited for it are stored"
        with command(broker, store_url, tmp_path, name, workers=1, said=told) as process:
            for minute in range(MINUTES, 2 * MINUTES):
                town.send(*(reading(number, minute) for number in range(PEOPLE)))
            town.acknowledged()
            stopped(process)
        store = open_store(store_url)
        with Ingest(store=store, broker=broker.url, rejects=tmp_path / "rejects.sqlite", name=name):  # what it left
            eventually(lambda: store.holdings() == Holdings(2 * PEOPLE * MINUTES, 0))
        store.close()


def test_a_worker_that_dies_ends_the_command_and_says_so(broker: Broker, influxd: Influxd, tmp_path: Path, name: str):
    with command(broker, influxd.url(f"workers{next(_numbers)}"), tmp_path, name) as process:
        os.kill(children(process)[0], signal.SIGKILL)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ended, so all workers do" in told
    assert "Traceback" not in told


def test_no_worker_outlives_the_command_that_was_killed(broker: Broker, influxd: Influxd, tmp_path: Path, name: str):
    with command(broker, influxd.url(f"workers{next(_numbers)}"), tmp_path, name) as process:
        workers = children(process)
        assert len(workers) == 2
        process.kill()
        eventually(lambda: not any(alive(worker) for worker in workers))


@pytest.mark.parametrize("count", ["0", "-1", "two", "33"])
def test_a_number_of_workers_that_cannot_be_is_said(count: str):
    words = [sys.executable, "-m", "wijkpols", "ingest", "run", "--workers", count]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "must be a number from 1 to 32" in done.stderr
