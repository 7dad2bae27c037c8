"""What the gateway's integration tests share: a Mosquitto that can be killed, consents, and an ear on the readings."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentMessage, ConsentState, Purpose, band_token, new_pseudonym
from contracts.reading import Category, Reading, SelfReport
from gateway.bonds import BondBook, Pairing
from gateway.link import RadioAddress
from gateway.reader import Reader
from gateway.uplink import Uplink

KEY = b"a key of 16 bytes"
DISTRICT = "WK034403"


def eventually(happened: Callable[[], object], *, seconds: float = 10, what: str = "it") -> None:
    """Wait for another process or thread; fail when time is up."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds} s")
        time.sleep(0.01)


class SetClock:
    """Stands, as that of a band which has played to its end."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


class Mosquitto:
    """A broker of one test: killed and started again on the same port. Keeps nothing over its own restart."""

    def __init__(self, folder: Path, *, config: str = "allow_anonymous true\n") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            pytest.fail("this test needs mosquitto: run 'make test-deps'", pytrace=False)
        self._program = program
        self._config = folder / "mosquitto.conf"
        # Started by root, Mosquitto would become a user that cannot read a test's folder.
        self._config.write_text(f"user root\nlistener {self.port} 127.0.0.1\npersistence false\n{config}")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> BrokerAddress:
        return BrokerAddress("127.0.0.1", self.port)

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        eventually(listens, what="Mosquitto's start")

    def stop(self) -> None:
        """End it in order: it writes what it keeps."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections, and answers nothing; only a kill ends this."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Town:
    """The rest of the town on a broker: gives and withdraws consent, and hears what the gateway publishes."""

    def __init__(self, broker: BrokerAddress, name: str) -> None:
        self.name = name
        self.readings: list[Reading] = []
        self.reports: list[SelfReport] = []
        self.seqs: list[int] = []
        self.statuses: list[wire.GatewayStatus] = []
        self.stops: list[wire.Stop] = []
        self._revision = 0
        self._published: set[int] = set()
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"town-{name}", protocol=mqtt.MQTTv5)
        if broker.username is not None:
            self._client.username_pw_set(broker.username, broker.password)
        self._client.reconnect_delay_set(1, 1)
        mine = (f"{wire.ROOT}/readings/{DISTRICT}/{name}", wire.status_topic(name), wire.stop_topic(name))
        topics = [(topic, 1) for topic in mine]
        self._client.on_connect = lambda client, *_: client.subscribe(topics)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._heard
        self._client.on_publish = lambda _client, _data, mid, *_: self._published.add(mid)
        self._client.connect_async(broker.host, broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _heard(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith("/status"):
            self.statuses.append(wire.decode_status(message.payload))
            return
        if message.topic == wire.stop_topic(self.name):
            self.stops.append(wire.decode_stop(message.payload))
            return
        decoded = wire.decode_readings(message.payload)
        self.seqs.append(decoded.seq)
        self.readings += decoded.readings
        self.reports += decoded.reports

    def give(
        self, token: str, pseudonym: str, categories: Sequence[Category] = tuple(Category), **more: object
    ) -> None:
        self.say(
            token,
            state=ConsentState.GIVEN,
            pseudonym=pseudonym,
            purposes={Purpose.DISTRICT_INDEX: tuple(categories)},
            valid_until=4_000_000_000,
            **more,
        )

    def withdraw(self, token: str, pseudonym: str) -> None:
        self.say(token, state=ConsentState.WITHDRAWN, pseudonym=pseudonym)

    def say(self, token: str, **fields: object) -> None:
        self._revision += 1
        message = ConsentMessage(**{"revision": self._revision, "issued_at": self._revision} | fields)
        self._publish(token, wire.encode(message))

    def clear(self, token: str) -> None:
        self._publish(token, b"")

    def _publish(self, token: str, payload: bytes) -> None:
        sent = self._client.publish(wire.consent_topic(token), payload, qos=1, retain=True)
        eventually(lambda: sent.mid in self._published, what="publishing a consent")
        self._published.discard(sent.mid)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def town_of(broker: BrokerAddress, name: str) -> Iterator[Town]:
    town = Town(broker, name)
    try:
        yield town
    finally:
        town.close()


def wearer(number: int) -> tuple[str, str]:
    """A band's token and its wearer's pseudonym."""
    return band_token(KEY, f"WP-{number:06d}"), new_pseudonym(number.to_bytes(16, "big"))


class Gateway:
    """A gateway's reader and uplink, that can be stopped and started on the same folder, as the program would be."""

    def __init__(
        self,
        broker: BrokerAddress,
        town: Town,
        folder: Path,
        *,
        at: float,
        slots: int = 2,
        pairing: Pairing = Pairing.ENROLLED,
        key: bytes = KEY,
        revisit_s: float = 0.1,
    ) -> None:
        self.folder = folder
        self._key = key
        self._revisit_s = revisit_s
        self._broker, self._town, self._pairing, self._slots = broker, town, pairing, slots
        self.clock = SetClock(at)
        self.uplink: Uplink
        self.book: BondBook

    @contextlib.asynccontextmanager
    async def on(self, radio: str) -> AsyncIterator[Gateway]:
        loop = asyncio.get_running_loop()

        def consent_came(token: str) -> None:
            loop.call_soon_threadsafe(lambda: reader.consent_changed(token))

        self.uplink = Uplink(
            broker=self._broker,
            gateway=self._town.name,
            district=DISTRICT,
            outbox=self.folder,
            clock=self.clock,
            quiet_s=0.1,
            on_consent=consent_came,
        )
        self.book = BondBook(self.folder)
        reader = Reader(
            radios=RadioAddress.parse_all(radio),
            slots=self._slots,
            key=self._key,
            uplink=self.uplink,
            clock=self.clock,
            book=self.book,
            pairing=self._pairing,
            revisit_s=self._revisit_s,
        )
        with self.uplink:
            assert await asyncio.to_thread(self.uplink.wait_for_consents, 0, 30)
            task = asyncio.create_task(reader.run())
            try:
                yield self
            finally:
                reader.stop()
                await task
                await asyncio.to_thread(self.uplink.drain, 10)

    def refused(self, reason: str) -> int:
        return self.uplink.status().frames_rejected.get(reason, 0)
