"""A city in which people withdraw while readings keep coming: Mosquitto as deployed, InfluxDB, PostgreSQL, our parts.

What is measured is looked at in the store itself, from the moment in which the button was pressed. The gateways of this
city are bad ones: they go on sending what they should have dropped.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import select

from api.ledger import Ledger
from api.notices import Notices
from api.registry import open_engine
from api.tables import ERASURES
from contracts import wire
from contracts.consent import Purpose, band_token
from contracts.ports import Holdings
from contracts.reading import Category
from ingest.app import open_store
from tests.ingestkit.influxd import Influxd
from tests.ingestkit.mosquitto import DeployedMosquitto
from tests.registrykit.databases import TEMPLATE, Postgres
from tests.servers import free_port
from tests.withdrawals.gateways import ENROLLED_BEFORE_S, send
from tests.withdrawals.wearers import Wearers

DISTRICT = "WK034403"
DATABASE = "withdrawals"
BAND_KEY = bytes(range(32))
LOOK_S = 0.25  # how often the store is asked about those who withdrew
LEDGER_LOOK_S = 0.02  # how often the ledger is asked about those who held the button
WATCHED_S = 12.0  # for how long after the button
_PROCESSES = multiprocessing.get_context("spawn")  # a fork of a process with threads is a gamble


class Past:
    """A clock that stands in the past: consent was given before the first reading."""

    def now(self) -> float:
        return time.time() - ENROLLED_BEFORE_S - 3600


class Volunteer(NamedTuple):
    """Somebody with a band and a token for the API."""

    serial: str
    pseudonym: str
    bearer: str


class Press(NamedTuple):
    """A button that was pressed: that of the page, or, held for ten seconds, that of the band."""

    at: float  # unix seconds
    erase: bool
    answered_s: float | None  # by the page


class Withdrawn(NamedTuple):
    """One withdrawal, in seconds after the button was pressed; None: it did not come to that."""

    pseudonym: str
    erase: bool
    answered_s: float | None  # by the page; a band's button answers nothing
    ledger_s: float | None  # the band's button in the ledger, looked at each LEDGER_LOOK_S; of the page: its answer
    heard_s: float | None  # by a gateway
    last_stored_s: float  # no reading was stored after this; looked at each LOOK_S, so it is too long by that
    erased_s: float | None


class City:
    """All of it, for as long as the `with` block lasts."""

    def __init__(self, folder: Path, *, people: int, durable: bool = False) -> None:
        self._folder, self._people, self._durable = folder, people, durable
        self._stack = contextlib.ExitStack()
        self._stop_load = _PROCESSES.Event()
        self._lock = threading.Lock()
        self._pressed: dict[str, Press] = {}  # by pseudonym
        self._in_ledger: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._grew: dict[str, tuple[int, float]] = {}  # pseudonym -> (rows, when they became so many)
        self._watching = threading.Event()

    def __enter__(self) -> Self:
        self.mosquitto = DeployedMosquitto(self._folder)
        self._gateway = self.mosquitto.login("gateway", "gw-city")
        self.mosquitto.start()
        self._stack.callback(self.mosquitto.stop)
        self.influxd = Influxd(self._folder)
        self._stack.callback(self.influxd.stop)
        self._store = open_store(self.influxd.url(DATABASE))
        self._stack.callback(self._store.close)
        self.postgres = Postgres(durable=self._durable)
        self._stack.callback(self.postgres.stop)
        self.postgres.template()
        self.volunteers = self._enrol()
        self.start_ingest()
        self._stack.callback(self.kill_ingest)
        self._port = free_port()
        self.start_api()
        self._stack.callback(self.kill_api)
        self._listen()
        threading.Thread(target=self._watch, daemon=True).start()
        self._stack.callback(self._watching.set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_load.set()
        self._stack.close()

    # what people do

    def press(self, person: Volunteer, *, erase: bool) -> None:
        """Withdraw; tries again until it is answered, and counts from the press that was."""
        deadline = time.monotonic() + 60
        while True:
            pressed = time.time()
            try:
                answer = httpx.post(
                    f"http://127.0.0.1:{self._port}/v1/me/withdrawals",
                    json={"erase": erase},
                    headers={"Authorization": f"Bearer {person.bearer}"},
                    timeout=20,
                )
                if answer.status_code == 201:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "nobody answered a withdrawal for a minute"
            time.sleep(0.1)
        with self._lock:
            self._pressed[person.pseudonym] = Press(pressed, erase, time.time() - pressed)

    def hold(self, person: Volunteer) -> None:
        """Hold the button of the band for ten seconds: counted from the tenth, in which the band acts."""
        pressed = self._wearers.hold(person.serial)
        with self._lock:
            self._pressed[person.pseudonym] = Press(pressed, False, None)

    def wear(self, people: Sequence[Volunteer]) -> None:
        """These wear bands that a gateway reads live; returns when it reads all of them. At most 64."""
        self._wearers = self._stack.enter_context(Wearers([person.serial for person in people], DISTRICT))
        self.mosquitto.login("gateway", "gw-radio")
        self.mosquitto.reload()
        settings = {
            "WIJKPOLS_BROKER_URL": self.mosquitto.url("gw-radio"),
            "WIJKPOLS_BAND_KEY": BAND_KEY.hex(),
            "WIJKPOLS_GATEWAY_SLOTS": str(len(people)),
            "WIJKPOLS_GATEWAY_OUTBOX": str(self._folder / "outbox"),
        }
        words = ["gateway", "run", "--name", "gw-radio", "--district", DISTRICT, "--radio", self._wearers.radio]
        gateway = self._run("gateway", words, settings)
        self._stack.callback(_kill, gateway)
        self._wearers.wait_until_read()
        threading.Thread(target=self._watch_ledger, daemon=True).start()

    def load(self, readings_per_s: int) -> None:
        """From now on the gateways send so many; everybody's, whatever was withdrawn."""
        everybody = [person.pseudonym for person in self.volunteers]
        process = _PROCESSES.Process(
            target=send, args=(self._gateway, DISTRICT, everybody, readings_per_s, self._stop_load), daemon=True
        )
        process.start()
        self._stack.callback(process.join, 20)

    def stop_load(self) -> None:
        """The gateways fall silent."""
        self._stop_load.set()

    # what is seen

    def rows(self, pseudonyms: list[str]) -> dict[str, int]:
        """How many readings the store holds of these."""
        if not pseudonyms:
            return {}
        who = " OR ".join(f"pseudonym = '{name}'" for name in pseudonyms)
        text = f'SELECT count(n) FROM "wijkpols".reading WHERE time >= 0 AND ({who}) GROUP BY pseudonym'
        result = json.loads(self.influxd.query(text, DATABASE))["results"][0]
        assert "error" not in result, result
        found = dict.fromkeys(pseudonyms, 0)
        return found | {row["tags"]["pseudonym"]: row["values"][0][1] for row in result.get("series", ())}

    def stored(self) -> int:
        """All that the store holds."""
        return self._store.holdings().readings

    def erased(self) -> dict[str, float]:
        """When the erasures were done that the ledger knows to be, in unix seconds."""
        query = select(ERASURES.c.pseudonym, ERASURES.c.erased_at).where(ERASURES.c.erased_at.is_not(None))
        with self._ledger() as ledger, ledger.engine.connect() as connection:
            return {row.pseudonym: row.erased_at for row in connection.execute(query)}

    def outcomes(self) -> list[Withdrawn]:
        """Everything that was measured."""
        erased = self.erased()
        with self._lock:
            return [
                Withdrawn(
                    pseudonym=who,
                    erase=erase,
                    answered_s=answered,
                    ledger_s=self._in_ledger[who] - at if who in self._in_ledger else answered,
                    heard_s=self._heard[who] - at if who in self._heard else None,
                    last_stored_s=max(0.0, self._grew[who][1] - at) if who in self._grew else 0.0,
                    erased_s=erased[who] - at if who in erased else None,
                )
                for who, (at, erase, answered) in self._pressed.items()
            ]

    def left(self, person: str) -> Holdings:
        """What the store still holds of somebody."""
        return self._store.holdings(person)

    # the parts that are killed

    def start_ingest(self) -> None:
        settings = {
            "WIJKPOLS_BROKER_URL": self.mosquitto.url("ingest"),
            "WIJKPOLS_STORE_URL": self.influxd.url(DATABASE),
            "WIJKPOLS_INGEST_REJECTS": str(self._folder / "rejects.sqlite"),
        }
        self._ingest = self._run("ingest", ["ingest", "run", "--workers", "2"], settings)
        for _ in range(2):
            line = self._ingest.stdout.readline()
            assert b"ready" in line, (self._folder / "ingest.log").read_text()

    def kill_ingest(self) -> None:
        _kill(self._ingest)

    def start_api(self) -> None:
        settings = {
            "WIJKPOLS_BROKER_URL": self.mosquitto.url("api"),
            "WIJKPOLS_REGISTRY_URL": self._registry_url,
            "WIJKPOLS_BAND_KEY": BAND_KEY.hex(),
        }
        self._api = self._run("api", ["api", "--port", str(self._port)], settings)
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self._port}/healthz").status_code < 500:
                    return
            assert self._api.poll() is None, (self._folder / "api.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill_api(self) -> None:
        _kill(self._api)

    def kill_and_start(self, part: str, *, away_s: float) -> None:
        """SIGKILL to one of `ingest`, `api`, `mosquitto`, `influxd`, `postgres`, and its start a moment later."""
        if part in ("ingest", "api"):
            getattr(self, f"kill_{part}")()
            time.sleep(away_s)
            getattr(self, f"start_{part}")()
        else:
            server = getattr(self, part)
            server.kill()
            time.sleep(away_s)
            server.start()

    # inside

    def _enrol(self) -> list[Volunteer]:
        self._registry_url = f"{self.postgres.url}/{TEMPLATE}"
        choices = {Purpose.DISTRICT_INDEX: tuple(Category)}
        found = []
        with self._ledger() as ledger:
            for number in range(self._people):
                serial = f"WP-{number:06}"
                code = ledger.add_band(serial)
                done = ledger.enrol(code, district=DISTRICT, adult=True, language="nl", choices=choices)
                found.append(Volunteer(serial, done.record.principal_id, done.bearer))
        return found

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        engine = open_engine(self._registry_url)
        yield Ledger(
            engine,
            clock=Past(),
            band_key=BAND_KEY,
            notices=Notices(),
            known_district=lambda _code: True,
            controller="Gemeente",
            public_url="http://127.0.0.1",
        )
        engine.dispose()

    def _run(self, name: str, words: list[str], settings: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "wijkpols", *words],
                env={**os.environ, **settings},
                stdout=subprocess.PIPE if name == "ingest" else log,
                stderr=log,
                start_new_session=True,
            )

    def _listen(self) -> None:
        """As a gateway hears consents."""
        tokens = {band_token(BAND_KEY, person.serial): person.pseudonym for person in self.volunteers}

        def heard(_client: object, _data: object, message: paho.MQTTMessage) -> None:
            consent = wire.decode_consent(message.payload)
            if consent is not None and consent.state.value == "withdrawn":
                self._heard.setdefault(tokens[wire.last_part(message.topic)], time.time())

        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="gw-ear", protocol=paho.MQTTv5)
        self.mosquitto.login("gateway", "gw-ear").secure(client)
        self.mosquitto.reload()
        time.sleep(0.5)
        client.on_connect = lambda *_: client.subscribe(wire.CONSENTS_FILTER, qos=1)
        client.on_message = heard
        client.reconnect_delay_set(1, 1)
        client.connect_async(self._gateway.host, self._gateway.port)
        client.loop_start()
        self._stack.callback(client.loop_stop)
        self._stack.callback(client.disconnect)

    def _watch(self) -> None:
        """Notes when the store last grew of those who withdrew a moment ago."""
        while not self._watching.wait(LOOK_S):
            with self._lock:
                recent = [who for who, press in self._pressed.items() if time.time() - press.at < WATCHED_S]
            with contextlib.suppress(OSError, ValueError, AssertionError):  # the server is being killed
                for who, count in self.rows(recent).items():
                    before = self._grew.get(who)
                    # By the first look it may just have grown: what is noted is never too early.
                    self._grew[who] = (count, time.time() if before is None or count > before[0] else before[1])

    def _watch_ledger(self) -> None:
        """Notes when the ledger took in that a band's button was held."""
        with self._ledger() as ledger:
            while not self._watching.wait(LEDGER_LOOK_S):
                with self._lock:
                    held = [who for who, press in self._pressed.items() if press.answered_s is None]
                for who in held:
                    if who not in self._in_ledger and not ledger.current(who).stands:
                        self._in_ledger[who] = time.time()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With all its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
