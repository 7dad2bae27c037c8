"""Readings a second through the uplink (gate, outbox on disk, Mosquitto, PUBACK), 60 a message, from one process."""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentMessage, ConsentState, Purpose, band_token, new_pseudonym
from contracts.reading import Category, Reading
from gateway.uplink import Uplink

START = 1_760_000_040
DAY = 270  # minutes of a person-day


def start_broker(folder: Path) -> tuple[subprocess.Popen[bytes], BrokerAddress]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 6000\n")
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        raise SystemExit("this needs mosquitto: run 'make test-deps'")
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", port)):
        time.sleep(0.02)
    return process, BrokerAddress("127.0.0.1", port)


def give_consents(broker: BrokerAddress, people: list[tuple[str, str]]) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    for token, pseudonym in people:
        message = ConsentMessage(
            revision=1, state=ConsentState.GIVEN, pseudonym=pseudonym, valid_until=4_000_000_000,
            purposes={Purpose.DISTRICT_INDEX: tuple(Category)},
        )  # fmt: skip
        sent = client.publish(wire.consent_topic(token), wire.encode(message), qos=1, retain=True)
    sent.wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


@contextmanager
def listening(broker: BrokerAddress) -> Iterator[None]:
    """Somebody takes what goes out: what nobody takes a gateway keeps, and sends again."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect(broker.host, broker.port)
    client.subscribe(wire.READINGS_FILTER)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=400)
    people_n = parser.parse_args().people
    people = [(band_token(b"k" * 16, f"WP-{i:06d}"), new_pseudonym(i.to_bytes(16, "big"))) for i in range(people_n)]
    days = [
        [
            Reading(
                pseudonym=pseudonym, minute=START + 60 * i, hr=71.52, rmssd=31.25, sdnn=44.1, rr_coverage=0.913,
                worn=1.0, eda=2.3512, scr=3.0, skin_temp=33.15, motion=0.0123,
            )
            for i in range(DAY)
        ]
        for _, pseudonym in people
    ]  # fmt: skip
    total = people_n * DAY
    with tempfile.TemporaryDirectory() as folder:
        process, broker = start_broker(Path(folder))
        try:
            give_consents(broker, people)
            with (
                listening(broker),
                Uplink(broker=broker, gateway="bench", district="WK034403", outbox=Path(folder) / "outbox") as uplink,
            ):
                assert uplink.wait_for_consents([token for token, _ in people], 30)
                begun, cpu = time.perf_counter(), time.process_time()
                for (token, _), readings in zip(people, days, strict=True):
                    uplink.accept(token, readings)
                accepted = time.perf_counter() - begun
                assert uplink.drain(120)
                spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
                assert uplink.status().published == total
        finally:
            process.terminate()
            process.wait()
    print(f"{total:,} readings of {people_n} people: {total / spent:,.0f} readings/s acknowledged")
    print(f"  into the outbox within {accepted:.2f} s, all acknowledged after {spent:.2f} s, {cpu:.2f} s of CPU")


if __name__ == "__main__":
    main()
