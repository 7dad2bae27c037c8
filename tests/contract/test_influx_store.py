"""What is InfluxDB's alone: which server it is, retention, logins, answers that refuse. 1.x is real; 2.x and 3 are
held against the requests and answers of their published API, since no such server is packaged here."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgpack
import pytest

from contracts.ports import Extent, Fault, Holdings, StoredReading, StoreRefused, StoreUnavailable, UsageFault
from contracts.reading import Category, Reading
from ingest.app import open_store
from ingest.influx_client import InfluxAnswer
from ingest.influx_store import InfluxStore
from ingest.store_url import parse_store_url
from tests.ingestkit.influxd import Influxd
from tests.ingestkit.people import BASE, WEST, pseudonym, stored, stored_report
from tests.ingestkit.small_disk import SmallDisk
from tests.servers import free_port

_numbers = itertools.count()


@pytest.fixture
def database() -> str:
    return f"influx{next(_numbers)}"


def policies(influxd: Influxd, database: str) -> dict[str, str]:
    found = json.loads(influxd.query(f"SHOW RETENTION POLICIES ON {database}"))["results"][0]["series"][0]["values"]
    return {name: duration for name, duration, *_ in found}


def test_what_is_missing_is_made_with_35_days(influxd: Influxd, database: str):
    open_store(influxd.url(database)).close()
    assert policies(influxd, database)["wijkpols"] == "840h0m0s"
    open_store(influxd.url(database)).close()


def test_a_shorter_retention_is_left_as_it_is(influxd: Influxd, database: str):
    influxd.query(f"CREATE DATABASE {database}")
    influxd.query(f"CREATE RETENTION POLICY wijkpols ON {database} DURATION 7d REPLICATION 1")
    open_store(influxd.url(database)).close()
    assert policies(influxd, database)["wijkpols"] == "168h0m0s"


@pytest.mark.parametrize("duration", ["60d", "INF"])
def test_a_longer_retention_is_refused(influxd: Influxd, database: str, duration: str):
    influxd.query(f"CREATE DATABASE {database}")
    influxd.query(f"CREATE RETENTION POLICY wijkpols ON {database} DURATION {duration} REPLICATION 1")
    with pytest.raises(Fault, match="longer than 35 days: set its retention to 35d"):
        open_store(influxd.url(database))


def test_a_wrong_password_is_said_and_not_shown(influxd: Influxd, database: str):
    with pytest.raises(Fault, match="refuses this login") as caught:
        open_store(influxd.url(database, password="hunter2"))
    assert "hunter2" not in str(caught.value)


def test_a_user_with_rights_on_the_database_alone_will_do(influxd: Influxd, database: str):
    open_store(influxd.url(database)).close()
    influxd.query(f"CREATE USER {database} WITH PASSWORD 'plain'")
    influxd.query(f"GRANT ALL ON {database} TO {database}")
    store = open_store(f"influxdb://{database}:plain@127.0.0.1:{influxd.port}/{database}")
    store.write([stored(1)], [stored_report(1)])
    assert store.erase(pseudonym(1)) == Holdings(1, 1)
    store.close()


def test_nobody_there_is_said(database: str):
    port = free_port()
    with pytest.raises(Fault, match=rf"InfluxDB at 127.0.0.1:{port} cannot be used .* start it"):
        open_store(f"influxdb://u:hunter2@127.0.0.1:{port}/{database}")


def test_a_point_beyond_the_retention_is_refused_and_the_others_are_stored(influxd: Influxd, database: str):
    store = open_store(influxd.url(database))
    old = StoredReading(WEST, Reading(pseudonym=pseudonym(1), minute=BASE - 40 * 86_400, hr=60.0))
    with pytest.raises(StoreRefused, match="beyond retention policy"):
        store.write([stored(1), old], [])
    assert store.holdings() == Holdings(1, 0)
    store.close()


def test_a_line_that_the_server_quotes_is_found_again(influxd: Influxd, database: str, monkeypatch: pytest.MonkeyPatch):
    """Our own lines always parse; so one is broken on its way to see the server's answer understood."""
    store = open_store(influxd.url(database))
    rows = [stored(1, minute) for minute in range(3)]
    lines = [f"reading n=1i {BASE}", "reading n=", f"reading n=1i {BASE}"]
    monkeypatch.setattr("ingest.influx_store.reading_lines", lambda _rows: lines)
    with pytest.raises(StoreRefused, match=r"^unable to parse$") as caught:
        store.write(rows, [])
    assert caught.value.index == 1
    store.close()


def test_a_server_that_is_away_is_unavailable_and_back_again(influxd: Influxd, database: str):
    store = open_store(influxd.url(database))
    store.write([stored(1)], [])
    influxd.kill()
    for act in (
        lambda: store.write([stored(2)], []),
        store.holdings,
        lambda: store.erase(pseudonym(1)),
        lambda: list(store.readings(0, 2**33)),
    ):
        with pytest.raises(StoreUnavailable):
            act()
    influxd.start()
    assert store.holdings() == Holdings(1, 0)
    store.close()


def test_a_full_disk_is_said_with_what_to_do_and_a_new_start_is_enough(tmp_path: Path):
    with SmallDisk(tmp_path / "disk", mebibytes=64) as disk:
        server = Influxd(tmp_path, data=disk.path, within=disk.within)
        store = open_store(server.url("full"))
        store.write([stored(1)], [])
        disk.fill()
        rows = [stored(2, minute) for minute in range(2_000)]
        with pytest.raises(StoreUnavailable, match="its disk is full: make room, and restart InfluxDB"):
            list(map(store.write, [rows] * 100, [[]] * 100))  # some of it may still fit
        disk.make_room()
        server.kill()
        server.start()
        store.write([stored(3)], [])
        assert store.holdings(pseudonym(1)) == store.holdings(pseudonym(3)) == Holdings(1, 0)
        store.close()
        server.stop()


def test_a_dropped_database_is_unavailable_not_refused(influxd: Influxd, database: str):
    store = open_store(influxd.url(database))
    influxd.query(f"DROP DATABASE {database}")
    with pytest.raises(StoreUnavailable):
        store.write([stored(1)], [])
    store.close()


def test_an_odd_pseudonym_never_reaches_a_query(influxd: Influxd, database: str):
    store = open_store(influxd.url(database))
    store.write([stored(1)], [])
    for odd in ("' OR pseudonym =~ /.*/ --", "x'; DROP DATABASE y; --", ""):
        assert store.erase(odd) == store.holdings(odd) == Holdings(0, 0)
        assert store.person(odd) == ([], [])
    assert store.holdings() == Holdings(1, 0)
    store.close()


class Recorded:
    """A server that answers as the published API of another version says, and keeps what it was asked."""

    def __init__(self, version: str, build: str) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes, str]] = []
        self.buckets: list[dict[str, Any]] = []
        self.orgs = ["0rg"]
        recorded = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                recorded.requests.append((self.command, parts.path, query, body, self.headers.get("Authorization", "")))
                status, kind, answer = recorded.answer(self.command, parts.path, query, body)
                self.send_response(status)
                self.send_header("X-Influxdb-Version", version)
                self.send_header("X-Influxdb-Build", build)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def url(self, options: str = "") -> str:
        return f"influxdb://:token@127.0.0.1:{self.server.server_port}/town{options}"

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        match method, path:
            case "GET", "/ping":
                return 204, "text/plain", b""
            case "GET", "/api/v2/orgs":
                return self.json({"orgs": [{"id": each, "name": query.get("org", "city")} for each in self.orgs]})
            case "GET", "/api/v2/buckets":
                return self.json({"buckets": self.buckets})
            case "POST", "/api/v2/buckets":
                self.buckets = [{"id": "b0cket", **json.loads(body)}]
                return 201, "application/json", json.dumps(self.buckets[0]).encode()
            case "POST", "/api/v2/write" | "/api/v2/delete" if query.get("org") not in ("0rg", "city"):
                return 404, "application/json", b'{"code": "not found", "message": "organization not found"}'
            case "POST", "/api/v2/write" | "/api/v2/delete":
                return 204, "application/json", b""
            case "POST", "/query":
                if query.get("chunked"):
                    return 200, "application/x-msgpack", msgpack.packb({"results": [{"statement_id": 0}]})
                return self.json({"results": [{"statement_id": 0}]})
            case _:
                return 404, "application/json", b'{"message": "not found"}'

    @staticmethod
    def json(value: object) -> tuple[int, str, bytes]:
        return 200, "application/json", json.dumps(value).encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def version_2() -> Iterator[Recorded]:
    server = Recorded("v2.7.12", "OSS")
    yield server
    server.stop()


def test_a_server_of_2_is_asked_by_its_api_with_a_token(version_2: Recorded):
    store = open_store(version_2.url())
    store.write([stored(1, 0, hr=60.0)], [])
    assert store.erase(pseudonym(1)) == Holdings(0, 0)
    store.close()
    asked = {(method, path): (query, body) for method, path, query, body, _ in version_2.requests}
    assert {login for *_, path, _, _, login in version_2.requests if path != "/ping"} == {"Token token"}
    assert json.loads(asked["POST", "/api/v2/buckets"][1]) == {
        "rp": "0",  # the published default
        "orgID": "0rg",
        "name": "town/wijkpols",
        "retentionRules": [{"type": "expire", "everySeconds": 35 * 86_400, "shardGroupDurationSeconds": 86_400}],
    }
    query, body = asked["POST", "/api/v2/write"]
    assert (query["org"], query["bucket"], query["precision"]) == ("0rg", "town/wijkpols", "s")
    assert body.decode() == f"reading,district={WEST},pseudonym={pseudonym(1)} hr=60.0,n=1i {BASE}"
    query, body = asked["POST", "/api/v2/delete"]
    assert query == {"org": "0rg", "bucket": "town/wijkpols"}
    assert json.loads(body)["predicate"] == f'pseudonym="{pseudonym(1)}"'
    query, _ = asked["POST", "/query"]
    assert (query["db"], query["rp"]) == ("town", "wijkpols")


def test_a_part_is_erased_from_a_server_of_2_up_to_the_last_moment_before(version_2: Recorded):
    store = open_store(version_2.url())
    store.erase(pseudonym(1), Extent(frozenset({Category.SKIN}), 1_764_000_000))
    deleted = [json.loads(body) for _, path, _, body, _ in version_2.requests if path == "/api/v2/delete"]
    assert [asked["predicate"] for asked in deleted] == [
        f'_measurement="{measurement}" AND pseudonym="{pseudonym(1)}"'
        for measurement in ("report", "reading", "reading_kept")
    ]
    assert {asked["stop"] for asked in deleted} == {"2025-11-24T15:59:59.999999999Z"}
    store.close()


def test_an_organisation_of_2_is_named_when_a_token_sees_several(version_2: Recorded):
    version_2.orgs = ["0rg", "0ther"]
    with pytest.raises(UsageFault, match="name the organisation"):
        open_store(version_2.url())


def test_a_bucket_of_2_that_keeps_longer_is_refused(version_2: Recorded):
    version_2.buckets = [{"name": "town/wijkpols", "retentionRules": []}]
    with pytest.raises(Fault, match="longer than 35 days"):
        open_store(version_2.url())


@pytest.mark.parametrize(
    ("version", "build", "told"),
    [("3.2.1", "Core", r"InfluxDB 3 \(Core\) cannot erase one person"), ("nginx", "", "does not answer as InfluxDB")],
)
def test_a_server_that_cannot_erase_or_is_none_is_refused(version: str, build: str, told: str):
    server = Recorded(version, build)
    try:
        with pytest.raises(UsageFault, match=told):
            open_store(server.url())
    finally:
        server.stop()


def test_an_answer_shows_no_line(influxd: Influxd, database: str):
    store = InfluxStore(parse_store_url(influxd.url(database)))
    with pytest.raises(InfluxAnswer) as caught:
        store._client.write(f"reading,pseudonym={pseudonym(1)} hr=x 1".encode())
    assert pseudonym(1) not in str(caught.value)
    store.close()


@pytest.mark.parametrize("step", range(5))
def test_an_erasure_in_part_that_broke_off_anywhere_is_whole_when_it_is_done_again(
    influxd: Influxd, database: str, monkeypatch: pytest.MonkeyPatch, step: int
):
    """Answers go, then: written aside, deleted, written back, deleted aside."""
    store = open_store(influxd.url(database))
    assert isinstance(store, InfluxStore)
    store.write([stored(1, minute, hr=60.0, eda=2.0) for minute in range(10)], [stored_report(1)])
    extent = Extent(frozenset({Category.SKIN}), BASE + 300)
    left = step

    def breaking(work: Callable[..., None]) -> Callable[..., None]:
        def step_of(*given: object, **named: object) -> None:
            nonlocal left
            if left == 0:
                raise StoreUnavailable("broken off")
            left -= 1
            work(*given, **named)

        return step_of

    with monkeypatch.context() as broken:
        broken.setattr(store._server, "erase_from", breaking(store._server.erase_from))
        broken.setattr(store._client, "write", breaking(store._client.write))
        with pytest.raises(StoreUnavailable):
            store.erase(pseudonym(1), extent)
    store.erase(pseudonym(1), extent)
    kept = [stored(1, minute, **({"eda": 2.0} if minute < 5 else {"hr": 60.0, "eda": 2.0})) for minute in range(10)]
    assert store.person(pseudonym(1)) == (kept, [])
    assert b"series" not in influxd.query("SELECT * FROM wijkpols.reading_kept", database=database)
    store.close()
