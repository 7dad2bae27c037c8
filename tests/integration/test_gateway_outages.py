"""A broker that is away for a week, a disk that is full, a file that is damaged: nothing lost, nothing twice."""

from __future__ import annotations

import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from gateway_parts import DISTRICT, Mosquitto, Town, eventually, town_of, wearer
from paho.mqtt.enums import CallbackAPIVersion

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentState
from contracts.reading import RETENTION_DAYS, Reading
from gateway.outbox import Drained
from gateway.rotation import Past
from gateway.uplink import Uplink
from tests.ingestkit.small_disk import SmallDisk

ROOT = Path(__file__).resolve().parents[2]
START = 1_762_502_940
WEEK_MIN = 7 * 1440
_numbers = itertools.count(1)


class SetClock:
    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


def minutes(pseudonym: str, count: int, start: int = START) -> list[Reading]:
    return [Reading(pseudonym=pseudonym, minute=start + 60 * i, hr=60.0, eda=2.0) for i in range(count)]


@pytest.fixture
def name() -> str:
    return f"outage-{next(_numbers)}"


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    keeps = f"persistence true\npersistence_location {tmp_path}/\n"  # what is retained outlasts `stop`
    mosquitto = Mosquitto(tmp_path, config=f"allow_anonymous true\nmax_queued_messages 0\n{keeps}")
    mosquitto.start()
    yield mosquitto
    mosquitto.kill()


def uplink(broker: BrokerAddress, name: str, folder: Path, **more) -> Uplink:
    return Uplink(broker=broker, gateway=name, district=DISTRICT, outbox=folder / "outbox", quiet_s=0.1, **more)


def test_a_week_without_a_broker_arrives_once_and_in_order(own_broker, name, tmp_path):
    people = [wearer(700 + i) for i in range(20)]
    clock = SetClock(START)
    with uplink(own_broker.address, name, tmp_path, clock=clock) as up:
        with town_of(own_broker.address, name) as town:
            for token, pseudonym in people:
                town.give(token, pseudonym)
            assert up.wait_for_consents([token for token, _ in people], 10)
            own_broker.stop()
        for hour in range(WEEK_MIN // 60):
            clock.at += 3600
            for number, (token, pseudonym) in enumerate(people):
                drained = Drained(token, 1, 360 * (hour + 1), int(clock.at))
                assert up.store(drained, minutes(pseudonym, 60, START + 3600 * hour + number % 2))
        assert up.status().outbox_rows == 20 * WEEK_MIN // 60
        assert clock.at - up.status().outbox_since == 7 * 86_400 - 3_600
        own_broker.start()
        with town_of(own_broker.address, name) as town:
            assert up.drain(60)
            eventually(lambda: len(town.readings) >= 20 * WEEK_MIN, seconds=30)
            kept = Counter(one.pseudonym for one in town.readings)
            assert kept == dict.fromkeys((pseudonym for _, pseudonym in people), WEEK_MIN)
            assert town.seqs == sorted(set(town.seqs))
            assert len({(one.pseudonym, one.minute) for one in town.readings}) == len(town.readings)
    assert up.status().minutes_dropped == {}


def test_after_a_lost_connection_the_consents_are_read_before_anything_is_sent(own_broker, name, tmp_path):
    """With messages in flight when the broker dies, of one who withdraws before the gateway is back."""
    token, pseudonym = wearer(730)
    other = wearer(731)
    with uplink(own_broker.address, name, tmp_path) as up:
        with town_of(own_broker.address, name) as town:
            town.give(token, pseudonym)
            town.give(*other)
            assert up.wait_for_consents([token, other[0]], 10)
            own_broker.freeze()
            up.accept(token, minutes(pseudonym, 1_200))
            up.accept(other[0], minutes(other[1], 60))
            eventually(lambda: len(up._publisher._sending._rows) > 10)
        own_broker.kill()
        own_broker.start()
        with town_of(own_broker.address, name) as town:
            town._revision = 1_000
            town.withdraw(token, pseudonym)
            town.give(*other)
            assert up.drain(30)
            eventually(lambda: len(town.readings) >= 60)
            assert {one.pseudonym for one in town.readings} == {other[1]}


def test_messages_expire_at_the_broker_when_no_store_would_take_them(own_broker, name, tmp_path):
    token, pseudonym = wearer(740)
    heard: list[mqtt.MQTTMessage] = []
    ear = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="ear", protocol=mqtt.MQTTv5)
    ear.on_message = lambda _client, _data, message: heard.append(message)
    ear.connect(own_broker.address.host, own_broker.address.port)
    ear.subscribe(wire.READINGS_FILTER, qos=1)
    ear.loop_start()
    clock = SetClock(START)
    with (
        town_of(own_broker.address, name) as town,
        uplink(own_broker.address, name, tmp_path, clock=clock) as up,
    ):
        town.give(token, pseudonym)
        assert up.wait_for_consents([token], 10)
        up.accept(token, minutes(pseudonym, 1))
        eventually(lambda: heard)
    ear.disconnect()
    ear.loop_stop()
    left_s = heard[0].properties.MessageExpiryInterval
    assert RETENTION_DAYS * 86_400 - 5 <= left_s <= RETENTION_DAYS * 86_400


def damage(up: Uplink, folder: Path) -> None:
    """Overwrite the outbox's file while it is open, with nothing of it in memory."""
    up._outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    up._outbox._db.execute("PRAGMA cache_size = 0")
    file = folder / "outbox" / "outbox.sqlite"
    with file.open("r+b") as damaged:
        damaged.write(b"\xff" * file.stat().st_size)


def test_an_outbox_that_is_damaged_while_it_is_used_is_put_aside_and_the_gateway_goes_on(
    own_broker, name, tmp_path, caplog
):
    token, pseudonym = wearer(750)
    with town_of(own_broker.address, name) as town, uplink(own_broker.address, name, tmp_path) as up:
        town.give(token, pseudonym)
        assert up.wait_for_consents([token], 10)
        damage(up, tmp_path)
        with caplog.at_level(logging.ERROR):
            for hour in range(100):
                if not up.store(Drained(token, 1, hour + 1), minutes(pseudonym, 60, START + 3600 * hour)):
                    break
            assert up.store(Drained(token, 1, 500), minutes(pseudonym, 60, START + 3600 * 200))
        assert up.drain(10)
        eventually(lambda: any(one.minute == START + 3600 * 200 for one in town.readings))
    assert "it is kept as outbox.damaged-1 and a new one begun" in caplog.text
    assert (tmp_path / "outbox" / "outbox.damaged-1").exists()


def test_a_damaged_outbox_knows_nothing_of_a_band_and_the_next_one_takes_it_in(name, tmp_path):
    up = uplink(BrokerAddress("127.0.0.1", 1), name, tmp_path)  # it is not connected
    up.note_past({"a band": Past(5)})
    damage(up, tmp_path)
    assert up.past("a band") is None
    up.note_past({"a band": Past(5)})
    assert up.past("a band") is not None


ON_A_DISK = """
import json, os, sys
from pathlib import Path
from contracts.broker_url import BrokerAddress
from contracts.reading import Reading
from gateway.outbox import Drained
from gateway.rotation import Past
from gateway.uplink import Uplink
folder, port, name, token, pseudonym = sys.argv[1:]
reading = Reading(pseudonym=pseudonym, minute=1_762_500_000, hr=60.0)
with Uplink(broker=BrokerAddress("127.0.0.1", int(port)), gateway=name, district="WK034403",
            outbox=Path(folder) / "outbox", quiet_s=0.1) as up:
    assert up.wait_for_consents([token], 20)
    file = (Path(folder) / "outbox" / "outbox.sqlite").open("r+b", buffering=0)
    for line in sys.stdin:
        if line.strip() == "damage":
            db = up._outbox._db
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA cache_size = 0")
            file.write(b"\\xff" * os.fstat(file.fileno()).st_size)
        stored = up.store(Drained(token, 1, 1), [reading]) if line.strip() == "store" else None
        up.note_past({"a band": Past(5)})
        print(json.dumps([stored, up.past("a band") is not None, up.status().outbox_rows]), flush=True)
"""


def test_the_gateway_bears_an_outbox_that_is_damaged_on_a_disk_that_became_read_only(own_broker, name, tmp_path):
    token, pseudonym = wearer(780)
    with town_of(own_broker.address, name) as town, SmallDisk(tmp_path / "disk", mebibytes=4) as disk:
        town.give(token, pseudonym)
        with user_of(disk, ON_A_DISK, own_broker.port, name, token, pseudonym) as gateway:

            def say(line: str) -> tuple[bool | None, bool, int]:
                gateway.stdin.write(line + "\n")
                gateway.stdin.flush()
                stored, known, rows = json.loads(gateway.stdout.readline())
                return stored, known, rows

            assert say("note")[1]
            disk.make_read_only()
            assert not say("damage")[1]
            for _ in range(2):
                assert say("store") == (False, False, 0)
            disk.make_writable()
            assert say("store")[:2] == (True, True)
        assert gateway.returncode == 0


def user_of(disk: SmallDisk, program: str, *words: object) -> subprocess.Popen[str]:
    """`program`, on that disk, with its path and these words."""
    return subprocess.Popen(
        [*disk.within, sys.executable, "-c", program, str(disk.path), *(str(word) for word in words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # the words of the disk do not keep the folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_who_hands_readings_in_does_not_wait_for_a_long_expiry(name, tmp_path, monkeypatch):
    up = uplink(BrokerAddress("127.0.0.1", 1), name, tmp_path)  # it is not connected
    expired: list[float] = []

    def expire(before: float) -> int:
        other = threading.Thread(target=up.note_frames, args=({"frame": 1},), daemon=True)
        other.start()
        other.join(5)
        expired.append(before)
        return 0 if other.is_alive() else 7

    monkeypatch.setattr(up._outbox, "expire", expire)
    up._housekeep()
    assert len(expired) == 1
    assert up.status().minutes_dropped == {"outbox-expired": 7}


FULL_DISK = """
import json, sys
from pathlib import Path
from contracts.broker_url import BrokerAddress
from contracts.reading import Reading
from gateway.outbox import Drained
from gateway.uplink import Uplink
folder, port, name, token, pseudonym = sys.argv[1:]
with Uplink(broker=BrokerAddress("127.0.0.1", int(port)), gateway=name, district="WK034403",
            outbox=Path(folder) / "outbox", quiet_s=0.1) as up:
    assert up.wait_for_consents([token], 20)
    hour = 0
    for line in sys.stdin:
        if line.strip() == "drain":
            done = up.drain(20)
        else:
            for _ in range(int(line)):
                minutes = [Reading(pseudonym=pseudonym, minute=1_762_500_000 + 3600 * hour + 60 * i, hr=60.0)
                           for i in range(60)]
                done = up.store(Drained(token, 1, 360 * (hour + 1), 0), minutes)
                if not done:
                    break
                hour += 1
        print(json.dumps([done, hour, up.drained(token, 1).seq, up.status().minutes_dropped]), flush=True)
"""


def test_on_a_full_disk_nothing_counts_as_read_and_with_room_again_all_goes_on(own_broker, name, tmp_path):
    token, pseudonym = wearer(760)
    with town_of(own_broker.address, name) as town, SmallDisk(tmp_path / "disk", mebibytes=4) as disk:
        town.give(token, pseudonym)
        with user_of(disk, FULL_DISK, own_broker.port, name, token, pseudonym) as gateway:

            def say(line: str) -> tuple[bool, int, int, dict[str, int]]:
                assert gateway.stdin is not None
                assert gateway.stdout is not None
                gateway.stdin.write(line + "\n")
                gateway.stdin.flush()
                done, hour, seq, dropped = json.loads(gateway.stdout.readline())
                return done, hour, seq, dropped

            assert say("3")[:3] == (True, 3, 1080)
            assert say("drain")[0]
            disk.fill()
            done, hour, seq, dropped = say("5000")
            assert not done  # so the band is not told to delete
            assert seq == 360 * hour
            assert dropped["outbox-failed"] == 60
            disk.make_room()
            done, more, seq, _ = say("2")
            assert (done, more, seq) == (True, hour + 2, 360 * (hour + 2))
            assert say("drain")[0]
            gateway.stdin.close()  # type: ignore[union-attr]
            gateway.wait(20)
        eventually(lambda: len({one.minute for one in town.readings}) == 60 * (hour + 2), seconds=20)


def test_a_withdrawal_while_away_leaves_no_gap_that_is_none(own_broker, name, tmp_path):
    people = [wearer(770), wearer(771)]
    with uplink(own_broker.address, name, tmp_path) as up:
        with town_of(own_broker.address, name) as town:
            for token, pseudonym in people:
                town.give(token, pseudonym)
            assert up.wait_for_consents([token for token, _ in people], 10)
        own_broker.kill()
        for token, pseudonym in people * 3:
            up.accept(token, minutes(pseudonym, 60))
        own_broker.start()
        spans: list[tuple[int, int]] = []
        with Voids(own_broker.address, name, spans) as town:
            town._revision = 1_000
            town.say(people[0][0], state=ConsentState.WITHDRAWN, pseudonym=people[0][1])
            town.give(*people[1])
            assert up.drain(20)
            eventually(lambda: {seq for a, b in spans for seq in range(a, b + 1)} == {1, 2, 3, 4, 5, 6})
            assert {one.pseudonym for one in town.readings} == {people[1][1]}


class Voids(Town):
    """Hears which numbers are covered."""

    def __init__(self, broker: BrokerAddress, name: str, spans: list[tuple[int, int]]) -> None:
        self._spans = spans
        super().__init__(broker, name)

    def __enter__(self) -> Voids:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _heard(self, client: object, data: object, message: mqtt.MQTTMessage) -> None:
        super()._heard(client, data, message)
        if not message.topic.endswith("/status"):
            decoded = wire.decode_readings(message.payload)
            self._spans.append((decoded.void_from or decoded.seq, decoded.seq))
