"""Readings by a real gateway's uplink through Mosquitto and ingest into a store, while one after another is killed.

Counted is what was acknowledged (PUBACK) to the gateway against what is stored, reading by reading and value by value.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contracts import wire
from contracts.ports import ReadingStore
from contracts.reading import FIELDS, Reading
from gateway.uplink import Uplink
from ingest.app import open_store
from tests.ingestkit.gateways import eventually
from tests.ingestkit.influxd import Influxd
from tests.ingestkit.mosquitto import DeployedMosquitto
from tests.ingestkit.people import WEST, consent, pseudonym, reading, token
from tests.ingestkit.small_disk import SmallDisk

GATEWAY = "gw-soak"
A_TIME = 40  # readings that a band hands over at once
#: The gateway's outbox is let grow so far, so that faults fall into a flow and not into a backlog.
OUTBOX_ROWS_MAX = 400
PAUSE_S = 0.4  # a frozen or full server stays so for this long


class Outcome(NamedTuple):
    """What a run came to. All but the last two count readings."""

    acknowledged: int  # PUBACKed to the gateway
    stored: int
    missing: int
    foreign: int  # stored, but never sent, or with another value
    twice: int  # rows beyond one for each (pseudonym, minute)
    seconds: float
    faults: dict[str, int]

    @property
    def exact(self) -> bool:
        return self.acknowledged == self.stored and not (self.missing or self.foreign or self.twice)


class Soak:
    """One run on one store ('duckdb' or 'influxdb'), in a folder of its own."""

    def __init__(self, folder: Path, *, store: str, readings: int, people: int, seed: int, faults: int) -> None:
        self._folder, self._kind = folder, store
        self._people, self._minutes = people, readings // people
        self._chance = random.Random(seed)
        self._faults = faults
        self._stack = contextlib.ExitStack()
        self._ingest: subprocess.Popen[bytes] | None = None
        self.told: Callable[[str], None] = lambda _text: None

    def run(self) -> Outcome:
        begun = time.monotonic()
        with self._stack:
            self._start()
            counted = self._feed()
            self._settle()
            return self._compare(counted, time.monotonic() - begun)

    # the parts

    def _start(self) -> None:
        self._mosquitto = DeployedMosquitto(self._folder)
        gateway = self._mosquitto.login("gateway", GATEWAY)
        self._mosquitto.start()
        self._stack.callback(self._mosquitto.stop)
        self._disk = self._stack.enter_context(SmallDisk(self._folder / "disk", mebibytes=256))
        self._within: tuple[str, ...] = ()
        if self._kind == "influxdb":
            self._influxd = Influxd(self._folder, data=self._disk.path, within=self._disk.within)
            self._stack.callback(self._influxd.stop)
            self._store_url = self._influxd.url("soak")
        else:
            self._within = self._disk.within
            self._store_url = f"duckdb:///{self._disk.path / 'readings.duckdb'}"
        self._give_consents()
        self._start_ingest()
        self._stack.callback(self._kill_ingest)
        self._uplink = self._stack.enter_context(
            Uplink(broker=gateway, gateway=GATEWAY, district=WEST, outbox=self._folder / "outbox")
        )
        assert self._uplink.wait_for_consents([token(number) for number in range(self._people)], 30)

    def _give_consents(self) -> None:
        address = self._mosquitto.address("api")
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="soak-api", protocol=paho.MQTTv5)
        address.secure(client)
        client.connect(address.host, address.port)
        client.loop_start()
        for number in range(self._people):
            last = client.publish(wire.consent_topic(token(number)), wire.encode(consent(number)), qos=1, retain=True)
        last.wait_for_publish(30)
        client.disconnect()
        client.loop_stop()
        # Consents are older than Mosquitto's last save: the API would publish them again, and here nobody does.
        saved, given = self._folder / "data" / "mosquitto.db", time.time()
        eventually(lambda: saved.exists() and saved.stat().st_mtime > given, seconds=60)

    def _start_ingest(self) -> None:
        settings = {
            "WIJKPOLS_BROKER_URL": self._mosquitto.url("ingest"),
            "WIJKPOLS_STORE_URL": self._store_url,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),  # within the disk's namespace, we stand elsewhere
            "WIJKPOLS_INGEST_REJECTS": str(self._folder / "rejects.sqlite"),
        }
        words = [*self._within, sys.executable, "-m", "wijkpols", "ingest", "run", "--workers", "2"]
        with (self._folder / "ingest.log").open("ab") as log:
            self._ingest = subprocess.Popen(
                words, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        ready = [self._ingest.stdout.readline() for _ in range(2)]
        assert all(b"ready" in line for line in ready), (self._folder / "ingest.log").read_text()

    def _kill_ingest(self) -> None:
        """With all its workers, by SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._ingest.pid, signal.SIGKILL)
        self._ingest.wait()
        self._ingest.stdout.close()

    # what goes wrong

    def _troubles(self) -> dict[str, Callable[[], None]]:
        found = {
            "kill -9 of ingest": self._ingest_killed,
            "kill -9 of Mosquitto": self._mosquitto_killed,
            "disk full": self._disk_full,
        }
        if self._kind == "influxdb":
            found |= {"kill -9 of InfluxDB": self._influxd_killed, "InfluxDB frozen": self._influxd_frozen}
        return found

    def _ingest_killed(self) -> None:
        self._kill_ingest()
        self._start_ingest()

    def _mosquitto_killed(self) -> None:
        self._mosquitto.kill()
        self._mosquitto.start()

    def _influxd_killed(self) -> None:
        self._influxd.kill()
        self._influxd.start()

    def _influxd_frozen(self) -> None:
        self._influxd.freeze()
        time.sleep(PAUSE_S)
        self._influxd.thaw()

    def _disk_full(self) -> None:
        self._disk.fill()
        self._flow(PAUSE_S)
        self._disk.make_room()
        if self._kind == "influxdb":  # 1.x may refuse until it is started again (docs/how-to/mosquitto-and-influxdb.md)
            self._influxd_killed()

    # the flow

    def _feed(self) -> int:
        """Everything into the uplink, with troubles in between; returns how many readings were made."""
        work = self._batches()
        batches = self._people * -(-self._minutes // A_TIME)
        names = list(self._troubles())
        turns = [names[number % len(names)] for number in range(self._faults)]
        self._chance.shuffle(turns)
        due = sorted(self._chance.sample(range(1, batches), self._faults))
        self._counts: dict[str, int] = dict.fromkeys(names, 0)
        self._work = work
        for number in range(batches):
            if due and number >= due[0]:
                due.pop(0)
                name = turns.pop()
                self._troubles()[name]()
                self._counts[name] += 1
                self.told(f"{number * A_TIME:>9,} readings sent: {name}")
            self._step()
        return self._people * self._minutes

    def _flow(self, seconds: float) -> None:
        """Go on for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._step()

    def _batches(self) -> Iterator[tuple[int, list[Reading]]]:
        for start in range(0, self._minutes, A_TIME):
            minutes = range(start, min(start + A_TIME, self._minutes))
            for number in range(self._people):
                yield number, [self._reading(number, minute) for minute in minutes]

    def _reading(self, number: int, minute: int) -> Reading:
        return reading(number, minute, hr=60 + (number * 31 + minute) % 97 / 2, eda=minute % 50 / 4)

    def _step(self) -> None:
        item = next(self._work, None)
        if item is None:
            time.sleep(0.01)
            return
        number, readings = item
        assert self._uplink.accept(token(number), readings) == len(readings)
        eventually(lambda: self._uplink.status().outbox_rows < OUTBOX_ROWS_MAX, seconds=120)

    def _settle(self) -> None:
        """All acknowledged to the gateway, and all that was acknowledged taken in by ingest."""
        total = self._people * self._minutes
        while (item := next(self._work, None)) is not None:
            self._uplink.accept(token(item[0]), item[1])
        eventually(lambda: self._uplink.status().published == total, seconds=180)
        self.told("all acknowledged to the gateway")
        if self._kind == "influxdb":
            # What is missing by then is counted below.
            with contextlib.closing(self._opened()) as store, contextlib.suppress(AssertionError):
                eventually(lambda: store.holdings().readings == total, seconds=120)
            return
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:  # a DuckDB file can only be looked into when its process has ended
            time.sleep(1.5)
            self._ingest.terminate()
            self._ingest.wait()
            self._ingest.stdout.close()
            with contextlib.closing(self._opened()) as store:
                done = store.holdings().readings == total
            self._start_ingest()
            if done:
                return

    def _opened(self) -> ReadingStore:
        if self._kind == "influxdb":
            return open_store(self._store_url)
        copy = Path(tempfile.mkdtemp(dir=self._folder))  # DuckDB would follow the way into the namespace back out of it
        for file in self._disk.seen.glob("readings.duckdb*"):
            if file.is_file():
                shutil.copy(file, copy)
        return open_store(f"duckdb:///{copy / 'readings.duckdb'}")

    def _compare(self, acknowledged: int, seconds: float) -> Outcome:
        self._kill_ingest()
        expected = {
            (pseudonym(number), made.minute): tuple(made.values())
            for number in range(self._people)
            for made in (self._reading(number, minute) for minute in range(self._minutes))
        }
        stored = foreign = 0
        with contextlib.closing(self._opened()) as store:
            for chunk in store.readings(0, 2**33):
                columns = [chunk.fields[name] for name in FIELDS]
                for row, (person, minute) in enumerate(zip(chunk.person.tolist(), chunk.minute.tolist(), strict=True)):
                    stored += 1
                    values = [(name, float(column[row])) for name, column in zip(FIELDS, columns, strict=True)]
                    found = tuple((name, value) for name, value in values if value == value)
                    foreign += expected.pop((chunk.pseudonyms[person], minute), None) != found
            twice = self._rows(store) - stored
        return Outcome(acknowledged, stored, len(expected), foreign, twice, round(seconds, 1), self._counts)

    def _rows(self, store: ReadingStore) -> int:
        """As the database itself counts them."""
        if self._kind == "influxdb":
            answer = self._influxd.query('SELECT count(n) FROM "wijkpols".reading', "soak")
            return int(answer.split(b'[["1970-01-01T00:00:00Z",')[1].split(b"]")[0])
        return store.holdings().readings
