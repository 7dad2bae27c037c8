"""The gateway's and the consent ledger's side of the broker, for tests of ingest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentMessage
from contracts.reading import Reading, SelfReport
from tests.ingestkit.people import WEST, token
from tests.servers import Broker


class Town:
    """Publishes consents and readings with QoS 1, and listens to erasures."""

    def __init__(self, broker: Broker | BrokerAddress, name: str) -> None:
        self.erasures: list[tuple[str, wire.Erasure]] = []
        self._bands: set[int] = set()
        self._seq = 0
        self._gateway = name
        self._connected = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        if isinstance(broker, BrokerAddress):
            broker.secure(self._client)
        self._client.max_inflight_messages_set(1000)
        self._client.on_connect = self._up
        self._client.on_subscribe = lambda *_: self._connected.set()
        self._client.on_message = self._heard
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert self._connected.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for band in self._bands:  # the broker is shared by all tests
            last = self._client.publish(wire.consent_topic(token(band)), b"", qos=1, retain=True)
            last.wait_for_publish(20)
        self._client.disconnect()
        self._client.loop_stop()

    def _up(self, client: paho.Client, *_: object) -> None:
        client.subscribe(wire.ERASURES_FILTER, qos=1)

    def _heard(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.erasures.append((wire.last_part(message.topic), wire.decode_erasure(message.payload)))

    def consent(self, band: int, message: ConsentMessage | None) -> None:
        """Retained; returns when the broker has it."""
        self._bands.add(band)
        payload = b"" if message is None else wire.encode(message)
        self.raw(wire.consent_topic(token(band)), payload, retain=True)

    def consents(self, messages: Iterable[tuple[int, ConsentMessage]]) -> None:
        """Many at once."""
        messages = list(messages)
        self._bands.update(band for band, _ in messages)
        infos = [
            self._client.publish(wire.consent_topic(token(band)), wire.encode(message), qos=1, retain=True)
            for band, message in messages
        ]
        for info in infos:
            info.wait_for_publish(20)

    def forget_bands(self) -> None:
        """Do not clear the consents at the end."""
        self._bands.clear()

    def send(self, *readings: Reading, reports: tuple[SelfReport, ...] = (), district: str = WEST) -> None:
        """Several a message, as a gateway does; does not wait for the broker."""
        for start in range(0, max(len(readings), 1), 50):
            self._seq += 1
            message = wire.ReadingsMessage(seq=self._seq, readings=readings[start : start + 50], reports=reports)
            self._last = self._client.publish(wire.readings_topic(district, self._gateway), wire.encode(message), qos=1)

    def raw(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(20)

    def acknowledged(self, seconds: float = 60) -> None:
        """Wait until the broker has acknowledged all that was sent."""
        self._last.wait_for_publish(seconds)
        assert self._last.is_published()


def forget_session(broker: Broker, client_id: str) -> None:
    """End a worker's session. Mosquitto hands a share of the readings to every session, even to one that is away."""
    connected = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.on_connect = lambda *_: connected.set()
    client.connect(broker.host, broker.port, clean_start=True)
    client.loop_start()
    assert connected.wait(10)
    client.disconnect()
    client.loop_stop()


def eventually(condition: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait for another thread or process to bring something about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
