"""Bands on the virtual radio, heard by a plain Bumble central: exactly what was recorded, only what was asked for."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest
from bumble import core, hci
from firmware_central import START, Slice, central_by, central_on, connected, expected, let_in, until, wearing, within

from firmware_sim import profile
from firmware_sim.adapter import RadioFault, RadioUsageFault, open_adapter
from firmware_sim.air import AirController, AirLink
from firmware_sim.app import Bands, Worn
from firmware_sim.peripheral import Peripheral
from firmware_sim.profile import Kind
from firmware_sim.recording import Recording
from firmware_sim.synthetic import Person


def test_every_frame_of_a_recording_arrives_in_order(shared_data: Path):
    async def run() -> None:
        recording = Recording.load(shared_data / "stress_predict" / "S06.npz")
        whole = recording.whole
        source = Slice(recording, (whole.start + 600, whole.start + 1503))  # a stress segment; ends in mid-minute
        async with Bands([Worn("WP-000001", source)], speed=None) as bands, connected(bands) as link:
            await link.subscribe()
            await bands.done()
            await link.lost.wait()
            samples = whole.cut(whole.start + 600, whole.start + 1503)
            assert link.frames == expected(samples)
            assert samples.beat_t.size > 500
            assert len(link.of(Kind.SELF_REPORT.value)) == len(samples.reports) > 0
            eda = b"".join(value[6:] for value in link.of(Kind.EDA.value))
            assert len(eda) == 2 * samples.eda.size
            assert link.lost_reason == hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR

    within(run())


def test_a_central_with_the_smallest_mtu_gets_the_same_signals():
    async def run() -> None:
        async with Bands([Worn("WP-000001", wearing())], speed=None) as bands, connected(bands, mtu=None) as link:
            await link.subscribe()
            await bands.done()
            assert link.frames == expected(wearing().samples(START, START + 120), mtu=23)

    within(run())


@pytest.mark.parametrize("wanted", [[Kind.MOTION], [Kind.HEART_RATE, Kind.BEAT_TIMING, Kind.CURRENT_TIME]])
def test_what_was_not_subscribed_to_is_not_sent(wanted: list[Kind]):
    async def run() -> None:
        async with Bands([Worn("WP-000001", wearing())], speed=None) as bands, connected(bands) as link:
            await link.subscribe([kind.value for kind in wanted])
            await bands.done()
            names = {kind.value for kind in wanted}
            assert link.frames == [f for f in expected(wearing().samples(START, START + 120)) if f[0] in names]

    within(run())


def test_the_clock_and_the_battery_alone_do_not_start_a_band():
    async def run() -> None:
        async with Bands([Worn("WP-000001", wearing())], speed=None) as bands, connected(bands) as link:
            await link.subscribe([Kind.CURRENT_TIME.value, Kind.BATTERY.value])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await bands.done()
            assert link.frames == []
            assert bands.wristbands[0].now == START

    within(run())


def test_the_values_that_can_be_read_are_the_profiles():
    async def run() -> None:
        async with Bands([Worn("WP-000042", wearing())], speed=None) as bands, connected(bands) as link:
            assert await link.read(profile.SERIAL_NUMBER) == b"WP-000042"
            assert await link.read(profile.MANUFACTURER_NAME) == b"Wijkpols"
            assert await link.read(Kind.CURRENT_TIME.value) == profile.current_time(START)
            assert await link.read(Kind.BATTERY.value) == b"\x64"
            assert await link.read(Kind.TEMPERATURE.value) == b"\x00\x80"
            for kind in (Kind.HEART_RATE, Kind.BEAT_TIMING, Kind.EDA, Kind.MOTION, Kind.SELF_REPORT):
                with pytest.raises(core.ProtocolError):
                    await link.read(kind.value)

    within(run())


def test_the_advertisement_does_not_tell_which_band_it_is():
    async def run() -> None:
        async with Bands([Worn("WP-000042", wearing()), Worn("WP-000043", wearing())]) as bands:
            central = await central_on(bands.link)
            heard = await central.hear(2)
            assert set(heard.values()) == {profile.advertising_data()}

    within(run())


def test_a_lost_link_leaves_the_clock_running_and_the_band_advertising():
    async def run() -> None:
        source = wearing(minutes=20)
        async with Bands([Worn("WP-000001", source)], speed=400) as bands:
            (band,) = bands.wristbands
            central = await central_on(bands.link)
            first = await central.connect_any()
            await first.discover()
            await first.subscribe()
            await until(lambda: len(first.frames) >= 200)
            band.peripheral.drop_link()
            await first.lost.wait()
            assert first.lost_reason == hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR
            left = band.now
            second = await central.connect_any()
            await second.discover()
            await second.subscribe()
            await bands.done()
            whole = expected(source.samples(START, START + 1200))
            assert first.frames == whole[: len(first.frames)]
            beats = second.of(Kind.BEAT_TIMING.value)
            assert struct.unpack_from("<I", beats[0])[0] > left  # what was not read is lost
            assert struct.unpack_from("<I", beats[-1])[0] == START + 1199

    within(run())


def test_at_the_links_pace_a_lost_link_loses_no_time():
    async def run() -> None:
        source = wearing(minutes=60)
        async with Bands([Worn("WP-000001", source)], speed=None) as bands:
            (band,) = bands.wristbands
            central = await central_on(bands.link)
            link = await central.connect_any()
            await link.discover()
            await link.subscribe([Kind.BEAT_TIMING.value])
            await until(lambda: len(link.frames) >= 500)
            band.peripheral.drop_link()
            await link.lost.wait()
            again = await central.connect_any()
            await again.discover()
            await again.subscribe([Kind.BEAT_TIMING.value])
            await bands.done()
            seconds = [struct.unpack_from("<I", value)[0] for _, value in link.frames + again.frames]
            assert seconds == sorted(set(seconds))
            assert seconds[-1] == START + 3599
            assert 3600 - len(seconds) <= 64  # what was on its way in that instant

    within(run())


def test_an_answer_that_was_not_confirmed_comes_with_the_next_link():
    async def run() -> None:
        source = wearing(minutes=3)
        at = source.samples(START, START + 180).reports[0].at
        async with Bands([Worn("WP-000001", source)], speed=None) as bands:
            central = await central_on(bands.link)
            link = await central.connect_any()
            await link.discover()
            await link.subscribe([Kind.SELF_REPORT.value])
            link.connection.gatt_client.send_confirmation = lambda _pdu: None
            await until(lambda: bool(link.frames))
            bands.wristbands[0].peripheral.drop_link()
            again = await central.connect_any()
            await again.discover()
            await again.subscribe([Kind.SELF_REPORT.value])
            await bands.done()
            assert link.frames == again.frames
            assert struct.unpack_from("<I", again.frames[0][1])[0] == at

    within(run())


def test_two_spans_are_played_with_the_gap_between_them_left_out():
    async def run() -> None:
        person = Person(5, 1, "WK034403")
        spans = ((START, START + 60), (START + 3600, START + 3660))
        async with Bands([Worn("WP-000001", Slice(person, *spans))], speed=None) as bands, connected(bands) as link:
            await link.subscribe()
            await bands.done()
            # Between the two the band was on its charger, so its battery has nothing to say.
            assert link.frames == expected(person.samples(*spans[0])) + expected(person.samples(*spans[1]))

    within(run())


def test_a_connect_to_an_absent_band_can_be_cancelled_and_another_made():
    async def run() -> None:
        async with Bands([Worn("WP-000001", wearing())], speed=None) as bands:
            central = await central_on(bands.link)
            with pytest.raises(core.TimeoutError):
                await central.connect(hci.Address("F0:00:00:00:00:01"), seconds=0.3)
            link = await central.connect_any()
            assert "2A37" in await link.discover()

    within(run())


def test_a_band_that_stops_advertising_in_between_is_not_connected():
    async def run() -> None:
        link = AirLink()
        central = await central_on(link)
        band = AirController("band", link=link)
        band.random_address = hci.Address("F0:00:00:00:00:02")
        pending = asyncio.create_task(central.device.connect(band.random_address, timeout=5))
        await until(lambda: central.device.host.hci_sink.pending_le_connection is not None)
        band.le_legacy_advertiser.own_address_type = hci.Address.RANDOM_DEVICE_ADDRESS
        band.le_legacy_advertiser.enabled = True
        band.le_legacy_advertiser.send_advertising_data()
        band.le_legacy_advertiser.enabled = False
        await pending
        await until(lambda: not central.device.connections)
        assert band.le_connections == {}

    within(run())


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_second_client_gets_the_adapter_and_finds_the_band_advertising(kind: str, tmp_path: Path):
    """What Bumble's own server transports do not do: the first client is cut off while the second is served."""

    async def run() -> None:
        radio = "tcp-server:127.0.0.1:0" if kind == "tcp" else f"unix-server:{tmp_path}/hci"
        async with Bands([Worn("WP-000001", wearing(60))], radio=radio, speed=20) as bands:
            async with central_by(bands.radio) as first:
                link = await first.connect_any()
                await link.discover()
                await link.subscribe()
                await until(lambda: bool(link.frames))
                let_in(bands)
                async with central_by(bands.radio) as second:
                    again = await second.connect_any()
                    await again.discover()
                    await again.subscribe()
                    await until(lambda: len(again.frames) >= 50)
            let_in(bands)
            async with central_by(bands.radio) as third:
                assert "2A37" in await (await third.connect_any()).discover()
        assert not (tmp_path / "hci").exists()

    within(run())


def test_a_client_that_stops_reading_stops_its_band_at_once_and_loses_nothing():
    async def run() -> None:
        source = wearing(minutes=100)
        async with Bands([Worn("WP-000001", source)], radio="tcp-server:127.0.0.1:0", speed=None) as bands:
            (band,) = bands.wristbands
            async with central_by(bands.radio) as central:
                link = await central.connect_any()
                await link.discover()
                await link.subscribe()
                transport = central.device.host.hci_sink.transport
                transport.pause_reading()
                await asyncio.sleep(2)
                assert band.frames_sent < 50
                assert link.frames == []
                transport.resume_reading()
                await bands.done()
                await link.lost.wait()
                signals = [frame for frame in link.frames if frame[0] != Kind.BATTERY.value]
                assert signals == expected(source.samples(START, START + 6000))
                assert link.of(Kind.BATTERY.value) == [b"\x63"]

    within(run())


def test_an_adapter_whose_client_does_not_read_holds_its_senders_back():
    """Without the band's own question to its central: the sockets fill, and then nothing is completed."""
    count = 60_000

    async def run() -> None:
        air = AirLink()
        adapter = await open_adapter("tcp-server:127.0.0.1:0", link=air)
        sent = 0

        async def flood(band: Peripheral) -> None:
            nonlocal sent
            while sent < count:
                await band.room()
                band.notify(Kind.BEAT_TIMING, struct.pack("<I", sent).ljust(200, b"."))
                sent += 1

        async with (
            Peripheral(link=air, serial="WP-000001", read=lambda _kind: b"") as band,
            central_by(adapter.radio) as central,
        ):
            link = await central.connect_any()
            await link.discover()
            await link.subscribe([Kind.BEAT_TIMING.value])
            transport = central.device.host.hci_sink.transport
            transport.pause_reading()
            flooding = asyncio.create_task(flood(band))
            held = -1
            while held != sent:
                held = sent
                await asyncio.sleep(0.5)
            assert held < count
            transport.resume_reading()
            await flooding
            await until(lambda: len(link.frames) == count)
            assert [struct.unpack_from("<I", value)[0] for _, value in link.frames] == list(range(count))
        await adapter.close()

    within(run(), 60)


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 64, b"\xff" * 64, b"\x02\x01\x00\x40\x00" + bytes(64), b"\x01\x03\x0c\xff"]
)
def test_bytes_that_are_no_hci_end_that_client_only(garbage: bytes):
    async def run() -> None:
        async with Bands([Worn("WP-000001", wearing())], radio="tcp-server:127.0.0.1:0", speed=None) as bands:
            host, port = bands.radio.split(":")[1:]
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(garbage)
            await writer.drain()
            async with central_by(bands.radio) as central:
                assert "2A37" in await (await central.connect_any()).discover()
            writer.close()

    within(run())


def test_a_radio_that_cannot_be_opened_says_what_to_do():
    async def run() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(RadioFault, match="choose another"):
                await open_adapter(f"tcp-server:127.0.0.1:{taken.getsockname()[1]}", link=AirLink())
        for spec in ("", "tcp-server:", "tcp-server:127.0.0.1", "tcp-server:127.0.0.1:99999", "unix-server:", "usb:0"):
            with pytest.raises(RadioUsageFault):
                await open_adapter(spec, link=AirLink())

    within(run())
