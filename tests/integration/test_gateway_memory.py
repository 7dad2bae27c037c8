"""Bands with a memory read by the gateway's own reader over the radio, to a real broker: each minute once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from firmware_central import START, until, wearing, within
from gateway_parts import DISTRICT, KEY, SetClock, Town, town_of, wearer

from contracts.broker_url import BrokerAddress
from contracts.reading import Category
from firmware_sim.adapter import open_adapter
from firmware_sim.app import IN_MEMORY, Bands, Worn
from firmware_sim.profile import Kind
from gateway import drain
from gateway.link import RadioAddress
from gateway.reader import Reader
from gateway.uplink import Uplink
from tests.fieldkit.liars import LIES, liar

_numbers = itertools.count(1)
MINUTES = 30


@pytest.fixture
def town(broker) -> Town:
    name = f"memory-{next(_numbers)}"
    with town_of(BrokerAddress(broker.host, broker.port), name) as town:
        yield town


@asynccontextmanager
async def reading(
    broker, town: Town, radio: str, folder: Path, *, at: float, more_radios: Sequence[str] = ()
) -> AsyncIterator[Uplink]:
    """A gateway that reads this radio, from when all consents are known."""
    clock = SetClock(at)
    uplink = Uplink(
        broker=BrokerAddress(broker.host, broker.port),
        gateway=town.name,
        district=DISTRICT,
        outbox=folder,
        clock=clock,
        quiet_s=0.1,
    )
    with uplink:
        assert await asyncio.to_thread(uplink.wait_for_consents, 1, 10)
        reader = Reader(
            radios=[RadioAddress.parse(f"bumble:{one}") for one in (radio, *more_radios)],
            slots=2,
            key=KEY,
            uplink=uplink,
            clock=clock,
            revisit_s=1,
        )
        task = asyncio.create_task(reader.run())
        try:
            yield uplink
        finally:
            reader.stop()
            await task
            await asyncio.to_thread(uplink.drain, 10)


@asynccontextmanager
async def bands_of(*numbers: int, minutes: int = MINUTES) -> AsyncIterator[Bands]:
    """Bands that have measured, and wait to be read. Their wearers never take them off."""
    worn = [Worn(f"WP-{number:06d}", wearing(minutes=minutes, number=number)) for number in numbers]
    async with Bands(worn, radio="tcp-server:127.0.0.1:0", speed=None, store=IN_MEMORY) as bands:
        await until(lambda: all(band.now > START + 60 * minutes for band in bands.wristbands))
        yield bands


def minutes_of(town: Town, pseudonym: str) -> list[int]:
    return sorted(one.minute for one in town.readings if one.pseudonym == pseudonym)


def every_minute(shift: int = 0, minutes: int = MINUTES) -> list[int]:
    return [START + shift + 60 * i for i in range(minutes)]


def test_every_minute_and_answer_arrives_once_and_the_bands_are_emptied(broker, town, tmp_path):
    async def run() -> None:
        people = [wearer(number) for number in (1, 3, 4)]
        for token, pseudonym in people:
            town.give(token, pseudonym)
        async with bands_of(1, 3, 4, minutes=70) as bands:
            async with reading(broker, town, bands.radio, tmp_path, at=START + 70 * 60 + 120) as uplink:
                await bands.done()  # which needs that all was read and deleted
            await until(lambda: uplink.status().outbox_rows == 0)
            await until(lambda: len(town.readings) >= 210)
            for number, (_, pseudonym) in zip((1, 3, 4), people, strict=True):
                assert minutes_of(town, pseudonym) == every_minute(minutes=70)
                given = [one.at for one in wearing(minutes=70, number=number).samples(START, START + 4200).reports]
                assert sorted(one.at for one in town.reports if one.pseudonym == pseudonym) == given
            status = uplink.status()
            assert status.frames_rejected == {}
            assert (status.records_corrected, status.clocks_set) == (0, 0)

    within(run(), 20)


def test_only_categories_with_consent_leave_the_band(broker, town, tmp_path):
    async def run() -> None:
        token, pseudonym = wearer(5)
        town.give(token, pseudonym, [Category.MOTION])
        async with bands_of(5) as bands:
            (band,) = bands.wristbands
            sent: list[bytes] = []
            notify = band.peripheral.notify
            band.peripheral.notify = lambda kind, value: (
                (sent.append(value) if kind is Kind.RECORD else None) or notify(kind, value)
            )
            async with reading(broker, town, bands.radio, tmp_path, at=START + MINUTES * 60 + 120):
                await bands.done()
            await until(lambda: len(town.readings) >= MINUTES)
            assert {one[1] for one in sent} == {0x04}
            assert {name for one in town.readings for name, _ in one.values()} == {"motion"}
            assert town.reports == []

    within(run(), 20)


def test_what_a_gateway_stored_and_could_not_delete_comes_from_the_next_one_the_same(broker, town, tmp_path):
    """Its key is the minute and its wearer: so it is stored once."""

    async def run() -> None:
        token, pseudonym = wearer(21)
        town.give(token, pseudonym)
        at = START + 150 * 60 + 120
        with town_of(BrokerAddress(broker.host, broker.port), f"{town.name}-other") as other:
            other.name = f"{town.name}-other"
            async with bands_of(21, minutes=150) as bands:
                (band,) = bands.wristbands
                notify, cut = band.peripheral.notify, asyncio.Event()

                def cut_report(kind: Kind, value: bytes) -> bool:
                    if kind is Kind.RECORD and int.from_bytes(value[6:10], "little") > 500 and not cut.is_set():
                        cut.set()
                        band.peripheral.drop_link()
                    return notify(kind, value)

                band.peripheral.notify = cut_report
                async with reading(broker, town, bands.radio, tmp_path / "one", at=at):
                    await cut.wait()
                await band.peripheral.hold_button()  # a band bonds with a second gateway when its wearer wants it to
                async with reading(broker, other, bands.radio, tmp_path / "other", at=at):
                    await bands.done()
            await until(lambda: len(other.readings) >= 150)
            assert minutes_of(other, pseudonym) == every_minute(minutes=150)
            first = {one.minute: one for one in town.readings}
            assert len(first) >= 59
            assert all(first[one.minute] == one for one in other.readings if one.minute in first)

    within(run(), 20)


def test_one_gateway_reads_by_two_adapters(broker, town, tmp_path):
    async def run() -> None:
        people = [wearer(number) for number in (31, 32, 33, 34)]
        for token, pseudonym in people:
            town.give(token, pseudonym)
        async with bands_of(31, 32, 33, 34) as bands:
            second = await open_adapter("tcp-server:127.0.0.1:0", link=bands.link)
            connected: list[int] = []
            second.controller.on_hci_le_create_connection_command = count_calls(
                second.controller.on_hci_le_create_connection_command, connected
            )
            async with reading(
                broker, town, bands.radio, tmp_path, at=START + MINUTES * 60 + 120, more_radios=[second.radio]
            ):
                await bands.done()
            await second.close()
        await until(lambda: len(town.readings) >= 4 * MINUTES)
        for _, pseudonym in people:
            assert minutes_of(town, pseudonym) == every_minute()
        assert connected

    within(run(), 20)


def count_calls(call, calls: list[int]):
    def counted(command):
        calls.append(1)
        return call(command)

    return counted


def test_a_band_without_consent_keeps_its_records(broker, town, tmp_path):
    async def run() -> None:
        token, pseudonym = wearer(6)
        town.give(token, pseudonym)
        async with (
            bands_of(6, 106) as bands,
            reading(broker, town, bands.radio, tmp_path, at=START + MINUTES * 60 + 120),
        ):
            emptied, kept = bands.wristbands
            await until(lambda: emptied.records_held == 0)
            assert kept.records_held == MINUTES * 6 + len(
                wearing(MINUTES, 106).samples(START, START + 60 * MINUTES).reports
            )

    within(run(), 20)


def test_links_that_last_for_a_few_records_empty_a_memory(broker, town, tmp_path):
    """At the end of its reach a band is heard, and lost soon: what came by then counts, and is no failure of its."""

    async def run() -> None:
        token, pseudonym = wearer(12)
        town.give(token, pseudonym)
        async with bands_of(12) as bands:
            (band,) = bands.wristbands
            notify, sent = band.peripheral.notify, itertools.count(1)

            def cut_report(kind: Kind, value: bytes) -> bool:
                if kind is Kind.RECORD and next(sent) % 70 == 0:  # of 180
                    band.peripheral.drop_link()
                return notify(kind, value)

            band.peripheral.notify = cut_report
            async with reading(broker, town, bands.radio, tmp_path, at=START + MINUTES * 60 + 120) as uplink:
                await bands.done()
            assert uplink.status().turns.keys() == {"lost", "drained"}
            await until(lambda: len(town.readings) >= MINUTES)
            assert minutes_of(town, pseudonym) == every_minute()

    within(run(), 20)


def test_links_lost_in_a_report_and_before_the_delete_make_no_minute_twice(broker, town, tmp_path):
    async def run() -> None:
        token, pseudonym = wearer(11)
        town.give(token, pseudonym)
        async with bands_of(11, minutes=150) as bands:
            (band,) = bands.wristbands
            lost = 0
            notify, indicate = band.peripheral.notify, band.peripheral.indicate

            def lose() -> None:
                nonlocal lost
                lost += 1
                band.peripheral.drop_link()

            def cut_report(kind: Kind, value: bytes) -> bool:
                if kind is Kind.RECORD and lost == 0 and int.from_bytes(value[6:10], "little") > 500:
                    lose()
                return notify(kind, value)

            async def cut_end(kind: Kind, value: bytes) -> bool:
                if kind is Kind.RACP and lost == 1 and value[:3] == b"\x06\x00\x02":
                    lose()
                return await indicate(kind, value)

            band.peripheral.notify, band.peripheral.indicate = cut_report, cut_end
            async with reading(broker, town, bands.radio, tmp_path, at=START + 150 * 60 + 120):
                await bands.done()
            assert lost == 2
            await until(lambda: len(town.readings) >= 150)
            assert minutes_of(town, pseudonym) == every_minute(minutes=150)

    within(run(), 20)


def test_a_wrong_clock_is_set_and_its_records_are_corrected(broker, town, tmp_path):
    async def run() -> None:
        token, pseudonym = wearer(12)
        town.give(token, pseudonym)
        late = 86_400 * 3
        async with bands_of(12) as bands:
            # The band shows START + MINUTES * 60 + 120 while the world is three days further.
            async with reading(broker, town, bands.radio, tmp_path, at=START + MINUTES * 60 + 120 + late) as uplink:
                await bands.done()
            await until(lambda: len(town.readings) >= MINUTES)
            assert minutes_of(town, pseudonym) == every_minute(late)
            status = uplink.status()
            assert status.clocks_set == 1
            assert status.records_corrected == status.records_read >= MINUTES * 6

    within(run(), 20)


@pytest.mark.parametrize("lie", LIES)
def test_a_band_that_lies_ends_its_session_and_the_next_band_is_read(broker, town, tmp_path, monkeypatch, lie: str):
    monkeypatch.setattr(drain, "SILENT_S_MAX", 0.3)

    async def run() -> None:
        for number in (9, 10):
            town.give(*wearer(number))
        lying = wearing(minutes=5, number=9).samples(START, START + 300)
        async with (
            bands_of(10) as bands,
            liar(bands.link, "WP-000009", lie, lying, shows=lambda: START + MINUTES * 60 + 120) as server,
        ):
            async with reading(broker, town, bands.radio, tmp_path, at=START + MINUTES * 60 + 120) as uplink:
                await bands.done()
                await until(lambda: server.links > 0 and wanted(uplink))
            await until(lambda: len(minutes_of(town, wearer(10)[1])) == MINUTES)
            got = minutes_of(town, wearer(9)[1])
            assert len(got) == len(set(got))
            if lie in ("count", "keeps"):
                assert got == every_minute(minutes=5)

    def wanted(uplink: Uplink) -> bool:
        """What must have come of the lie."""
        rejected = uplink.status().frames_rejected
        match lie:
            case "count":
                return len(minutes_of(town, wearer(9)[1])) == 5
            case "keeps":
                return rejected.get("racp:kept", 0) > 0
            case "noise":
                return rejected.get("racp:range", 0) > 0 and rejected.get("record:unasked", 0) > 0
            case "flood":
                return rejected.get("record:order", 0) > drain.USELESS_MAX
            case "random":
                return sum(rejected.values()) > 0
            case _:
                return True

    within(run(), 20)
