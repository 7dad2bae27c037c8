"""A wearer holds the band's button for ten seconds: the gateway hears it, forgets what waits, and says so."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from firmware_central import START, until, wearing, within
from gateway_parts import DISTRICT, Gateway, Mosquitto, Town, eventually, town_of, wearer

from contracts.broker_url import BrokerAddress
from contracts.consent import STOP_CLOCK_S
from contracts.reading import Reading
from firmware_sim.app import IN_MEMORY, Bands, Worn
from firmware_sim.profile import Kind
from gateway.outbox import Outbox
from gateway.uplink import Uplink

_numbers = itertools.count(1)
MINUTES = 5
NOW = START + MINUTES * 60 + 120


@pytest.fixture
def town(broker) -> Town:
    with town_of(BrokerAddress(broker.host, broker.port), f"stop-{next(_numbers)}") as town:
        yield town


@pytest.fixture
def gateway(broker, town, tmp_path) -> Gateway:
    return Gateway(BrokerAddress(broker.host, broker.port), town, tmp_path / "gateway", at=NOW)


@asynccontextmanager
async def worn(
    *, store: Path | str | None = IN_MEMORY, speed: float | None = None, minutes: int = MINUTES
) -> AsyncIterator[Bands]:
    source = wearing(minutes=minutes, number=1)
    async with Bands([Worn("WP-000001", source)], radio="tcp-server:127.0.0.1:0", speed=speed, store=store) as bands:
        yield bands


def test_a_stop_is_told_at_the_next_turn_and_nothing_of_the_memory_is_read(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with worn() as bands:
            (band,) = bands.wristbands
            await until(lambda: band.now > START + 60 * MINUTES)
            assert band.records_held > 0
            await band.hold_button(10)
            assert band.records_held == 0
            async with gateway.on(f"bumble:{bands.radio}"):
                await until(lambda: town.stops)
                await bands.done()  # told: it may leave the air
        assert {(stop.band, stop.pressed_at) for stop in town.stops} == {(wearer(1)[0], NOW)}
        assert town.readings == []
        assert gateway.uplink.status().turns["stopped"] == 1

    within(run(), 30)


def test_five_seconds_are_no_stop(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with worn() as bands:
            (band,) = bands.wristbands
            await band.hold_button(9.9)
            assert not band.stopped
            async with gateway.on(f"bumble:{bands.radio}"):
                await until(lambda: len(town.readings) >= MINUTES)
        assert town.stops == []

    within(run(), 30)


@pytest.mark.parametrize("store", [None, IN_MEMORY])
def test_a_stop_while_the_band_is_read_ends_it_at_once(gateway, town, store):
    async def run() -> None:
        town.give(*wearer(1))
        async with worn(store=store, speed=60.0, minutes=60) as bands, gateway.on(f"bumble:{bands.radio}"):
            (band,) = bands.wristbands
            await until(lambda: band.peripheral.connected)
            await until(lambda: band.frames_sent > 50 if store is None else band.records_held > 3)
            await band.hold_button(10)
            await until(lambda: town.stops)
            assert gateway.uplink.cover(wearer(1)[0]) is None
            sent, held = band.frames_sent, band.records_held
            before = band.now
            await until(lambda: band.now > before + 120)
            assert held == band.records_held == 0
            assert band.frames_sent <= sent + 1  # a Current Time may have been on its way

    within(run(), 30)


def test_a_choice_after_the_stop_lets_the_band_measure_again(gateway, town):
    async def run() -> None:
        token, person = wearer(1)
        town.give(token, person)
        async with worn(speed=20.0, minutes=60) as bands, gateway.on(f"bumble:{bands.radio}"):
            (band,) = bands.wristbands
            await until(lambda: band.peripheral.security.bonds)
            await band.hold_button(10)
            await until(lambda: town.stops)
            town.withdraw(token, person)
            await until(lambda: len(gateway.book) == 0)
            assert gateway.uplink._who_stopped() == []
            then = band.now
            await until(lambda: band.now > then + 2 * STOP_CLOCK_S)
            await until(lambda: gateway.uplink.status().turns.get("not-paired"))  # a stranger, since the bond is gone
            town.give(token, person, valid_from=NOW)
            await until(lambda: gateway.uplink.status().turns["not-paired"] >= 2)
            assert band.stopped  # until a gateway is let in
            await band.hold_button(5)
            await until(lambda: not band.stopped)
            await until(lambda: band.records_held > 0)
        assert len(town.stops) <= 2

    within(run(), 30)


def test_a_gateway_that_was_killed_with_its_broker_gone_tells_it_weeks_later(tmp_path):
    broker = Mosquitto(tmp_path)
    broker.start()
    token, person = wearer(1)
    waiting = [Reading(pseudonym=person, minute=NOW // 60 * 60 - 60 * i, hr=60.0) for i in range(20)]

    async def stop_unheard(gateway: Gateway, town: Town) -> None:
        async with worn() as bands, gateway.on(f"bumble:{bands.radio}"):
            await until(lambda: gateway.uplink.wait_for_consents([token], 0))
            broker.kill()
            await until(lambda: not gateway.uplink._publisher.synced)
            assert gateway.uplink.accept(token, waiting) == len(waiting)
            (band,) = bands.wristbands
            await band.hold_button(10)
            await until(lambda: gateway.uplink.status().turns.get("stopped"))
            assert gateway.uplink.status().minutes_dropped["outbox-withdrawn"] == len(waiting)
        assert town.readings == []

    with town_of(broker.address, "gw") as town:
        town.give(token, person)
        gateway = Gateway(broker.address, town, tmp_path / "gateway", at=NOW)
        within(stop_unheard(gateway, town), 40)
    broker.start()  # it has forgotten everything, and is told the consent as it was
    with town_of(broker.address, "gw") as town:
        town.give(token, person)
        again = Gateway(broker.address, town, tmp_path / "gateway", at=NOW + 14 * 86_400)

        async def on_again() -> None:
            async with worn() as bands, again.on(f"bumble:{bands.radio}"):
                assert again.uplink.cover(token) is None
                await until(lambda: town.stops)

        within(on_again(), 40)
        assert town.readings == []
        assert town.stops[0].pressed_at <= NOW + 1
    broker.kill()


@pytest.mark.parametrize(
    ("chosen_after_s", "stops"),
    [(-3_600, True), (0, True), (STOP_CLOCK_S, True), (STOP_CLOCK_S + 1, False), (3_600, True)],
    ids=["long before", "that second", "within the clocks", "after", "by a clock that is an hour behind"],
)
def test_the_newest_word_counts(gateway, town, chosen_after_s, stops):
    """The button was held just now; a choice that is yet to come, by our clock, says that our clock is wrong."""

    async def run() -> None:
        token, person = wearer(1)
        age = 100 if not stops else 0
        town.give(token, person, valid_from=NOW - age + chosen_after_s)
        async with worn() as bands, gateway.on(f"bumble:{bands.radio}"):
            assert gateway.uplink.stop(token, age) is stops
            assert (gateway.uplink.cover(token) is None) is stops
            message = gateway.uplink._mirror.message(token)
            told = gateway.uplink._who_stopped()
            assert [message.ended_by(stop.pressed_at) for stop in told] == ([True] if stops else [])

    within(run(), 30)


def test_all_who_stopped_are_told_of_even_if_no_consent_answers(broker, tmp_path):
    """An API that is away, and more of them than may be in flight."""
    tokens = {wearer(number)[0] for number in range(1_000, 1_500)}
    with Outbox(folder=tmp_path) as outbox:
        for token in tokens:
            outbox.stop(token, NOW, 0, "a" * 26)
    address = BrokerAddress(broker.host, broker.port)
    name = f"stop-{next(_numbers)}"
    with (
        town_of(address, name) as town,
        Uplink(broker=address, gateway=name, district=DISTRICT, outbox=tmp_path, quiet_s=0.1),
    ):
        eventually(lambda: {stop.band for stop in town.stops} == tokens)


@pytest.mark.parametrize("records", [0, 2], ids=["at once", "later"])
def test_a_band_that_measures_again_goes_on_when_its_clock_is_put_back(records):
    async def run() -> None:
        async with worn(speed=20.0, minutes=60) as bands:
            (band,) = bands.wristbands
            await band.hold_button(10)
            band._read(Kind.STOP)
            band._write_stop(b"\0")
            await until(lambda: band.records_held >= records)
            band._set_clock(band.now - 7_200)
            held = band.records_held
            await until(lambda: band.records_held > held + 2)

    within(run(), 30)


def test_a_stop_while_an_answer_is_on_its_way_does_not_break_the_band(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with worn(store=None, speed=60.0) as bands:
            (band,) = bands.wristbands
            indicate = band.peripheral.indicate

            async def indicate_and_stop(kind: Kind, value: bytes) -> bool:
                confirmed = await indicate(kind, value)
                if kind is Kind.SELF_REPORT:
                    await band.hold_button(10)
                return confirmed

            band.peripheral.indicate = indicate_and_stop
            async with gateway.on(f"bumble:{bands.radio}"):
                await until(lambda: town.stops)
                then = band.now
                await until(lambda: band.now > then + 30)

    within(run(), 30)


def test_a_move_after_the_stop_is_no_choice(gateway, town):
    async def run() -> None:
        token, person = wearer(1)
        town.give(token, person, valid_from=NOW - 10, chosen_at=NOW - 1_000)
        async with worn() as bands, gateway.on(f"bumble:{bands.radio}"):
            assert gateway.uplink.stop(token, 500)
        eventually(lambda: town.stops)

    within(run(), 30)


def test_a_narrower_choice_that_is_yet_to_come_says_too_that_a_clock_is_wrong(gateway, town):
    async def run() -> None:
        token, person = wearer(1)
        town.give(token, person, valid_from=NOW - 10_000, chosen_at=NOW + 3_600)
        async with worn() as bands, gateway.on(f"bumble:{bands.radio}"):
            assert gateway.uplink.stop(token, 0)
        eventually(lambda: town.stops)
        assert town.stops[0].pressed_at >= NOW + 3_600

    within(run(), 30)
