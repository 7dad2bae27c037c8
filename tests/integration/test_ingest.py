"""Ingest between a real Mosquitto and a real store: nothing lost, nothing kept that should not be."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentState, Purpose
from contracts.ports import Fault, Holdings, ReadingStore
from contracts.reading import Category
from contracts.wire import ROOT, consent_topic
from demo.embedded_broker import EmbeddedBroker
from ingest.app import Ingest, open_store
from ingest.duckdb_store import DuckDBStore
from tests.ingestkit.gateways import Town, eventually, forget_session
from tests.ingestkit.people import BASE, consent, pseudonym, reading, stored_report, token
from tests.servers import Broker, free_port, require_program, wait_for_port

_names = itertools.count()
#: Each test has people of its own, since the broker is shared and keeps consents.
_people = itertools.count(1_000_000, 1_000)


@pytest.fixture
def person() -> int:
    return next(_people)


@pytest.fixture
def town(broker: Broker, person: int) -> Iterator[Town]:
    with Town(broker, f"town-{person}") as publishing:
        yield publishing


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReadingStore]:
    opened = open_store(f"duckdb:///{tmp_path / 'readings.duckdb'}")
    yield opened
    opened.close()


@pytest.fixture
def new_ingest(broker: Broker, store: ReadingStore, tmp_path: Path) -> Iterator[Callable[[], Ingest]]:
    """Starts ingest; each start in a test goes on with the session of the one before."""
    name = f"ingest-{next(_names)}"
    running: list[Ingest] = []

    def start() -> Ingest:
        ingest = Ingest(store=store, broker=broker.url, rejects=tmp_path / "rejects.sqlite", name=name)
        ingest.__enter__()
        running.append(ingest)
        ingest.wait_until_ready(20)
        return ingest

    yield start
    for ingest in running:
        ingest.__exit__(None, None, None)
    forget_session(broker, name)


@pytest.fixture
def ingest(new_ingest: Callable[[], Ingest]) -> Ingest:
    return new_ingest()


def test_a_covered_reading_is_stored_and_an_unknown_ones_is_not(
    ingest: Ingest, store: ReadingStore, town: Town, person: int
):
    town.consent(person, consent(person))
    town.send(reading(person), reading(person + 1), reports=(stored_report(person).report,))
    eventually(lambda: ingest.counters().messages == 1)
    assert store.holdings(pseudonym(person)) == Holdings(1, 1)
    assert store.holdings() == Holdings(1, 1)
    counters = ingest.counters()
    assert (counters.readings, counters.reports, counters.rejected) == (1, 1, {"no-consent": 1})


def test_a_withdrawal_is_effective_on_the_next_message(ingest: Ingest, store: ReadingStore, town: Town, person: int):
    """Published one after the other, over and over: never does a reading slip past the withdrawal before it."""
    for round_ in range(40):
        number = person + round_
        town.consent(number, consent(number))
        town.consent(number, consent(number, revision=2, state=ConsentState.WITHDRAWN))
        town.send(reading(number))
    town.acknowledged()
    eventually(lambda: ingest.counters().messages == 40)
    assert ingest.counters().rejected == {"no-consent": 40}
    assert store.holdings() == Holdings(0, 0)


def test_a_consent_is_effective_on_the_next_message(ingest: Ingest, town: Town, person: int):
    for number in range(person, person + 40):
        town.consent(number, consent(number))
        town.send(reading(number))
    eventually(lambda: ingest.counters().messages == 40)
    assert ingest.counters().readings == 40


def test_poisoned_messages_in_the_middle_stop_nothing(ingest: Ingest, store: ReadingStore, town: Town, person: int):
    town.consent(person, consent(person))
    poison = [
        (f"{ROOT}/readings/WK034401/evil", b"\xff\xfe not json"),
        (f"{ROOT}/readings/WK034401/evil", b'{"v":1,"seq":1,"readings":[{"pseudonym":"x","minute":"y"}]}'),
        (f"{ROOT}/readings/WK034401/evil", b""),
        (f"{ROOT}/readings/WK034401/evil", b"[" * 19_000),
        (f"{ROOT}/readings/nowhere/evil", b"{}"),
        (f"{ROOT}/readings/WK034401/evil", b"x" * 30_000),
    ]
    for minute, (topic, payload) in enumerate(poison):
        town.send(reading(person, minute))
        town.raw(topic, payload)
    town.send(reading(person, 99))
    eventually(lambda: ingest.counters().messages == 13)
    assert store.holdings() == Holdings(7, 0)
    assert ingest.counters().malformed == 6


def test_only_what_is_consented_to_is_stored(ingest: Ingest, store: ReadingStore, town: Town, person: int):
    town.consent(person, consent(person, purposes={Purpose.DISTRICT_INDEX: (Category.HEART,)}))
    town.send(
        reading(person, 0, hr=61.0, eda=2.5), reading(person, 1, eda=2.5), reports=(stored_report(person).report,)
    )
    eventually(lambda: ingest.counters().messages == 1)
    ((kept,), reports) = store.person(pseudonym(person))
    assert (kept.reading.hr, kept.reading.eda, reports) == (61.0, None, [])
    counters = ingest.counters()
    assert counters.rejected == counters.reports_rejected == {"consent-category": 1}
    assert counters.fields_stripped == 1


def test_readings_wait_for_the_consents_rather_than_be_refused(
    town: Town, person: int, new_ingest: Callable[[], Ingest]
):
    """Queued in the session while we were away, together with many consents: none is judged before those are read."""
    new_ingest().__exit__(None, None, None)
    town.consents((number, consent(number)) for number in range(person, person + 500))
    town.send(*(reading(number) for number in range(person, person + 500)))
    town.acknowledged()
    again = new_ingest()
    eventually(lambda: again.counters().readings == 500)
    assert again.counters().rejected == {}
    assert again.mirror_size() >= 500


def test_a_consent_that_was_cleared_while_we_were_away_covers_nothing(
    town: Town, person: int, new_ingest: Callable[[], Ingest]
):
    town.consent(person, consent(person))
    first = new_ingest()
    town.send(reading(person))
    eventually(lambda: first.counters().readings == 1)
    first.__exit__(None, None, None)
    town.consent(person, None)
    again = new_ingest()
    town.send(reading(person, 1))
    eventually(lambda: again.counters().messages == 1)
    assert again.counters().rejected == {"no-consent": 1}


def test_a_consent_that_cannot_be_read_covers_nothing(ingest: Ingest, town: Town, person: int):
    town.consent(person, consent(person))
    town.raw(consent_topic(token(person)), b'{"state":"given"}', retain=True)
    town.send(reading(person))
    eventually(lambda: ingest.counters().messages == 1)
    assert ingest.counters().rejected == {"no-consent": 1}
    town.consent(person, None)


def test_a_withdrawal_with_erasure_erases_tells_and_refuses_what_comes_late(
    ingest: Ingest, store: ReadingStore, town: Town, person: int
):
    town.consent(person, consent(person))
    town.consent(person + 1, consent(person + 1))
    town.send(*(reading(number, minute) for number in (person, person + 1) for minute in range(5)))
    eventually(lambda: ingest.counters().readings == 10)
    asked_at = BASE + 7
    town.consent(person, consent(person, revision=2, state=ConsentState.WITHDRAWN, erase=True, issued_at=asked_at))
    town.send(*(reading(person, minute) for minute in range(5, 10)))
    eventually(lambda: town.erasures)
    ((erased, event),) = town.erasures
    assert (erased, event.revision, event.readings, event.reports) == (pseudonym(person), 2, 5, 0)
    assert event.asked_at == asked_at < event.erased_at
    eventually(lambda: ingest.counters().rejected == {"no-consent": 5})
    assert store.holdings(pseudonym(person)) == Holdings(0, 0)
    assert store.holdings(pseudonym(person + 1)) == Holdings(5, 0)


def test_a_narrower_consent_can_erase_what_it_leaves_out_and_the_rest_goes_on(
    store: ReadingStore, town: Town, person: int, new_ingest: Callable[[], Ingest]
):
    ingest = new_ingest()
    town.consent(person, consent(person))
    town.send(*(reading(person, minute) for minute in range(5)), reports=(stored_report(person, 7).report,))
    eventually(lambda: ingest.counters().readings == 5)
    chosen_at = BASE + 300
    heart = {
        "purposes": {Purpose.DISTRICT_INDEX: (Category.HEART,)}, "valid_from": chosen_at, "issued_at": chosen_at,
        "erase": True, "keep": (Category.HEART,), "erase_before": chosen_at,
    }  # fmt: skip
    town.consent(person, consent(person, revision=2, **heart))
    town.send(*(reading(person, minute) for minute in range(5, 8)))
    eventually(lambda: town.erasures)
    ((erased, event),) = town.erasures
    assert (erased, event.revision, event.readings, event.reports) == (pseudonym(person), 2, 5, 1)
    eventually(lambda: store.holdings(pseudonym(person)) == Holdings(8, 0))
    assert {name for held in store.person(pseudonym(person))[0] for name, _ in held.reading.values()} == {"hr"}
    ingest.__exit__(None, None, None)
    again = new_ingest()
    town.send(reading(person, 8))
    eventually(lambda: again.counters().readings == 1)
    assert len(town.erasures) == 1
    assert store.holdings(pseudonym(person)) == Holdings(9, 0)


def test_an_erasure_is_told_once_over_restarts_and_spares_a_new_band(
    store: ReadingStore, town: Town, person: int, new_ingest: Callable[[], Ingest]
):
    """The retained withdrawal of an old band is heard again at each start, before or after the new band's consent."""
    people = range(person, person + 20)
    first = new_ingest()
    for number in people:
        town.consent(number, consent(number, revision=2, state=ConsentState.WITHDRAWN, erase=True))
    eventually(lambda: len(town.erasures) == 20)
    for number in people:
        town.consent(number + 500, consent(number + 500, pseudonym=pseudonym(number), issued_at=BASE))
    town.send(*(reading(number) for number in people))
    eventually(lambda: first.counters().readings == 20)
    first.__exit__(None, None, None)
    again = new_ingest()
    town.send(*(reading(number, 1) for number in people))
    eventually(lambda: again.counters().readings == 20)
    assert store.holdings() == Holdings(40, 0)
    assert len(town.erasures) == 20


def test_a_worker_that_is_told_to_stop_ends_cleanly(broker: Broker, town: Town, person: int, tmp_path: Path):
    """What it has stored by then is acknowledged; the rest waits in its session."""
    name = f"told-{person}"
    settings = {
        "WIJKPOLS_BROKER_URL": broker.url,
        "WIJKPOLS_STORE_URL": f"duckdb:///{tmp_path / 'told.duckdb'}",
        "WIJKPOLS_INGEST_NAME": name,
        "WIJKPOLS_INGEST_REJECTS": str(tmp_path / "told.sqlite"),
    }
    for number in range(person, person + 20):
        town.consent(number, consent(number))
    for run, number in enumerate((signal.SIGTERM, signal.SIGINT)):
        with subprocess.Popen(
            [sys.executable, "wijkpols.py", "ingest", "run"],
            env={"PATH": "/usr/bin:/bin", **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == f"{name}: ready, consents of 20 bands are known\n"
            for minute in range(20):
                town.send(*(reading(each, 20 * run + minute) for each in range(person, person + 20)))
            town.acknowledged()
            process.send_signal(number)
            assert process.wait(20) == 0
            assert process.stdout.read().startswith(f"{name}: stopped after ")
            assert process.stderr.read() == ""
    assert {file.stat().st_mode & 0o077 for file in tmp_path.glob("told.*")} == {0}  # about persons: nobody else reads
    kept = DuckDBStore(tmp_path / "told.duckdb")
    assert kept.holdings().readings <= 2 * 400
    kept.close()
    forget_session(broker, name)


def test_ingest_works_on_the_embedded_broker_too(store: ReadingStore, person: int, tmp_path: Path):
    """300 consents are three times what it gives a QoS 1 subscription."""
    with EmbeddedBroker() as embedded:
        address = BrokerAddress.parse(embedded.url)
        with Town(address, f"town-{person}") as town:
            people = range(person, person + 300)
            town.consents((number, consent(number)) for number in people)
            with Ingest(store=store, broker=address, rejects=tmp_path / "r.sqlite", name="embedded") as ingest:
                ingest.wait_until_ready(20)
                assert ingest.mirror_size() == 300
                town.send(*(reading(number) for number in people))
                eventually(lambda: ingest.counters().readings == 300)
                town.consent(person, consent(person, revision=2, state=ConsentState.WITHDRAWN, erase=True))
                town.send(reading(person, 1))
                eventually(lambda: town.erasures)
                eventually(lambda: ingest.counters().rejected == {"no-consent": 1})
    assert store.holdings() == Holdings(299, 0)


def test_a_broker_that_is_not_there_is_said(store: ReadingStore, tmp_path: Path):
    with (
        Ingest(store=store, broker=f"mqtt://127.0.0.1:{free_port()}", rejects=tmp_path / "r.sqlite") as ingest,
        pytest.raises(Fault, match=r"was not ready within .*does not answer"),
    ):
        ingest.wait_until_ready(0.5)


@contextmanager
def own_mosquitto(folder: Path, port: int, anonymous: str) -> Iterator[Broker]:
    """A broker that a test may end; it remembers nothing."""
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous {anonymous}\n")
    program = require_program("mosquitto", "mosquitto")
    with subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port, process)
            yield Broker("127.0.0.1", port)
        finally:
            process.terminate()


def test_a_consent_that_the_broker_has_no_more_covers_nothing(store: ReadingStore, person: int, tmp_path: Path):
    """It was cleared while the connection was lost, so nobody says so: what is not sent again is forgotten."""
    port = free_port()
    with own_mosquitto(tmp_path, port, "true") as mosquitto, Town(mosquitto, "before") as town:
        town.consent(person, consent(person))
        town.consent(person + 1, consent(person + 1))
        ingest = Ingest(store=store, broker=mosquitto.url, rejects=tmp_path / "r.sqlite")
        ingest.__enter__()
        ingest.wait_until_ready(20)
        town.forget_bands()
    try:
        with own_mosquitto(tmp_path, port, "true") as mosquitto, Town(mosquitto, "after") as town:
            town.consent(person + 1, consent(person + 1))
            eventually(lambda: ingest.is_ready() and ingest.mirror_size() == 1)
            town.send(reading(person), reading(person + 1))
            eventually(lambda: ingest.counters().messages == 1)
            assert (ingest.counters().readings, ingest.counters().rejected) == (1, {"no-consent": 1})
    finally:
        ingest.__exit__(None, None, None)


def test_a_login_that_the_broker_refuses_is_said(store: ReadingStore, tmp_path: Path):
    with own_mosquitto(tmp_path, free_port(), "false") as mosquitto:
        url = f"mqtt://me:hunter2@127.0.0.1:{mosquitto.port}"
        with (
            Ingest(store=store, broker=url, rejects=tmp_path / "r.sqlite") as ingest,
            pytest.raises(Fault, match=r"refuses us \(Not authorized\)") as caught,
        ):
            ingest.wait_until_ready(20)
    assert "hunter2" not in str(caught.value)
