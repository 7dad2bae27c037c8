"""The uplink on a real Mosquitto: all that is covered arrives, and nothing else."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_parts import DISTRICT, Mosquitto, Town, eventually, town_of, wearer

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentState
from contracts.reading import Category, Reading, SelfReport
from gateway.rotation import Counts
from gateway.uplink import Uplink

START = 1_762_502_940
_numbers = itertools.count(1)


def minutes(pseudonym: str, count: int, start: int = START) -> list[Reading]:
    return [Reading(pseudonym=pseudonym, minute=start + 60 * i, hr=60.0, eda=2.0) for i in range(count)]


@pytest.fixture
def name() -> str:
    return f"uplink-{next(_numbers)}"


@pytest.fixture
def address(broker) -> BrokerAddress:
    return BrokerAddress(broker.host, broker.port)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    mosquitto.start()
    yield mosquitto
    mosquitto.kill()


def uplink(broker: BrokerAddress, name: str, folder: Path, **more) -> Uplink:
    return Uplink(broker=broker, gateway=name, district=DISTRICT, outbox=folder / "outbox", quiet_s=0.1, **more)


@pytest.fixture
def town(address: BrokerAddress, name: str) -> Iterator[Town]:
    with town_of(address, name) as town:
        yield town


def test_all_that_is_covered_arrives_once_and_in_order(address, town, name, tmp_path):
    people = [wearer(100 + i) for i in range(20)]
    for token, pseudonym in people:
        town.give(token, pseudonym)
    with uplink(address, name, tmp_path) as up:
        assert up.wait_for_consents([token for token, _ in people], 10)
        for token, pseudonym in people:
            report = SelfReport(pseudonym=pseudonym, at=START, safe=8, happy=7)
            assert up.accept(token, minutes(pseudonym, 500), [report]) == 500
        assert up.drain(20)
        status = up.status()
    assert status.published == status.minutes_made == 10_000
    assert status.outbox_rows == 0
    eventually(lambda: len(town.readings) >= 10_000 and len(town.reports) >= 20)
    assert sorted((r.pseudonym, r.minute) for r in town.readings) == sorted(
        (pseudonym, START + 60 * i) for _, pseudonym in people for i in range(500)
    )
    assert town.seqs == list(range(1, len(town.seqs) + 1))


def test_without_consent_nothing_is_sent(address, town, name, tmp_path):
    token, pseudonym = wearer(200)
    with uplink(address, name, tmp_path) as up:
        assert up.wait_for_consents(0, 10)
        assert up.cover(token) is None
        assert up.accept(token, minutes(pseudonym, 3)) == 0
        assert up.drain(10)
        assert up.status().minutes_dropped == {"consent-missing": 3}
        assert up.status().outbox_rows == 0
    eventually(lambda: town.statuses and not town.statuses[-1].online)
    assert town.readings == []


def test_only_consented_categories_are_sent(address, town, name, tmp_path):
    token, pseudonym = wearer(210)
    town.give(token, pseudonym, [Category.HEART], valid_from=START + 60)
    with uplink(address, name, tmp_path) as up:
        assert up.wait_for_consents([token], 10)
        assert (
            up.accept(token, [*minutes(pseudonym, 2), Reading(pseudonym=pseudonym, minute=START + 120, eda=1.0)]) == 1
        )
        assert up.drain(10)
        assert up.status().minutes_dropped == {"before-consent": 1, "consent-category": 1}
    eventually(lambda: town.readings)
    assert town.readings == [Reading(pseudonym=pseudonym, minute=START + 60, hr=60.0)]


def test_what_was_made_without_a_broker_arrives_when_it_is_back(own_broker, name, tmp_path):
    token, pseudonym = wearer(220)
    with town_of(own_broker.address, name) as town:
        town.give(token, pseudonym)
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.wait_for_consents([token], 10)
            up.accept(token, minutes(pseudonym, 100))
            assert up.drain(10)
            eventually(lambda: len(town.readings) == 100)
            own_broker.kill()
            up.accept(token, minutes(pseudonym, 200, START + 6000))
            assert not up.drain(0.2)
            assert up.status().outbox_rows > 0
            own_broker.start()  # it has forgotten the consents
            town.give(token, pseudonym)
            assert up.drain(20)
        eventually(lambda: len({r.minute for r in town.readings}) == 300)
        assert {r.minute for r in town.readings} == {START + 60 * i for i in range(300)}


def test_a_restarted_gateway_sends_what_it_had_not(own_broker, name, tmp_path):
    token, pseudonym = wearer(230)
    with town_of(own_broker.address, name) as town:
        town.give(token, pseudonym)
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.wait_for_consents([token], 10)
            own_broker.kill()
            up.accept(token, minutes(pseudonym, 5))
        own_broker.start()
        town.give(token, pseudonym)
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.drain(20)
        eventually(lambda: len(town.readings) == 5)


def test_after_a_restart_nothing_goes_before_its_consent_is_known(own_broker, name, tmp_path):
    token, pseudonym = wearer(240)
    with town_of(own_broker.address, name) as town:
        town.give(token, pseudonym)
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.wait_for_consents([token], 10)
            own_broker.kill()
            up.accept(token, minutes(pseudonym, 5))
        own_broker.start()
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.wait_for_consents(0, 20)
            assert up.drain(5)  # nothing may be sent
            assert up.status().outbox_rows == 1
            assert town.readings == []
            town.give(token, pseudonym)
            eventually(lambda: len(town.readings) == 5)


@pytest.mark.parametrize("state", [ConsentState.WITHDRAWN, ConsentState.LAPSED])
def test_a_consent_that_ended_purges_the_outbox_also_when_the_gateway_was_away(own_broker, name, tmp_path, state):
    (anna, her), (bram, him) = wearer(250), wearer(251)
    with town_of(own_broker.address, name) as town:
        for token, pseudonym in ((anna, her), (bram, him)):
            town.give(token, pseudonym)
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.wait_for_consents([anna, bram], 10)
            own_broker.kill()
            up.accept(anna, minutes(her, 5))
            up.accept(bram, minutes(him, 5))
        own_broker.start()
        town.say(anna, state=state, pseudonym=her)
        town.give(bram, him)
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.drain(20)
            eventually(lambda: up.status().outbox_rows == 0)
            assert up.status().minutes_dropped == {"outbox-withdrawn": 5}
        eventually(lambda: len(town.readings) == 5)
        assert {r.pseudonym for r in town.readings} == {him}
    assert all(her.encode() not in file.read_bytes() for file in (tmp_path / "outbox").iterdir())


def test_what_comes_after_the_outbox_was_damaged_is_sent_too(address, town, name, tmp_path):
    """The new one counts its messages anew."""
    token, pseudonym = wearer(265)
    town.give(token, pseudonym)
    with uplink(address, name, tmp_path) as up:
        assert up.wait_for_consents([token], 10)
        for i in range(3):
            up.accept(token, minutes(pseudonym, 1, START + 60 * i))
        assert up.drain(20)
        up._outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        up._outbox._db.execute("PRAGMA cache_size = 0")
        file = tmp_path / "outbox" / "outbox.sqlite"
        with file.open("r+b") as damaged:
            damaged.seek(4096)
            damaged.write(os.urandom(file.stat().st_size - 4096))
        up.accept(token, minutes(pseudonym, 1, START + 180))
        up.accept(token, minutes(pseudonym, 1, START + 240))
        assert up.drain(20)
    eventually(lambda: START + 240 in {one.minute for one in town.readings})


def test_a_narrowed_consent_narrows_the_outbox(own_broker, name, tmp_path):
    token, pseudonym = wearer(260)
    with town_of(own_broker.address, name) as town:
        town.give(token, pseudonym)
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.wait_for_consents([token], 10)
            own_broker.kill()
            up.accept(token, minutes(pseudonym, 2))
        own_broker.start()
        town.give(token, pseudonym, [Category.SKIN], valid_from=START + 60)
        with uplink(own_broker.address, name, tmp_path) as up:
            assert up.drain(20)
        eventually(lambda: town.readings)
        assert town.readings == [Reading(pseudonym=pseudonym, minute=START + 60, eda=2.0)]


def test_a_change_of_consent_is_told(address, town, name, tmp_path):
    token, pseudonym = wearer(270)
    told: list[str] = []
    with uplink(address, name, tmp_path, on_consent=told.append) as up:
        assert up.wait_for_consents(0, 10)
        told.clear()  # what other tests left on the broker
        town.give(token, pseudonym)
        eventually(lambda: told == [token])
        assert up.cover(token) is not None
        town.withdraw(token, pseudonym)
        eventually(lambda: told == [token, token])
        assert up.cover(token) is None
        town.give(token, pseudonym)
        eventually(lambda: up.cover(token) is not None)
        town.clear(token)
        eventually(lambda: up.cover(token) is None)


def test_a_malformed_consent_covers_nothing(address, town, name, tmp_path):
    token, pseudonym = wearer(280)
    town.give(token, pseudonym)
    with uplink(address, name, tmp_path) as up:
        assert up.wait_for_consents([token], 10)
        town._publish(token, b'{"v":2}')
        eventually(lambda: up.cover(token) is None)
        town.clear(token)


def test_the_status_is_retained_and_the_last_will_says_offline(address, town, name, tmp_path):
    with uplink(address, name, tmp_path, slots=5, version="1.2") as up:
        up.note_minutes({"not-worn": 3})
        up.note_frames({"eda:truncated": 2})
        up.note_bands(Counts(heard=4, connected=2, waiting=1, read=3, without_consent=1))
        eventually(lambda: town.statuses)
        assert town.statuses[-1].online
    eventually(lambda: not town.statuses[-1].online)
    last = town.statuses[-1]
    assert (last.gateway, last.district, last.slots, last.version) == (name, DISTRICT, 5, "1.2")
    assert (last.minutes_dropped, last.frames_rejected) == ({"not-worn": 3}, {"eda:truncated": 2})
    assert (last.bands_heard, last.bands_connected, last.bands_without_consent) == (4, 0, 1)
    with town_of(address, name) as later:
        eventually(lambda: later.statuses)
        assert later.statuses[0] == last


def test_a_wrong_password_is_said_in_the_log_without_the_password(name, tmp_path, caplog):
    (tmp_path / "passwords").touch()
    mosquitto = Mosquitto(tmp_path, config=f"allow_anonymous false\npassword_file {tmp_path}/passwords\n")
    mosquitto.start()
    try:
        broker = mosquitto.address._replace(username="gw", password="s3cret")
        with caplog.at_level(logging.ERROR), uplink(broker, name, tmp_path):
            eventually(lambda: "check user and password" in caplog.text)
        assert "s3cret" not in caplog.text
    finally:
        mosquitto.kill()


def test_a_broker_that_is_not_there_is_said_once_and_costs_nothing(name, tmp_path, caplog):
    with (
        caplog.at_level(logging.ERROR),
        uplink(BrokerAddress("127.0.0.1", 1), name, tmp_path) as up,
    ):
        eventually(lambda: "cannot be reached" in caplog.text)
        assert up.status().outbox_rows == 0
    assert caplog.text.count("cannot be reached") == 1


def test_a_gateway_that_may_not_publish_keeps_its_readings(name, tmp_path, caplog):
    (tmp_path / "acl").write_text(
        "topic read wijkpols/#\ntopic write wijkpols/v1/gateways/#\ntopic write wijkpols/v1/consents/#\n"
    )
    mosquitto = Mosquitto(tmp_path, config=f"allow_anonymous true\nacl_file {tmp_path}/acl\n")
    mosquitto.start()
    token, pseudonym = wearer(290)
    try:
        with town_of(mosquitto.address, name) as town, caplog.at_level(logging.ERROR):
            town.give(token, pseudonym)
            with uplink(mosquitto.address, name, tmp_path) as up:
                assert up.wait_for_consents([token], 10)
                up.accept(token, minutes(pseudonym, 5))
                eventually(lambda: "refuses this gateway's readings" in caplog.text)
                assert not up.drain(0.1)
                assert up.status().outbox_rows == 1
    finally:
        mosquitto.kill()


def test_wire_names_are_checked_at_once(address, tmp_path):
    with pytest.raises(wire.Malformed):
        uplink(address, "No Name", tmp_path)


def test_what_a_killed_broker_had_acknowledged_a_moment_before_is_sent_again(own_broker, name, tmp_path):
    """Mosquitto acknowledges before it writes to its disk: this one has forgotten all of it."""
    (token, pseudonym), (other, other_pseudonym) = wearer(900), wearer(901)
    with uplink(own_broker.address, name, tmp_path) as up:
        with town_of(own_broker.address, name) as town:
            town.give(token, pseudonym)
            town.give(other, other_pseudonym)
            assert up.wait_for_consents([token, other], 10)
            up.accept(token, minutes(pseudonym, 100))
            up.accept(other, minutes(other_pseudonym, 10))
            assert up.drain(20)
            town.withdraw(other, other_pseudonym)
            eventually(lambda: up.cover(other) is None)
        own_broker.kill()
        own_broker.start()
        town = Town(own_broker.address, name)
        try:
            town.give(token, pseudonym)
            eventually(lambda: len(town.readings) == 100, what="sending again")
            assert {reading.pseudonym for reading in town.readings} == {pseudonym}
            eventually(lambda: up.status().published == 110)
        finally:
            town.close()
