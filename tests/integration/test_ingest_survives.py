"""What was acknowledged to a gateway is in the store, exactly once, whatever is killed or frozen in between."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.ports import Holdings
from ingest.app import Ingest, open_store
from tests.ingestkit.gateways import Town, eventually, forget_session
from tests.ingestkit.influxd import Influxd
from tests.ingestkit.people import consent, pseudonym, reading
from tests.servers import Broker

PEOPLE, MINUTES = 100, 200
_numbers = itertools.count()

#: Runs until it is killed; tells how far it is.
WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, '.')
from ingest.app import Ingest, open_store
store, broker, rejects, name = sys.argv[1:]
with Ingest(store=open_store(store), broker=broker, rejects=Path(rejects), name=name) as ingest:
    ingest.wait_until_ready(20)
    while True:
        print(ingest.counters().readings, flush=True)
        time.sleep(0.005)
"""


@pytest.fixture
def name(broker: Broker) -> Iterator[str]:
    """A worker's name; its session ends with the test."""
    chosen = f"survivor-{next(_numbers)}"
    yield chosen
    forget_session(broker, chosen)


@contextmanager
def worker(broker: Broker, store_url: str, folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    rejects = str(folder / "rejects.sqlite")
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, store_url, broker.url, rejects, name], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_until_some(process: subprocess.Popen[str]) -> int:
    """Until readings are stored, or for about a second when there are none left; returns how many."""
    count = 0
    for line in itertools.islice(process.stdout, 200):
        count = int(line)
        if count:
            break
    return count


def run_until_quiet(process: subprocess.Popen[str]) -> None:
    """Until nothing was stored for about a second."""
    quiet, before = 0, -1
    while quiet < 200:
        now = int(next(process.stdout))
        quiet, before = (quiet + 1, now) if now == before else (0, now)


def test_20_000_readings_are_stored_exactly_once_while_ingest_is_killed(
    broker: Broker, store_url: str, tmp_path: Path, name: str
):
    with Town(broker, f"{name}-town") as town:
        town.consents((number, consent(number)) for number in range(PEOPLE))
        with worker(broker, store_url, tmp_path, name) as process:
            next(process.stdout)  # the session stands
        for minute in range(0, MINUTES, 10):
            for number in range(PEOPLE):
                town.send(*(reading(number, at, hr=60 + number / 8) for at in range(minute, minute + 10)))
            if minute in (40, 120):
                with worker(broker, store_url, tmp_path, name) as process:
                    assert run_until_some(process) > 0
        town.acknowledged()
        with worker(broker, store_url, tmp_path, name) as process:
            run_until_some(process)
        with worker(broker, store_url, tmp_path, name) as process:
            run_until_quiet(process)  # a DuckDB file can only be looked into when its process has ended
    store = open_store(store_url)
    try:
        assert store.holdings() == Holdings(PEOPLE * MINUTES, 0)
        for number in (0, 57, PEOPLE - 1):
            kept, _ = store.person(pseudonym(number))
            assert [row.reading for row in kept] == [reading(number, at, hr=60 + number / 8) for at in range(MINUTES)]
    finally:
        store.close()


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
def test_ingest_waits_for_a_store_that_is_away_and_goes_on(
    broker: Broker, influxd: Influxd, tmp_path: Path, name: str, trouble: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    store = open_store(influxd.url(f"away{next(_numbers)}"))
    with (
        Town(broker, f"{name}-town") as town,
        Ingest(store=store, broker=broker.url, rejects=tmp_path / "rejects.sqlite", name=name) as ingest,
    ):
        ingest.wait_until_ready(20)
        town.consents((number, consent(number)) for number in range(20))
        town.send(reading(0))
        eventually(lambda: ingest.counters().readings == 1)
        if trouble == "killed":
            influxd.kill()
        else:
            influxd.freeze()
        for number in range(20):
            town.send(*(reading(number, minute) for minute in range(50)))
        town.acknowledged()
        if trouble == "killed":
            eventually(lambda: "holding back" in caplog.text)
            influxd.start()
        else:
            influxd.thaw()
        eventually(lambda: ingest.counters().readings == 1_001)
        assert ingest.counters().rejected == {}
    assert store.holdings() == Holdings(1_000, 0)
    assert caplog.text.count("holding back") == (trouble == "killed")
    assert pseudonym(0) not in caplog.text
    store.close()


def test_what_a_store_that_was_away_never_took_is_delivered_to_the_next_run(
    broker: Broker, influxd: Influxd, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    store = open_store(influxd.url(f"never{next(_numbers)}"))
    rejects = tmp_path / "rejects.sqlite"
    with Town(broker, f"{name}-town") as town:
        with Ingest(store=store, broker=broker.url, rejects=rejects, name=name) as ingest:
            ingest.wait_until_ready(20)
            town.consent(1, consent(1))
            influxd.kill()
            try:
                town.send(*(reading(1, minute) for minute in range(50)))
                eventually(lambda: "nothing is acknowledged" in caplog.text)
                ingest.__exit__(None, None, None)
            finally:
                influxd.start()
        with Ingest(store=store, broker=broker.url, rejects=rejects, name=name) as again:
            eventually(lambda: again.counters().readings == 50)
    assert store.holdings() == Holdings(50, 0)
    store.close()


def test_a_row_that_the_server_refuses_does_not_take_the_others_with_it(
    broker: Broker, influxd: Influxd, tmp_path: Path, name: str
):
    """The server has a policy shorter than ours: what is beyond it, it will never take."""
    database = f"shorter{next(_numbers)}"
    influxd.query(f"CREATE DATABASE {database}")
    influxd.query(f'CREATE RETENTION POLICY "wijkpols" ON {database} DURATION 1d REPLICATION 1 SHARD DURATION 1h')
    store = open_store(influxd.url(database))
    with (
        Town(broker, f"{name}-town") as town,
        Ingest(store=store, broker=broker.url, rejects=tmp_path / "rejects.sqlite", name=name) as ingest,
    ):
        ingest.wait_until_ready(20)
        town.consent(1, consent(1, valid_from=1))
        old = -3 * 24 * 60
        town.send(reading(1, 0), reading(1, old), reading(1, 1), reading(1, old + 1), reading(1, 2))
        eventually(lambda: ingest.counters().messages == 1)
        assert ingest.counters().readings == 3
        assert ingest.counters().rejected == {"store-refused": 2}
    assert store.holdings() == Holdings(3, 0)
    store.close()
