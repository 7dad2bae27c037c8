"""The whole gateway over a real Bumble radio in another process: bands, straps, hostile ones, and a radio that dies."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_parts import DISTRICT, KEY, Town, eventually, town_of

from contracts.broker_url import BrokerAddress
from contracts.consent import band_token, new_pseudonym
from contracts.reading import Category, Reading, Reason
from gateway import app

ROOT = Path(__file__).resolve().parents[2]
_numbers = itertools.count(1)


class Air:
    """The radio's process."""

    def __init__(self, port: int, *keys: Path) -> None:
        self.port = port
        self.events: list[dict[str, object]] = []
        self._answers: queue.Queue[object] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("gateway_air.py")), str(port), *map(str, keys)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._answers.get(timeout=20)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] in ("ready", "done"):
                self._answers.put(event)
            else:
                self.events.append(event)

    def tell(self, command: str, **more: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": command, **more}) + "\n")
        self.process.stdin.flush()
        self._answers.get(timeout=10)

    def seen(self, event: str, serial: str) -> list[object]:
        return [one.get("name") for one in self.events if one["event"] == event and one["band"] == serial]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def air(port: int) -> Iterator[Air]:
    air = Air(port)
    yield air
    air.kill()


@pytest.fixture
def name() -> str:
    return f"radio-{next(_numbers)}"


@pytest.fixture
def town(broker, name: str) -> Iterator[Town]:
    with town_of(BrokerAddress(broker.host, broker.port), name) as town:
        yield town


@contextmanager
def gateway(broker, name: str, port: int, folder: Path, slots: int = 5) -> Iterator[subprocess.Popen[str]]:
    """`wijkpols gateway run` in a process of its own."""
    code = (
        "import argparse, sys\nfrom contracts.ports import Fault\nfrom gateway import app\n"
        "parser = argparse.ArgumentParser()\napp.add_arguments(parser)\n"
        "try:\n    sys.exit(app.run(parser.parse_args()))\n"
        "except Fault as fault:\n    sys.exit(str(fault))\n"
    )
    options = {
        "--district": DISTRICT,
        "--radio": f"bumble:tcp-client:127.0.0.1:{port}",
        "--outbox": str(folder / "outbox"),
        "--slots": str(slots),
        "--broker-url": broker.url,
        "--name": name,
    }
    arguments = [word for option in options.items() for word in option]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "run", *arguments, "--verbose"],
            cwd=ROOT,
            stderr=log,
            text=True,
            env={**os.environ, "WIJKPOLS_BAND_KEY": KEY.hex()},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def worn(town: Town, number: int, categories=tuple(Category), *, maker: str = "WP") -> tuple[str, str]:
    """A serial whose wearer consents, and the pseudonym."""
    serial, pseudonym = f"{maker}-{number:06d}", new_pseudonym(number.to_bytes(16, "big"))
    town.give(band_token(KEY, serial), pseudonym, categories)
    return serial, pseudonym


def an_hour_ago() -> int:
    return int(time.time()) // 60 * 60 - 3600


def add(air: Air, serial: str, kind: str = "band", tick_s: float = 0.004, start: int | None = None) -> int:
    start = an_hour_ago() if start is None else start
    air.tell("add", serial=serial, kind=kind, start=start, tick_s=tick_s)
    return start


def test_a_bands_bytes_become_its_wearers_minutes(air, town, broker, name, tmp_path):
    serial, pseudonym = worn(town, 1001)
    start = add(air, serial)
    with gateway(broker, name, air.port, tmp_path) as process:
        eventually(lambda: len(town.readings) >= 4 and len(town.reports) >= 3, seconds=30, what="four minutes")
        end(process)
    eventually(lambda: not town.statuses[-1].online)
    status = town.statuses[-1]
    minutes = {reading.minute: reading for reading in town.readings}
    second = minutes[start + 60]
    assert second.rr_coverage is not None
    assert second.rr_coverage > 0.97
    # Out of its beats: 0.8 s is 819/1024 s on the air, hence not quite 75.
    assert second == Reading(
        pseudonym=pseudonym, minute=start + 60, hr=75.02, rmssd=0.0, sdnn=0.0, rr_coverage=second.rr_coverage,
        worn=1.0, eda=2.5, scr=0.0, skin_temp=33.12, motion=0.012,
    )  # fmt: skip
    assert sorted(minutes) == list(range(start, start + 60 * len(minutes), 60))
    assert status.published == status.minutes_made == len(minutes) == len(town.readings)
    assert sum(status.minutes_dropped.values()) <= 1  # the last, if too little of it was heard
    assert status.frames_rejected == {}
    report = town.reports[0]
    assert (report.pseudonym, report.safe, report.happy, report.reason) == (pseudonym, 8, 6, Reason.NOISE)
    assert report.at % 60 == 30
    assert air.seen("subscribed", serial) == [
        "current-time", "beat-timing", "heart-rate", "eda", "temperature", "motion", "self-report",
    ]  # fmt: skip
    log = (tmp_path / "log").read_text()
    assert pseudonym not in log
    assert serial not in log
    assert band_token(KEY, serial) not in log


def test_without_consent_nothing_but_the_serial_is_read(air, town, broker, name, tmp_path):
    add(air, "WP-001101")
    with gateway(broker, name, air.port, tmp_path) as process:
        eventually(lambda: air.seen("disconnected", "WP-001101"), seconds=20)
        worn(town, 1101, [Category.MOTION])  # and with consent it is read, at once
        eventually(lambda: air.seen("subscribed", "WP-001101") == ["current-time", "motion"], seconds=20)
        assert len(air.seen("connected", "WP-001101")) == 2
        eventually(lambda: town.readings, seconds=20)
        end(process)
    assert all(set(dict(reading.values())) == {"motion"} for reading in town.readings)
    assert town.reports == []


def test_a_withdrawal_drops_the_band_and_forgets_the_open_minute(air, town, broker, name, tmp_path):
    serial, pseudonym = worn(town, 1201)
    add(air, serial)
    with gateway(broker, name, air.port, tmp_path) as process:
        eventually(lambda: town.readings, seconds=30)
        town.withdraw(band_token(KEY, serial), pseudonym)
        eventually(lambda: air.seen("disconnected", serial), seconds=5)
        end(process)
    eventually(lambda: not town.statuses[-1].online)
    heard = len(town.readings)
    assert town.statuses[-1].minutes_dropped["withdrawn"] >= 1
    assert len(air.seen("subscribed", serial)) == 7  # it was not subscribed to again
    assert town.statuses[-1].published == heard


def test_a_plain_strap_is_read_by_the_clock_of_the_gateway(air, town, broker, name, tmp_path):
    serial, _ = worn(town, 1301, maker="HR")
    add(air, serial, "strap", tick_s=0.15)
    with gateway(broker, name, air.port, tmp_path) as process:
        eventually(lambda: len(air.seen("measured", serial)) >= 6, seconds=20)
        end(process)
    eventually(lambda: not town.statuses[-1].online)
    status = town.statuses[-1]
    assert air.seen("subscribed", serial) == ["heart-rate"]
    # A minute has five beats at least; the profile's time of a band would have been an hour ago.
    assert set(status.minutes_dropped) <= {"too-little-signal"}
    assert status.minutes_made + sum(status.minutes_dropped.values()) >= 1
    assert status.frames_rejected == {}


def test_a_hostile_peripheral_is_rejected_and_harms_nobody(air, town, broker, name, tmp_path):
    good, pseudonym = worn(town, 1401)
    bad, _ = worn(town, 1402)
    add(air, bad, "hostile", tick_s=0.001)
    add(air, good)
    with gateway(broker, name, air.port, tmp_path) as process:
        eventually(lambda: len(town.readings) >= 4, seconds=30)
        end(process)
    eventually(lambda: not town.statuses[-1].online)
    assert {reading.pseudonym for reading in town.readings} == {pseudonym}
    rejected = town.statuses[-1].frames_rejected
    assert rejected["eda:truncated"] > 10
    assert {key.split(":")[0] for key in rejected} >= {"heart-rate", "beat-timing", "motion", "current-time"}
    assert "fault of the gateway" not in (tmp_path / "log").read_text()
    assert not [key for key in rejected if key.endswith(":internal")]


def test_a_band_that_vanishes_and_comes_back_goes_on_with_its_minute(air, town, broker, name, tmp_path):
    serial, _ = worn(town, 1501)
    start = add(air, serial)
    with gateway(broker, name, air.port, tmp_path) as process:
        eventually(lambda: len(town.readings) >= 1, seconds=30)
        air.tell("vanish", serial=serial)
        air.tell("return", serial=serial)
        eventually(lambda: len(air.seen("connected", serial)) == 2, seconds=20)
        before = len(town.readings)
        eventually(lambda: len(town.readings) >= before + 2, seconds=20)
        end(process)
    eventually(lambda: not town.statuses[-1].online)
    status = town.statuses[-1]
    counts = Counter(reading.minute for reading in town.readings)
    assert max(counts.values()) == 1
    last = max(counts)
    assert (
        (last - start) // 60 + 1
        <= status.minutes_made + sum(status.minutes_dropped.values())
        <= (last - start) // 60 + 2
    )


def test_more_bands_than_slots_wait_for_their_turn(air, town, broker, name, tmp_path):
    serials = {worn(town, 1600 + i)[0] for i in range(3)}
    for serial in serials:
        add(air, serial)
    served: set[str] = set()
    with gateway(broker, name, air.port, tmp_path, slots=1) as process:
        while served != serials:
            eventually(lambda: read_of(air, serials) - served, seconds=20)
            (serial,) = read_of(air, serials) - served
            served.add(serial)
            air.tell("vanish", serial=serial)
        end(process)


def read_of(air: Air, serials: set[str]) -> set[str]:
    return {serial for serial in serials if air.seen("subscribed", serial)}


def test_a_radio_that_dies_is_told_and_opened_again(town, broker, name, port, tmp_path):
    serial, _ = worn(town, 1701)
    first = Air(port, tmp_path / "keys.json")
    with gateway(broker, name, port, tmp_path) as process:
        try:
            start = add(first, serial)
            eventually(lambda: len(town.readings) >= 2, seconds=30)
        finally:
            first.kill()
        eventually(lambda: "is lost" in (tmp_path / "log").read_text(), seconds=10, what="the clear line")
        second = Air(port, tmp_path / "keys.json")
        try:
            before = len(town.readings)
            add(second, serial, start=start + 1800)
            eventually(lambda: len(town.readings) >= before + 2, seconds=30)
            end(process)
        finally:
            second.kill()
    eventually(lambda: not town.statuses[-1].online)
    assert town.statuses[-1].minutes_dropped["not-heard"] > 10
    assert town.statuses[-1].turns == {"radio-lost": 2}  # neither end was a failure of the band
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_radio_that_was_never_there_is_one_clear_line(broker, name, port, tmp_path):
    with gateway(broker, name, port, tmp_path) as process:
        assert process.wait(60) == 1
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert "cannot be opened" in last
    assert "--radio" in last


def test_a_book_of_bonds_that_cannot_be_begun_is_one_clear_line(broker, name, air, tmp_path):
    (tmp_path / "outbox" / "bonds.new").mkdir(parents=True)  # no file of this name can be written
    with gateway(broker, name, air.port, tmp_path) as process:
        assert process.wait(60) == 1
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert "bonds.json cannot be written (Is a directory): is the disk full?" in last


def test_the_status_is_told_in_words(town, broker, name, tmp_path, air, capsys):
    with gateway(broker, name, air.port, tmp_path) as process:
        eventually(lambda: town.statuses, seconds=20)
        end(process)
    parser = argparse.ArgumentParser()
    app.add_arguments(parser)
    assert app.run(parser.parse_args(["status", "--broker-url", broker.url, "--name", name])) == app.OFFLINE
    assert f"{name} in {DISTRICT}: offline" in capsys.readouterr().out
