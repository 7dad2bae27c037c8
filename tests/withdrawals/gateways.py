"""Bad gateways: they go on sending what they should have dropped, in a process of their own."""

from __future__ import annotations

import threading
import time
from multiprocessing.synchronize import Event

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.reading import Reading

A_MESSAGE = 10
ENROLLED_BEFORE_S = 20 * 86_400


def send(address: BrokerAddress, district: str, pseudonyms: list[str], readings_per_s: int, stop: Event) -> None:
    """The body of their process: each person's minutes in turn, at a steady pace, QoS 1."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="gw-city", protocol=paho.MQTTv5)
    address.secure(client)
    client.max_inflight_messages_set(2000)
    client.max_queued_messages_set(20_000)
    client.reconnect_delay_set(1, 1)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect(address.host, address.port)
    client.loop_start()
    assert connected.wait(20)
    first = (int(time.time()) - ENROLLED_BEFORE_S) // 60 * 60
    topic = wire.readings_topic(district, "gw-city")
    begun, sent, minute = time.monotonic(), 0, 0
    while not stop.is_set():
        for at in range(0, len(pseudonyms), A_MESSAGE):
            readings = tuple(
                Reading(pseudonym=who, minute=first + 60 * minute, hr=61.25, rmssd=40.5, eda=2.5, worn=1.0)
                for who in pseudonyms[at : at + A_MESSAGE]
            )
            client.publish(topic, wire.encode(wire.ReadingsMessage(seq=sent + 1, readings=readings)), qos=1)
            sent += len(readings)
            ahead = sent / readings_per_s - (time.monotonic() - begun)
            if ahead > 0.01 and stop.wait(ahead):
                break
        minute += 1
    client.disconnect()
    client.loop_stop()
