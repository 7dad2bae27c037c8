"""The embedded broker as it really behaves: what the rest of the house leans on, and what it must work around."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from demo.embedded_broker import EmbeddedBroker

RETAINED = 500


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


class Client:
    """A paho client that collects what it hears."""

    def __init__(self, url: str, name: str, *, password: str | None = None) -> None:
        address = urlsplit(url)
        self.heard: list[mqtt.MQTTMessage] = []
        self.connected = threading.Event()
        self.refused = threading.Event()
        self.marked = threading.Event()
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self.paho.username_pw_set(address.username, password or address.password)
        self.paho.on_connect = lambda *_: self.connected.set()
        self.paho.on_disconnect = lambda *_: self.refused.set()
        self.paho.on_message = self._on_message
        self.paho.connect(address.hostname or "", address.port or 0)
        self.paho.loop_start()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == f"marker/{self.paho._client_id.decode()}":
            self.marked.set()
        else:
            self.heard.append(message)

    def read_retained(self, qos: int) -> int:
        """How many retained messages came before an own marker did."""
        marker = f"marker/{self.paho._client_id.decode()}"
        self.paho.subscribe([("t/retained/+", SubscribeOptions(qos=qos)), (marker, SubscribeOptions(qos=1))])
        self.paho.publish(marker, b"-", qos=1)
        assert self.marked.wait(10)
        return len(self.heard)


@pytest.fixture(scope="module")
def publisher(embedded: EmbeddedBroker) -> Client:
    client = Client(embedded.url, "publisher")
    assert client.connected.wait(10)
    for number in range(RETAINED):
        last = client.paho.publish(f"t/retained/{number}", b"x", qos=1, retain=True)
    last.wait_for_publish(10)
    return client


@pytest.mark.usefixtures("publisher")
def test_retained_messages_read_with_qos_0_all_come_before_an_own_marker(embedded: EmbeddedBroker):
    client = Client(embedded.url, "reader-0")
    assert client.connected.wait(10)
    assert client.read_retained(0) == RETAINED


@pytest.mark.usefixtures("publisher")
def test_retained_messages_read_with_qos_1_are_cut_at_100(embedded: EmbeddedBroker):
    """The broker's fault that makes QoS 0 needed: when this fails, a newer iotcore mended it; take the detour out."""
    client = Client(embedded.url, "reader-1")
    assert client.connected.wait(10)
    assert client.read_retained(1) == 100


def test_a_wrong_password_is_refused(embedded: EmbeddedBroker):
    client = Client(embedded.url, "intruder", password="guess")
    assert client.refused.wait(10)
    assert not client.connected.is_set()


def test_it_listens_on_this_machine_alone(embedded: EmbeddedBroker):
    assert urlsplit(embedded.url).hostname == "127.0.0.1"
    assert embedded.is_running
