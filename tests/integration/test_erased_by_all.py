"""An erasure is told when no worker can store anything of the person any more: one is stopped with a judged batch."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.consent import ConsentState
from contracts.ports import Holdings, ReadingStore
from ingest.app import Ingest, open_store
from ingest.batches import DOUBT_S
from tests.ingestkit.gateways import Town, eventually, forget_session
from tests.ingestkit.halting import HaltingStore
from tests.ingestkit.influxd import Influxd
from tests.ingestkit.people import consent, pseudonym, reading, stored
from tests.servers import Broker

LEAVES, STAYS = 1, 2
ROUNDS = 20
_numbers = itertools.count()


class StandingClock:
    """Stands, until a test lets time pass."""

    def __init__(self) -> None:
        self.at = time.time()

    def now(self) -> float:
        return self.at


class Crew:
    """What one test has: a broker, a store, two names of workers, and a town."""

    store_url: str

    def __init__(self, broker: Broker, folder: Path) -> None:
        number = next(_numbers)
        self.broker, self.rejects = broker, folder / "rejects.sqlite"
        self.halts, self.works = f"halts-{number}", f"works-{number}"
        self.clock = StandingClock()
        self.town = Town(broker, f"crew-{number}-town")
        self.town.consents((band, consent(band)) for band in (LEAVES, STAYS))
        self._stay = 0

    def worker(self, store: ReadingStore, name: str) -> Ingest:
        return Ingest(store=store, broker=self.broker.url, rejects=self.rejects, clock=self.clock, name=name)

    @contextmanager
    def process(self, *names: str) -> Iterator[subprocess.Popen[str]]:
        """A worker that was stopped with a judged batch, and perhaps another on its store."""
        words = ["-m", "tests.ingestkit.halting", self.store_url, self.broker.url, str(self.rejects), *names]
        with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout.readline() == "ready\n"
                self.send_what_is_judged()
                assert process.stdout.readline() == "judged\n"
                yield process
            finally:
                process.kill()

    def send_what_is_judged(self) -> None:
        """By the one that halts: it is the only one yet."""
        self.town.send(*(reading(LEAVES, minute) for minute in range(5)))

    def withdraw(self) -> None:
        self.town.consent(LEAVES, consent(LEAVES, revision=2, state=ConsentState.WITHDRAWN, erase=True))

    def goes_on(self, ingest: Ingest) -> None:
        """The other worker stores what comes now, in a batch after the other."""
        for _ in range(ROUNDS):
            before = ingest.counters().readings
            for _ in range(2):  # one of them is for the other worker
                self.town.send(reading(STAYS, self._stay))
                self._stay += 1
            eventually(lambda before=before: ingest.counters().readings > before)

    def nothing_comes_of_who_left(self, store: ReadingStore) -> None:
        """Also when both workers have what waits for them; closes the store."""
        with self.worker(store, self.halts) as one, self.worker(store, self.works) as other:
            eventually(lambda: store.holdings(pseudonym(STAYS)) == Holdings(self._stay, 0))
            heard = sum(each.counters().messages for each in (one, other))
            self.town.send(reading(LEAVES, 50))
            eventually(lambda: sum(each.counters().messages for each in (one, other)) > heard)
        assert store.holdings() == Holdings(self._stay, 0)
        store.close()


@pytest.fixture
def crew(broker: Broker, tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(broker, tmp_path)
    with crew.town:
        yield crew
    for name in (crew.halts, crew.works):
        forget_session(broker, name)


@contextmanager
def halted(crew: Crew, store: ReadingStore) -> Iterator[threading.Event]:
    """A worker with a judged batch: a thread on a DuckDB file, a process with InfluxDB; the event lets it go on."""
    go_on, stored = threading.Event(), threading.Event()
    if crew.store_url.startswith("duckdb"):
        judged = threading.Event()
        halting = HaltingStore(store, halt=lambda: (judged.set(), go_on.wait()), stored=stored.set)
        with crew.worker(halting, crew.halts) as ingest:
            ingest.wait_until_ready(20)
            crew.send_what_is_judged()
            assert judged.wait(20)
            try:
                yield go_on
                assert stored.wait(20)
            finally:
                go_on.set()
        return
    with crew.process(crew.halts) as process:
        threading.Thread(target=lambda: (go_on.wait(), process.send_signal(signal.SIGCONT)), daemon=True).start()
        try:
            yield go_on
            assert process.stdout.readline() == "stored\n"
        finally:
            go_on.set()


def test_nothing_is_told_while_another_worker_may_still_store(crew: Crew, store_url: str):
    crew.store_url = store_url
    store = open_store(store_url)
    with halted(crew, store) as go_on, crew.worker(store, crew.works) as ingest:
        ingest.wait_until_ready(20)
        store.write([stored(LEAVES, 50)], [])
        crew.withdraw()
        eventually(lambda: store.holdings(pseudonym(LEAVES)) == Holdings(0, 0))  # what is there goes at once
        crew.goes_on(ingest)
        assert crew.town.erasures == []
        go_on.set()
        eventually(lambda: crew.town.erasures)
        assert store.holdings(pseudonym(LEAVES)) == Holdings(0, 0)
    # Both may tell, at once, and the same.
    assert {(who, event.readings) for who, event in crew.town.erasures} == {(pseudonym(LEAVES), 1)}
    crew.nothing_comes_of_who_left(store)


def test_one_that_is_killed_with_a_judged_batch_holds_nothing_up_and_nothing_of_it_comes(crew: Crew, influxd: Influxd):
    crew.store_url = influxd.url(f"killed{next(_numbers)}")
    store = open_store(crew.store_url)
    with crew.process(crew.halts) as process, crew.worker(store, crew.works) as ingest:
        ingest.wait_until_ready(20)
        crew.withdraw()
        crew.goes_on(ingest)
        assert crew.town.erasures == []
        process.kill()
        process.wait()
        crew.goes_on(ingest)
        assert crew.town.erasures == []
        store.write([stored(LEAVES, 0)], [])  # what it may have sent can still be written
        crew.clock.at += DOUBT_S
        eventually(lambda: crew.town.erasures)
        assert store.holdings(pseudonym(LEAVES)) == Holdings(0, 0)
    crew.nothing_comes_of_who_left(store)


def test_one_that_is_killed_with_all_threads_of_its_store_is_told_of_by_the_next_start(crew: Crew, tmp_path: Path):
    crew.store_url = f"duckdb:///{tmp_path / 'killed.duckdb'}"
    with crew.process(crew.halts, crew.works) as process:
        crew.withdraw()
        process.kill()
    assert crew.town.erasures == []
    store = open_store(crew.store_url)
    with crew.worker(store, crew.works) as ingest:
        ingest.wait_until_ready(20)
        crew.goes_on(ingest)
        assert crew.town.erasures == []
        store.write([stored(LEAVES, 0)], [])  # by a server that is another process, it might be
        crew.clock.at += DOUBT_S
        eventually(lambda: crew.town.erasures)
        assert store.holdings(pseudonym(LEAVES)) == Holdings(0, 0)
    crew.nothing_comes_of_who_left(store)
