"""What gateways say of wearers who stopped by their bands: the newest word counts, and each is told once."""

from __future__ import annotations

import json
from contextlib import suppress

import paho.mqtt.client as mqtt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from api.app import Registry
from api.band_stops import BandStops
from api.moves import Moves
from api.receipt_check import check
from api.receipts import Receipts
from api.records import Event
from api.tables import VOLUNTEERS
from contracts import wire
from contracts.consent import STOP_CLOCK_S, ConsentState, band_key, band_token
from tests.api_support import BAND_KEY, CHOICES, ManualClock
from tests.servers import Broker

pytestmark = pytest.mark.usefixtures("database")
BAND, OTHER = (band_token(band_key(BAND_KEY), serial) for serial in ("WP-000001", "WP-000002"))


@pytest.fixture
def stops(registry: Registry, clock: ManualClock) -> BandStops:
    return BandStops(registry.ledger, clock=clock)


@pytest.fixture
def person(registry: Registry, clock: ManualClock) -> str:
    code = registry.ledger.add_band("WP-000001")
    done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    clock.time += 3_600
    return done.record.principal_id


def stop(clock: ManualClock, ago: int = 0, band: str = BAND, press: int = 0) -> wire.Stop:
    return wire.Stop(band=band, pressed_at=int(clock.time) - ago, press=press)


def test_a_stop_is_a_withdrawal_of_everything_without_erasure(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    registry.outbox.mark_sent([(BAND, 1_000)])
    assert stops.heard(stop(clock, ago=600))
    record = registry.ledger.current(person)
    assert (record.event, record.purposes, record.erase) == (Event.WITHDRAWN, {}, False)
    assert (record.at, record.pressed_at) == (clock.time, clock.time - 600)
    ((token, message),) = registry.outbox.unsent()
    assert (token, message.state) == (BAND, ConsentState.WITHDRAWN)
    assert registry.ledger.verify() is None


def test_its_receipt_says_when_the_button_was_held_and_each_statement_holds(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    receipts = Receipts(registry.engine, clock=clock)
    given = receipts.last(person)
    stops.heard(stop(clock, ago=600))
    told = receipts.last(person)
    assert told["record"]["status"]["bandPressedAt"] < told["record"]["status"]["indicatedAt"]
    assert all(statement.holds for statement in check(told, engine=registry.engine, receipts=receipts))
    wrong = {**told, "record": {**told["record"], "status": {**told["record"]["status"]}}}
    wrong["record"]["status"]["bandPressedAt"] = "2026-01-01T00:00:00+00:00"
    assert not all(statement.holds for statement in check(wrong, engine=registry.engine, receipts=receipts))
    assert all(statement.holds for statement in check(given, engine=registry.engine, receipts=receipts))


def test_what_is_told_again_or_by_another_gateway_changes_nothing(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    stops.heard(stop(clock))
    before = registry.ledger.history(person)
    for later in (0, 40, 86_400):
        clock.time += later
        assert not stops.heard(stop(clock, ago=later))
    assert registry.ledger.history(person) == before


@pytest.mark.parametrize(("chosen_s_after", "counts"), [(0, True), (STOP_CLOCK_S, True), (STOP_CLOCK_S + 1, False)])
def test_a_stop_that_comes_late_does_not_undo_a_choice_after_it(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock, chosen_s_after: int, counts: bool
) -> None:
    pressed = stop(clock)
    clock.time += chosen_s_after
    registry.ledger.change(person, CHOICES)
    clock.time += 14 * 86_400
    assert stops.heard(pressed) is counts
    assert registry.ledger.current(person).stands is not counts


def test_a_press_that_the_ledger_had_ends_no_choice_after_it_however_young_the_band_says_it_is(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    assert stops.heard(stop(clock, press=7))
    clock.time += 60
    registry.ledger.change(person, CHOICES)
    Moves(registry.ledger, clock=clock).to_district(person, "WK034404")
    clock.time += 86_400
    message = registry.outbox.message_for(BAND)
    assert message is not None
    assert [message.ended_by(clock.time, press) for press in (7, 8, 0)] == [False, True, True]
    assert not stops.heard(stop(clock, press=7))  # the band was flat: it counts from now
    assert registry.ledger.current(person).stands
    assert stops.heard(stop(clock, press=8))


def test_a_move_to_another_district_is_no_choice_and_a_move_to_another_band_is(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    moves = Moves(registry.ledger, clock=clock)
    pressed_before = stop(clock, band=OTHER)  # by whoever wore it then
    clock.time += 60
    moves.to_band(person, registry.ledger.add_band("WP-000002"))
    assert not stops.heard(pressed_before)
    clock.time += 60
    pressed = stop(clock, band=OTHER)
    clock.time += 60
    moves.to_district(person, "WK034404")
    moves.to_district(person, "WK034403")
    ((_, message),) = [said for said in registry.outbox.all_after("") if said[1].pseudonym == person]
    assert message.ended_by(pressed.pressed_at)
    assert stops.heard(pressed)


def test_a_choice_after_a_stop_starts_afresh(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    stops.heard(stop(clock))
    clock.time += 60
    record = registry.ledger.change(person, CHOICES)
    assert (record.stands, record.pressed_at) == (True, 0)
    assert registry.outbox.message_for(BAND).state is ConsentState.GIVEN  # type: ignore[union-attr]
    clock.time += 60
    erased = registry.ledger.withdraw(person, erase=True)
    assert erased.pressed_at == 0


def test_a_band_of_nobody_or_unknown_stops_nobody(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    registry.ledger.add_band("WP-000002")
    assert not stops.heard(stop(clock, band=OTHER))
    assert not stops.heard(stop(clock, band="a" * 26))
    assert registry.ledger.current(person).stands


def test_a_gateway_whose_clock_is_ahead_tells_no_future(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    assert stops.heard(stop(clock, ago=-86_400))
    assert registry.ledger.current(person).pressed_at == clock.time


def test_a_spoilt_event_does_not_hold_up_what_comes_after_it(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock
) -> None:
    code = registry.ledger.add_band("WP-000002")
    other = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    registry.ledger.withdraw(other.record.principal_id, erase=True)
    done = wire.Erasure(revision=3, readings=0, reports=0, asked_at=int(clock.time), erased_at=clock.time)
    registry.ledger.record_erasure(other.record.principal_id, done)
    with registry.engine.begin() as connection:  # the last word is an erasure: no choice
        connection.execute(update(VOLUNTEERS).where(VOLUNTEERS.c.pseudonym == person).values(last_event=4))
    assert not stops.heard(stop(clock))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.binary(max_size=200) | st.from_type(object).map(repr).map(str.encode))
def test_any_bytes_are_a_stop_or_malformed(payload: bytes) -> None:
    with suppress(wire.Malformed):
        wire.decode_stop(payload)


@pytest.mark.parametrize("pressed_at", [-(10**30), -1, wire.NUMBER_MAX, 2**62, 2**64, 10**30, 1.5, "1", None])
def test_a_moment_that_cannot_be_is_malformed_and_the_text_says_nothing_of_it(pressed_at: object) -> None:
    payload = json.dumps({"band": BAND, "pressed_at": pressed_at}).encode()
    with pytest.raises(wire.Malformed) as fault:
        wire.decode_stop(payload)
    assert str(fault.value) in ("range", "schema")


@pytest.mark.parametrize(("pressed_at", "counts"), [(0, False), (wire.NUMBER_MAX - 1, True)])
def test_a_moment_of_long_ago_or_far_ahead_is_taken_for_what_it_can_be(
    registry: Registry, stops: BandStops, person: str, clock: ManualClock, pressed_at: int, counts: bool
) -> None:
    assert stops.heard(wire.Stop(band=BAND, pressed_at=pressed_at)) is counts
    assert registry.ledger.current(person).pressed_at == (clock.time if counts else 0)


@pytest.mark.parametrize("number", [-1, 2**63, 10**30])
def test_an_erasure_by_numbers_that_no_registry_holds_is_malformed(number: int) -> None:
    payload = json.dumps({"revision": number, "readings": 0, "reports": 0, "asked_at": 0, "erased_at": 0}).encode()
    with pytest.raises(wire.Malformed):
        wire.decode_erasure(payload)


def test_a_gateway_that_says_stop_without_end_does_not_hold_up_what_is_published(
    registry: Registry, clock: ManualClock
) -> None:
    publisher = registry.publisher("mqtt://127.0.0.1:1")
    assert publisher is not None
    word = mqtt.MQTTMessage(1, wire.stop_topic("gw").encode())
    word.qos, word.payload = 1, wire.encode(wire.Stop(band=OTHER, pressed_at=int(clock.time)))

    class Endless(BandStops):
        said = 0

        def heard(self, stop: wire.Stop) -> bool:
            self.said += 1
            assert self.said <= 200, "it goes on as long as more is said"
            publisher._on_message(publisher._client, None, word)
            return super().heard(stop)

    endless = publisher._stops = Endless(registry.ledger, clock=clock)
    publisher._on_message(publisher._client, None, word)
    publisher._take_in()
    assert endless.said
    assert publisher._wake.is_set()  # it goes on with them after a look at the outbox


def test_what_asks_for_no_acknowledgement_takes_no_place_in_the_queue(registry: Registry) -> None:
    publisher = registry.publisher("mqtt://127.0.0.1:1")
    assert publisher is not None
    for _ in range(1_000):
        publisher._on_message(publisher._client, None, mqtt.MQTTMessage(0, wire.stop_topic("gw").encode()))
    assert publisher._stops_in.empty()


def test_a_flood_of_stops_leaves_room_for_an_erasure(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    publisher = registry.publisher("mqtt://127.0.0.1:1")
    assert publisher is not None
    for number in range(2_000):
        word = mqtt.MQTTMessage(number, wire.stop_topic("gw").encode())
        word.qos = 1
        publisher._on_message(publisher._client, None, word)
    erased = mqtt.MQTTMessage(2_000, wire.erasure_topic("a" * 26).encode())
    erased.qos = 1
    publisher._on_message(publisher._client, None, erased)
    assert publisher._erasures_in.qsize() == 1
    assert publisher._stops_in.qsize() <= 200
    assert not caplog.records


def test_a_fault_in_what_comes_in_does_not_hold_up_what_is_published(
    registry: Registry, person: str, broker: Broker, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = registry.publisher(broker.url)
    assert publisher is not None

    class Broken(BandStops):
        def heard(self, stop: wire.Stop) -> bool:
            raise OverflowError(stop.band)

    publisher._stops = Broken(registry.ledger, clock=clock)
    word = mqtt.MQTTMessage(1, wire.stop_topic("gw").encode())
    word.qos, word.payload = 1, wire.encode(stop(clock))
    with publisher:
        publisher._on_message(publisher._client, None, word)
        registry.ledger.withdraw(person, erase=False)
        assert publisher.wait_until_sent(20)
    assert "OverflowError" in caplog.text
    assert BAND not in caplog.text
