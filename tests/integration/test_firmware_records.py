"""A band with a memory, read by a plain central: each record once, the SIG's answers, the clock, a loss of power."""

from __future__ import annotations

import asyncio
import gc
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bumble import att
from bumble.device import Connection
from firmware_central import START, Link, Slice, central_on, connected, let_in, linked, until, wearing, within

from firmware_sim import profile, record
from firmware_sim.app import IN_MEMORY, Bands, Worn
from firmware_sim.physiology import Source
from firmware_sim.profile import Kind
from firmware_sim.record import Stamp

RECORD, RACP, TIME = Kind.RECORD.value, Kind.RACP.value, Kind.CURRENT_TIME.value
ALL = b"\x0f"
REPORT_ALL, ABORT, SUCCESS = b"\x01\x01", b"\x03\x00", b"\x06\x00\x01\x01"


def report_from(seq: int) -> bytes:
    return b"\x01\x03\x01" + struct.pack("<I", seq)


def delete(seq: int) -> bytes:
    return b"\x02\x02\x01" + struct.pack("<I", seq)


async def ask(link: Link, request: bytes) -> bytes:
    """Write a request; the answer."""
    before = len(link.of(RACP))
    await link.write(RACP, request)
    await until(lambda: len(link.of(RACP)) > before)
    return link.of(RACP)[before]


async def ready(link: Link, contents: bytes = ALL) -> None:
    await link.subscribe([RECORD, RACP])
    await link.write(profile.RECORD_CONTENTS, contents)


@asynccontextmanager
async def worn(
    source: Source, *, store: Path | str = IN_MEMORY, mtu: int | None = 247, drift_ppm: float = 0.0
) -> AsyncIterator[tuple[Bands, Link]]:
    """A band that has played to its end, and a link to it."""
    bands = Bands([Worn("WP-000001", source)], speed=None, store=store, drift_ppm=drift_ppm)
    async with bands, connected(bands, mtu=mtu) as link:
        end = source.spans()[-1][1]
        await until(lambda: bands.wristbands[0].now > end)
        yield bands, link


def stored(source: Source, *, first: int = 1) -> list[bytes]:
    """What a band's memory ought to hold of a source whose seconds are those of the band's clock."""
    found: list[bytes] = []
    for start, end in source.spans():
        samples = source.samples(start, end)
        at = start
        while at < end:
            upto = min((at // 10 + 1) * 10, end)
            part = samples.cut(at, upto)
            for answer in part.reports:
                found.append(record.self_report(answer, Stamp(1, 1, first + len(found))))
            found.append(record.measurement(part, Stamp(1, 1, first + len(found))))
            at = upto
    return found


def test_every_record_arrives_in_order_and_the_band_leaves_when_all_are_deleted():
    async def run() -> None:
        source = Slice(wearing(minutes=70), (START + 3, START + 3607), (START + 3660, START + 3720))
        async with worn(source) as (bands, link):
            await ready(link)
            assert await ask(link, b"\x04\x01") == b"\x05\x00" + struct.pack("<I", len(stored(source)))
            assert await ask(link, REPORT_ALL) == SUCCESS
            assert link.of(RECORD) == stored(source)
            assert {one[0] for one in link.of(RECORD)} == {1, 2}
            log = await link.read(profile.LOG)
            assert struct.unpack("<IHHIII", log)[1:] == (1, 1, 1, len(stored(source)), 0)
            assert await ask(link, delete(len(stored(source)))) == b"\x06\x00\x02\x01"
            await bands.done()
            await link.lost.wait()

    within(run())


def test_a_band_keeps_nothing_of_who_took_its_answer_and_left():
    async def run() -> None:
        async with Bands([Worn("WP-000001", wearing(minutes=1))], speed=None, store=IN_MEMORY) as bands:
            known = connections_known()
            let_in(bands)
            central = await central_on(bands.link)
            for _ in range(3):
                link = await central.connect_any()
                await link.discover()
                await ready(link)
                await ask(link, REPORT_ALL)
                await link.connection.disconnect()
                await until(lambda: not bands.wristbands[0].peripheral.connected)
            del link
            assert connections_known() <= known + 1  # the last one's end may still be under way

    within(run())


def connections_known() -> int:
    """How many connections, open or not, somebody still knows."""
    gc.collect()
    return sum(isinstance(one, Connection) for one in gc.get_objects())


@pytest.mark.parametrize(
    ("request_hex", "answer"),
    [
        ("", "06 00 00 02"),
        ("07 01", "06 00 07 02"),
        ("ff", "06 00 ff 02"),
        ("01", "06 00 01 03"),
        ("01 00", "06 00 01 03"),
        ("01 07", "06 00 01 03"),
        ("01 02 01 01 00 00 00", "06 00 01 04"),
        ("01 04 01 01 00 00 00 02 00 00 00", "06 00 01 04"),
        ("01 05", "06 00 01 04"),
        ("01 01 00", "06 00 01 05"),
        ("01 03", "06 00 01 05"),
        ("01 03 01 01 00", "06 00 01 05"),
        ("01 03 01 01 00 00 00 00", "06 00 01 05"),
        ("01 03 02 01 00 00 00", "06 00 01 09"),
        ("01 03 01 63 00 00 00", "06 00 01 06"),
        ("02 01", "06 00 02 04"),
        ("02 03 01 01 00 00 00", "06 00 02 04"),
        ("02 02 01 00 00 00 00", "06 00 02 06"),
        ("02 00", "06 00 02 03"),
        ("03 01", "06 00 03 03"),
        ("03 00 00", "06 00 03 05"),
        ("03 00", "06 00 03 07"),
        ("04 03 01 05 00 00 00", "05 00 02 00 00 00"),
        ("04 01", "05 00 06 00 00 00"),
        ("04 06", "06 00 04 04"),
    ],
)
def test_the_control_point_answers_as_the_bluetooth_sig_has_it(request_hex: str, answer: str):
    async def run() -> None:
        async with worn(Slice(wearing(), (START, START + 60))) as (_, link):
            await ready(link)
            assert (await ask(link, bytes.fromhex(request_hex))).hex(" ") == answer
            assert link.of(RECORD) == []

    within(run())


def test_only_what_record_contents_covers_is_sent():
    async def run() -> None:
        source = wearing(minutes=60)
        async with worn(source) as (_, link):
            await ready(link, b"\x00")
            assert await ask(link, REPORT_ALL) == b"\x06\x00\x01\x06"
            for contents in (b"\x01", b"\x06", b"\x08"):
                link.frames.clear()
                await link.write(profile.RECORD_CONTENTS, contents)
                assert await ask(link, REPORT_ALL) == SUCCESS
                cut = [record.covered(one, contents[0]) for one in stored(source)]
                assert link.of(RECORD) == [one for one in cut if one is not None]

    within(run())


def test_a_new_link_covers_nothing_until_it_is_told():
    async def run() -> None:
        async with worn(wearing()) as (bands, link):
            await ready(link)
            bands.wristbands[0].peripheral.drop_link()
            await link.lost.wait()
            again = await linked(bands)
            assert await again.read(profile.RECORD_CONTENTS) == b"\x00"

    within(run())


async def refused(link: Link, uuid: str, value: bytes) -> int:
    with pytest.raises(att.ATT_Error) as caught:
        await link.write(uuid, value)
    return int(caught.value.error_code)


def test_a_write_that_cannot_be_taken_has_the_pages_att_error():
    async def run() -> None:
        async with worn(wearing(minutes=60)) as (_, link):
            assert await refused(link, RACP, REPORT_ALL) == 0xFD
            await link.subscribe([RACP])
            assert await refused(link, RACP, REPORT_ALL) == 0xFD
            await ready(link)
            assert await refused(link, profile.RECORD_CONTENTS, b"\x10") == 0x13
            assert await refused(link, profile.RECORD_CONTENTS, b"") == 0x0D
            assert await refused(link, TIME, b"\x00" * 9) == 0x0D
            assert await refused(link, TIME, bytes.fromhex("e9 07 02 1e 08 08 20 00 00 00")) == 0x80
            assert await refused(link, TIME, bytes.fromhex("00 00 00 00 08 08 20 00 00 00")) == 0x80
            await link.write(RACP, REPORT_ALL)
            assert await refused(link, RACP, REPORT_ALL) == 0xFE
            await until(lambda: link.of(RACP) == [SUCCESS])

    within(run())


def test_a_report_can_be_aborted_and_asked_for_again():
    async def run() -> None:
        source = wearing(minutes=200)
        async with worn(source) as (_, link):
            await ready(link)
            await link.write(RACP, REPORT_ALL)
            await until(lambda: len(link.of(RECORD)) > 20)
            assert await ask(link, ABORT) == b"\x06\x00\x03\x01"
            came = len(link.of(RECORD))
            assert came < 1000
            assert await ask(link, report_from(came + 1)) == SUCCESS
            assert link.of(RECORD) == stored(source)
            assert link.of(RACP) == [b"\x06\x00\x03\x01", SUCCESS]

    within(run())


def test_a_link_lost_in_a_report_loses_nothing():
    async def run() -> None:
        source = wearing(minutes=200)
        async with worn(source) as (bands, link):
            await ready(link)
            await link.write(RACP, REPORT_ALL)
            await until(lambda: len(link.of(RECORD)) > 20)
            bands.wristbands[0].peripheral.drop_link()
            await link.lost.wait()
            again = await linked(bands)
            await ready(again)
            came = len(link.of(RECORD))
            assert await ask(again, report_from(came + 1)) == SUCCESS
            assert link.of(RECORD) + again.of(RECORD) == stored(source)

    within(run())


def test_a_record_that_does_not_fit_the_mtu_ends_the_report():
    async def run() -> None:
        async with worn(wearing(), mtu=None) as (_, link):
            await ready(link)
            assert await ask(link, REPORT_ALL) == b"\x06\x00\x01\x08"
            assert link.of(RECORD) == []

    within(run())


def test_setting_the_clock_closes_the_record_and_begins_another_clock():
    async def run() -> None:
        source = wearing(minutes=60)
        bands = Bands([Worn("WP-000001", source)], speed=100, store=IN_MEMORY)
        async with bands, connected(bands) as link:
            await ready(link)
            (band,) = bands.wristbands
            await until(lambda: band.now > START + 60)
            await link.write(TIME, profile.current_time(START + 86_400))
            shown = band.now
            now = struct.unpack("<HBBBBB", (await link.read(TIME))[:7])
            assert now[:3] == (2025, 11, 8)
            await until(lambda: band.now > shown + 60)
            assert await ask(link, REPORT_ALL) == SUCCESS
            before = [one for one in link.of(RECORD) if one[4] == 1 and one[0] == 1]
            after = [one for one in link.of(RECORD) if one[4] == 2 and one[0] == 1]
            assert 0 < sum(one[14] for one in before) - 60 < 60
            ends = [record.end_of(one) for one in (*before, *after)]
            starts = [int.from_bytes(one[10:14], "little") for one in (*before, *after)]
            gaps = [start - end for end, start in zip(ends, starts[1:], strict=False)]
            jump = gaps.pop(len(before) - 1)
            assert set(gaps) == {0}
            number, how, began, ended, to = struct.unpack("<HBIII", (await link.read(profile.LOG))[20:])
            assert (number, how, began, ended, to) == (1, 3, START, ends[len(before) - 1], START + 86_400)
            assert -1 <= ended + jump - to <= 0  # it was set within a second

    within(run())


def test_a_drifting_clock_shows_in_the_times_of_the_records():
    async def run() -> None:
        async with worn(wearing(minutes=60), drift_ppm=1000) as (_, link):
            await ready(link)
            assert await ask(link, REPORT_ALL) == SUCCESS
            records = [one for one in link.of(RECORD) if one[0] == 1]
            assert sum(one[14] for one in records) == 3600
            assert record.end_of(records[-1]) == START + 3600 + 3

    within(run())


def test_a_band_that_lost_its_power_keeps_its_records_and_counts_the_start(tmp_path: Path):
    async def run() -> None:
        source = Slice(wearing(), (START, START + 60))
        async with worn(source, store=tmp_path) as (_, link):
            first = await link.read(profile.LOG)
        later = Slice(wearing(minutes=20), (START + 600, START + 660))
        async with worn(later, store=tmp_path) as (_, link):
            await ready(link)
            second = await link.read(profile.LOG)
            assert first[:4] == second[:4]
            assert second[4:8] == bytes.fromhex("02 00 02 00")
            assert await ask(link, REPORT_ALL) == SUCCESS
            kept = [one for one in link.of(RECORD) if one[2] == 1]
            assert kept == stored(source)
            new = [one for one in link.of(RECORD) if one[2] == 2 and one[0] == 1]
            # It does not know how long it was off: its clock went on from the newest record.
            assert int.from_bytes(new[0][10:14], "little") == START + 60
            assert struct.unpack("<HBIII", second[20:]) == (1, 1, START, START + 60, 0)

    within(run())


def test_live_frames_go_to_who_subscribes_as_before_but_answers_do_not():
    async def run() -> None:
        hour = wearing(minutes=60)
        answered = hour.samples(START, START + 3600).reports[0].at
        source = Slice(hour, (answered - 600, answered + 30))
        bands = Bands([Worn("WP-000001", source)], speed=100, store=IN_MEMORY)
        async with bands, connected(bands) as link:
            await link.subscribe()
            await until(lambda: bands.wristbands[0].now >= answered + 30)
            assert len(link.of(Kind.EDA.value)) > 5
            assert link.of(Kind.SELF_REPORT.value) == []
            assert link.of(RECORD) == []

    within(run())


def test_a_central_that_hangs_up_in_every_state_leaves_a_band_that_answers():
    async def run() -> None:
        async with worn(wearing(minutes=60)) as (bands, link):
            for request in (REPORT_ALL, delete(0), b"\x04\x01", ABORT):
                await ready(link)
                await link.write(RACP, request)
                bands.wristbands[0].peripheral.drop_link()
                await link.lost.wait()
                link = await linked(bands)
            await ready(link)
            assert await ask(link, REPORT_ALL) == SUCCESS
            assert len(link.of(RECORD)) == len(stored(wearing(minutes=60)))
            await asyncio.sleep(0)

    within(run())
