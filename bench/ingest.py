"""Readings a second: through a real Mosquitto into DuckDB at 1, 10 and 50 a message; the store alone; the pure parts.

    .venv/bin/python bench/ingest.py [--readings 200000] [--json]

The publisher runs in a process of its own and has sent everything before ingest is let in, so that what is measured
is ingest: receive, decode, judge, store, acknowledge. CPU is that of the ingest process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contracts import wire
from contracts.consent import ConsentMessage, ConsentState, Cover, Purpose, band_token, new_pseudonym
from contracts.ports import StoredReading
from contracts.reading import FIELDS, Category, Reading
from ingest.admission import Heard, admit
from ingest.app import Ingest, open_store
from ingest.line_protocol import reading_lines

DISTRICT = "WK034401"
PEOPLE = 400
NOW = int(time.time()) // 60 * 60
PSEUDONYMS = [new_pseudonym(random.Random(number).randbytes(16)) for number in range(PEOPLE)]


def made_readings(count: int) -> list[Reading]:
    """`count` full readings of distinct (person, minute), person by person within an hour, as gateways send them."""
    chance = random.Random(1)
    values = [
        {name: round(chance.uniform(field.low, field.high), 2) for name, field in FIELDS.items()} for _ in range(97)
    ]
    found = []
    for number in range(count):
        block, minute = divmod(number, 50)
        hour, person = divmod(block, PEOPLE)
        at = NOW - 34 * 86_400 + 60 * (hour * 50 + minute)
        found.append(Reading(pseudonym=PSEUDONYMS[person], minute=at, **values[number % 97]))
    return found


def publish(port: int, readings: int, a_message: int, done: multiprocessing.Event) -> None:
    """Consents, then readings; sets `done` when the broker has acknowledged all."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench-gateway", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(2000)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for number, pseudonym in enumerate(PSEUDONYMS):
        message = ConsentMessage(
            revision=1,
            state=ConsentState.GIVEN,
            pseudonym=pseudonym,
            district=DISTRICT,
            purposes={Purpose.DISTRICT_INDEX: tuple(Category)},
            valid_until=NOW + 86_400,
        )
        token = band_token(b"k" * 16, str(number))
        last = client.publish(wire.consent_topic(token), wire.encode(message), qos=1, retain=True)
    last.wait_for_publish(30)
    topic = wire.readings_topic(DISTRICT, "bench-gateway")
    made = made_readings(readings)
    infos = [
        client.publish(
            topic, wire.encode(wire.ReadingsMessage(seq=start, readings=tuple(made[start : start + a_message]))), qos=1
        )
        for start in range(0, readings, a_message)
    ]
    for info in infos:
        info.wait_for_publish(300)
    done.set()
    client.disconnect()
    client.loop_stop()


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 1000000\nmax_inflight_messages 6000\n"
        "set_tcp_nodelay true\n"
    )
    program = "/usr/sbin/mosquitto"
    with subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL) as server:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        try:
            yield port
        finally:
            server.terminate()


def through_the_broker(readings: int, a_message: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name)) as port:
        folder = Path(name)
        store = open_store(f"duckdb:///{folder / 'readings.duckdb'}")
        url = f"mqtt://127.0.0.1:{port}"
        with Ingest(store=store, broker=url, rejects=folder / "rejects.sqlite") as first:
            first.wait_until_ready(20)  # makes the session in which all will queue
        done = multiprocessing.Event()
        sender = multiprocessing.Process(target=publish, args=(port, readings, a_message, done))
        sender.start()
        done.wait()
        sender.join()
        cpu, start = time.process_time(), time.perf_counter()
        with Ingest(store=store, broker=url, rejects=folder / "rejects.sqlite") as ingest:
            while ingest.counters().readings < readings:
                time.sleep(0.005)
            seconds = time.perf_counter() - start
            used = time.process_time() - cpu
        held = store.holdings().readings
        store.close()
        assert held == readings, f"{held} of {readings} stored"
    return {"readings_per_s": readings / seconds, "cpu_s_per_million": used / readings * 1e6}


def store_alone(readings: int, batch: int = 5_000) -> dict[str, float]:
    """With a million rows there already."""
    rows = [StoredReading(DISTRICT, reading) for reading in made_readings(1_000_000 + readings)]
    with tempfile.TemporaryDirectory() as name:
        store = open_store(f"duckdb:///{Path(name) / 'readings.duckdb'}")
        for start in range(0, 1_000_000, 50_000):
            store.write(rows[start : start + 50_000], [])
        longest = 0.0
        begin = time.perf_counter()
        for start in range(1_000_000, len(rows), batch):
            before = time.perf_counter()
            store.write(rows[start : start + batch], [])
            longest = max(longest, time.perf_counter() - before)
        seconds = time.perf_counter() - begin
        store.close()
    return {"readings_per_s": readings / seconds, "longest_write_ms": longest * 1e3}


def rate(items: int, act: Callable[[], object]) -> dict[str, float]:
    start = time.perf_counter()
    act()
    return {"readings_per_s": items / (time.perf_counter() - start)}


def pure_parts(readings: int) -> dict[str, dict[str, float]]:
    made = made_readings(readings)
    messages = [
        wire.ReadingsMessage(seq=start, readings=tuple(made[start : start + 50])) for start in range(0, readings, 50)
    ]
    payloads = [wire.encode(message) for message in messages]
    heard = [Heard(DISTRICT, message) for message in messages]
    heart = frozenset({Category.HEART})
    covers = {
        everything: {
            pseudonym: Cover(pseudonym=pseudonym, district=DISTRICT, categories=categories, purposes={}, valid_from=0)
            for pseudonym in PSEUDONYMS
        }
        for everything, categories in (("all", frozenset(Category)), ("heart", heart))
    }
    rows = [StoredReading(DISTRICT, reading) for reading in made]
    return {
        "decode": rate(readings, lambda: [wire.decode_readings(payload) for payload in payloads]),
        "admission, all categories": rate(readings, lambda: admit(heard, covers["all"], NOW)),
        "admission, heart only": rate(readings, lambda: admit(heard, covers["heart"], NOW)),
        "line protocol": rate(readings, lambda: reading_lines(rows)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = pure_parts(args.readings)
    figures["DuckDB alone, a million rows there"] = store_alone(args.readings)
    for a_message in (1, 10, 50):
        count = args.readings if a_message > 1 else args.readings // 4
        figures[f"Mosquitto to DuckDB, {a_message} a message"] = through_the_broker(count, a_message)
    if args.json:
        print(json.dumps(figures, indent=2))
        return
    for name, found in figures.items():
        print(f"{name:<40}" + "".join(f"  {key} {value:>12,.1f}" for key, value in found.items()))


if __name__ == "__main__":
    main()
