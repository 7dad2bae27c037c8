"""The small parts of ingest: URLs, line protocol, the answer's columns, rejects, bisecting, erasing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ports import (
    Fault,
    Holdings,
    StoredReading,
    StoredReport,
    StoreRefused,
    StoreUnavailable,
    UsageFault,
)
from contracts.reading import Reading, Reason
from contracts.wire import decode_erasure
from ingest.app import Ingest, open_store
from ingest.batches import Batches
from ingest.consent_feed import Withdrawal
from ingest.duckdb_store import DuckDBStore
from ingest.erasure import Erasures
from ingest.influx_client import InfluxAddress
from ingest.influx_read import persons, pieces, reading_chunks
from ingest.line_protocol import reading_lines, report_lines
from ingest.rejects import RejectLog
from ingest.store_url import parse_store_url
from ingest.storing import Refused, store_all
from tests.ingestkit.people import BASE, WEST, pseudonym, stored, stored_report


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("duckdb:///readings.duckdb", "readings.duckdb"),
        ("duckdb:///data/readings.duckdb", "data/readings.duckdb"),
        ("duckdb:////var/lib/wijkpols/readings.duckdb", "/var/lib/wijkpols/readings.duckdb"),
        ("duckdb:///a%20b.duckdb", "a b.duckdb"),
    ],
)
def test_a_duckdb_url_counts_slashes_as_sqlalchemy_does(url: str, path: str):
    assert parse_store_url(url) == Path(path)


def test_an_influxdb_url_says_where_and_who():
    assert parse_store_url("influxdbs://me:a%40b%3A@example.org/town?org=city") == InfluxAddress(
        host="example.org", port=8086, database="town", tls=True, username="me", password="a@b:", org="city"
    )
    assert parse_store_url("influxdb://h:1234/town") == InfluxAddress(host="h", port=1234, database="town")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "readings.duckdb",
        "sqlite:///x.db",
        "postgresql://user:hunter2@host/db",
        "duckdb://readings.duckdb",
        "duckdb://",
        "duckdb:///",
        "duckdb:////tmp/",
        "influxdb://user:hunter2@host:8086/",
        "influxdb://user:hunter2@host:8086/two/names",
        "influxdb://user:hunter2@host:8086/town;DROP",
        "influxdb://user:hunter2@host:notaport/town",
        "influxdb:///town",
        "influxdb://user:hunter2@host/town?precision=ns",
    ],
)
def test_a_url_that_cannot_be_used_is_said_without_its_password(url: str):
    with pytest.raises(UsageFault) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_scheme_names_the_known_ones():
    with pytest.raises(UsageFault, match=r"duckdb:///FILE, influxdb://"):
        open_store("mysql://host/db")


def test_an_address_shows_no_login():
    address = parse_store_url("influxdb://me:hunter2@host:8086/town")
    assert "hunter2" not in f"{address} {address!r}"
    assert "me" not in str(address)


def test_a_worker_must_have_a_name_fit_for_a_topic(tmp_path: Path):
    store = open_store(f"duckdb:///{tmp_path / 'x.duckdb'}")
    with pytest.raises(UsageFault, match="cannot name a worker"):
        Ingest(store=store, broker="mqtt://localhost", rejects=tmp_path / "r.sqlite", name="In/gest")
    store.close()


def test_lines_are_written_as_the_protocol_says():
    assert reading_lines([stored(1, 0, hr=61.5, motion=0.25)]) == [
        f"reading,district={WEST},pseudonym={pseudonym(1)} hr=61.5,motion=0.25,n=1i {BASE}"
    ]
    assert report_lines([stored_report(1, 5, reason=Reason.LIGHT)], offset=0) == [
        f'report,district={WEST},pseudonym={pseudonym(1)} safe=8i,happy=7i,reason="light" {BASE + 5}'
    ]


@pytest.mark.parametrize(
    "bad",
    [
        stored(1, 0, hr=float("nan")),
        stored(1, 0, hr=float("inf")),
        StoredReading("WK0344 01,x=y", stored(1).reading),
        StoredReading(WEST, Reading(pseudonym="a b,c\n", minute=BASE, hr=60.0)),
        StoredReading(WEST, Reading(pseudonym=pseudonym(1), minute=-60, hr=60.0)),
    ],
)
def test_what_cannot_be_a_line_is_refused_with_its_index(bad: StoredReading):
    with pytest.raises(StoreRefused) as caught:
        reading_lines([stored(2), stored(3), bad])
    assert caught.value.index == 2


def answer(series: list[tuple[str, list[list[object]]]], *, partial: bool) -> bytes:
    found = [{"name": "reading", "tags": {"pseudonym": name}, "columns": [], "values": rows} for name, rows in series]
    return msgpack.packb({"results": [{"statement_id": 0, "series": found, "partial": partial}]})


def row(time: int, district: str = WEST) -> list[object]:
    return [time, 60.0, *[None] * 8, district]


@given(st.integers(1, 40))
def test_an_answer_cut_anywhere_into_pieces_is_put_together(size: int):
    whole = (
        answer([("a", [row(60), row(120)])], partial=True)
        + answer([("a", [row(180)]), ("b", [row(60)])], partial=True)
        + answer([("b", [row(60, "WK034403"), row(120)])], partial=False)
    )
    cut = [whole[start : start + size] for start in range(0, len(whole), size)]
    (chunk,) = reading_chunks(persons(pieces(cut)), rows_max=100)
    assert chunk.pseudonyms == ("a", "b")
    assert chunk.person.tolist() == [0, 0, 0, 1, 1]
    assert chunk.minute.tolist() == [60, 120, 180, 60, 120]
    assert [chunk.districts[place] for place in chunk.district] == [WEST, WEST, WEST, "WK034403", WEST]


@pytest.mark.parametrize(
    "broken",
    [
        answer([("a", [row(60)])], partial=True),
        msgpack.packb({"error": "timeout"}),
        msgpack.packb({"results": [{"statement_id": 0, "error": "timeout"}]}),
    ],
)
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(broken: bytes):
    with pytest.raises(StoreUnavailable):
        list(pieces([broken]))


class Choosy:
    """A store that refuses some rows, and says which one or not."""

    def __init__(self, bad: set[int], *, tells: bool) -> None:
        self.bad, self.tells, self.kept, self.writes = bad, tells, set(), 0

    def write(self, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> None:
        self.writes += 1
        keys = [r.reading.minute for r in readings] + [-r.report.at for r in reports]
        wrong = [index for index, key in enumerate(keys) if key in self.bad]
        if wrong:
            raise StoreRefused("bad", wrong[0] if self.tells else None)
        self.kept.update(keys)


@given(st.sets(st.integers(0, 29)), st.sets(st.integers(0, 9)), st.booleans())
def test_the_good_rows_are_stored_and_the_bad_ones_counted(bad: set[int], bad_reports: set[int], tells: bool):
    rows = [stored(1, minute) for minute in range(30)]
    answers = [stored_report(1, second) for second in range(10)]
    wrong = {BASE + 60 * minute for minute in bad} | {-(BASE + second) for second in bad_reports}
    store = Choosy(wrong, tells=tells)
    assert store_all(store, rows, answers) == Refused(len(bad), len(bad_reports))
    assert len(store.kept) == 40 - len(bad) - len(bad_reports)


def test_one_bad_row_in_a_batch_costs_few_writes():
    store = Choosy({BASE + 60 * 777}, tells=False)
    store_all(store, [stored(1, minute) for minute in range(1024)], [])
    assert store.writes <= 2 * 10 + 1


def test_malformed_messages_are_bounded_and_keep_no_payload(tmp_path: Path):
    path = tmp_path / "rejects.sqlite"
    log = RejectLog(path, malformed_max=5)
    for number in range(9):
        log.malformed([(f"topic/{number}\x1b[2J", b"a secret payload", "schema")], at=BASE + number)
    newest = log.newest_malformed(100)
    assert [found.topic for found in newest] == [f"topic/{number}?[2J" for number in (8, 7, 6, 5, 4)]
    assert (newest[0].reason, newest[0].bytes, len(newest[0].sha256)) == ("schema", 16, 64)
    log.close()
    assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_refusals_are_added_up_by_day_and_reason(tmp_path: Path):
    log = RejectLog(tmp_path / "rejects.sqlite")
    log.refused({"no-consent": 2}, {}, at=0)
    log.refused({"no-consent": 3, "too-old": 1}, {"no-consent": 1}, at=86_399)
    log.refused({"no-consent": 4}, {}, at=86_400)
    assert [tuple(found) for found in log.refused_by_day()] == [
        ("1970-01-02", "reading", "no-consent", 4),
        ("1970-01-01", "reading", "no-consent", 5),
        ("1970-01-01", "reading", "too-old", 1),
        ("1970-01-01", "report", "no-consent", 1),
    ]
    log.close()


def test_a_file_of_rejects_that_cannot_be_used_is_said(tmp_path: Path):
    path = tmp_path / "letter.txt"
    path.write_text("dear reader " * 100)
    with pytest.raises(Fault, match="WIJKPOLS_INGEST_REJECTS"):
        RejectLog(path)


class FixedClock:
    def now(self) -> float:
        return BASE + 100.0


class Events:
    """The broker's side of an erasure: takes events, or does not."""

    def __init__(self) -> None:
        self.up, self.heard, self.covered = True, [], False

    def tell(self, topic: str, payload: bytes) -> bool:
        if self.up:
            self.heard.append((topic.rsplit("/", 1)[1], decode_erasure(payload)))
        return self.up


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def store(tmp_path: Path):
    opened = DuckDBStore(tmp_path / "readings.duckdb")
    yield opened
    opened.close()


def erasures(store: DuckDBStore, events: Events, tmp_path: Path) -> Erasures:
    return Erasures(
        store=store,
        notes=tmp_path / "rejects.sqlite",
        batches=Batches(tmp_path / "batches", "worker", clock=FixedClock()),
        tell=events.tell,
        covered=lambda _pseudonym: events.covered,
        clock=FixedClock(),
    )


ASKED = Withdrawal(pseudonym(1), 2, BASE + 50)


def test_counts_survive_a_crash_between_erasing_and_telling(store: DuckDBStore, events: Events, tmp_path: Path):
    store.write([stored(1, minute) for minute in range(3)], [stored_report(1)])
    events.up = False
    first = erasures(store, events, tmp_path)
    first.ask(ASKED)
    with pytest.raises(StoreUnavailable, match="not acknowledged the event"):
        first.work()
    assert first.waiting() == 1
    assert store.holdings() == Holdings(0, 0)
    first.close()
    events.up = True
    second = erasures(store, events, tmp_path)
    second.ask(ASKED)
    assert second.work() == 0
    ((erased, event),) = events.heard
    assert (erased, event.readings, event.reports, event.erased_at) == (pseudonym(1), 3, 1, BASE + 100.0)


def test_a_withdrawal_heard_again_erases_what_is_there_but_tells_nothing(
    store: DuckDBStore, events: Events, tmp_path: Path
):
    work = erasures(store, events, tmp_path)
    for _ in range(2):
        store.write([stored(1)], [])
        work.ask(ASKED)
        work.work()
        assert store.holdings() == Holdings(0, 0)
    assert len(events.heard) == 1


def test_who_consented_anew_is_not_erased_by_the_old_withdrawal(store: DuckDBStore, events: Events, tmp_path: Path):
    work = erasures(store, events, tmp_path)
    work.ask(ASKED)
    work.work()
    events.covered = True
    store.write([stored(1)], [])
    work.ask(ASKED)
    work.work()
    assert store.holdings() == Holdings(1, 0)


class Interrupted:
    """A real store, into which somebody writes right after the first erasure."""

    def __init__(self, store: DuckDBStore) -> None:
        self.store, self.holdings, self.erased = store, store.holdings, 0

    def erase(self, *asked: object) -> None:
        self.store.erase(*asked)
        self.erased += 1
        if self.erased == 1:
            self.store.write([stored(1)], [])


def test_what_another_worker_stores_meanwhile_goes_when_its_batch_is_over(
    store: DuckDBStore, events: Events, tmp_path: Path
):
    other = Batches(tmp_path / "batches", "other", clock=FixedClock())
    other.begin()
    work = erasures(Interrupted(store), events, tmp_path)
    work.ask(ASKED)
    assert work.work() == 1
    assert events.heard == []
    other.end()
    assert work.work() == 0
    assert store.holdings() == Holdings(0, 0)
    assert len(events.heard) == 1


def test_what_nobody_had_at_hand_is_erased_anew(store: DuckDBStore, events: Events, tmp_path: Path):
    work = erasures(Interrupted(store), events, tmp_path)
    work.ask(ASKED)
    with pytest.raises(StoreUnavailable, match="left after an erasure"):
        work.work()
    assert work.work() == 0
    assert store.holdings() == Holdings(0, 0)


def test_the_notes_of_erasures_hold_no_pseudonym(store: DuckDBStore, events: Events, tmp_path: Path):
    work = erasures(store, events, tmp_path)
    work.ask(ASKED)
    work.work()
    work.close()
    with sqlite3.connect(tmp_path / "rejects.sqlite") as notes:
        assert pseudonym(1) not in str(notes.execute("SELECT * FROM erasures").fetchall())
    notes.close()


def run_command(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "wijkpols.py", "ingest", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", **settings},
    )


def test_the_command_prints_rejects(tmp_path: Path):
    path = tmp_path / "rejects.sqlite"
    log = RejectLog(path)
    log.malformed([("wijkpols/v1/readings/x/y", b"{", "not JSON")], at=0)
    log.refused({"no-consent": 12}, {}, at=0)
    log.close()
    done = run_command("rejects", WIJKPOLS_INGEST_REJECTS=str(path))
    assert done.returncode == 0, done.stderr
    assert "1970-01-01         12  reading  no-consent" in done.stdout
    assert "not JSON           1 bytes" in done.stdout


@pytest.mark.parametrize(
    ("settings", "code", "told"),
    [
        ({"WIJKPOLS_STORE_URL": "mysql://u:hunter2@h/d"}, 2, "begins with no known scheme"),
        ({"WIJKPOLS_BROKER_URL": "http://u:hunter2@h"}, 2, "must begin with mqtt://"),
        ({"WIJKPOLS_STORE_URL": "influxdb://u:hunter2@127.0.0.1:1/town"}, 1, "start it, or mend WIJKPOLS_STORE_URL"),
        ({"WIJKPOLS_INGEST_NAME": "a/b"}, 2, "cannot name a worker"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(tmp_path: Path, settings: dict[str, str], code: int, told: str):
    defaults = {
        "WIJKPOLS_STORE_URL": f"duckdb:///{tmp_path / 'r.duckdb'}",
        "WIJKPOLS_INGEST_REJECTS": str(tmp_path / "rejects.sqlite"),
    }
    done = run_command("run", **{**defaults, **settings})
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr
