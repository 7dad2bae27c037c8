"""The gateway's link alone on BlueZ: who is heard, bonds, encrypted reads, changing addresses, lost links."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bleak.backends.bluezdbus.manager import get_global_bluez_manager
from bleak.backends.service import BleakGATTServiceCollection
from firmware_central import until
from house import BANDS, House

from gateway import profile
from gateway.link import LinkLost, Peripheral, RadioLost, Refused, Sighting


async def discovery(house: House) -> None:
    async with house.link() as link:
        heard = await house.sight(link, *(house.address(number) for number in range(1, BANDS + 1)))
    assert not {house.identity(number) for number in range(1, BANDS + 1)} & set(heard)


async def nothing_is_read_without_a_bond(house: House) -> None:
    security = house.band(12).peripheral.security
    security._issued = True  # it was bonded with another gateway once
    async with house.link() as link:
        for uuid in (profile.SERIAL, profile.LOG):  # BlueZ tries to pair, and hangs up when that fails
            async with house.connected(link, house.address(12)) as band:
                try:
                    await band.read(uuid)
                except Refused:
                    continue
                raise AssertionError(uuid)
    assert security.bonds == 0
    security._issued = False


async def pairing(house: House) -> None:
    async with house.link() as link, house.connected(link, house.address(1)) as band:
        assert await band.read(profile.SERIAL) == b"WP-000001"  # it is open
        await house.bond(1, band)
    assert house.band(1).peripheral.security.bonds == 1


async def encrypted_read(house: House) -> None:
    async with house.link() as link, house.connected(link, house.address(2)) as band:
        await house.bond(2, band)
        assert len(await band.read(profile.LOG)) >= 20
        assert await band.read(profile.SERIAL) == b"WP-000002"


async def bonded_reconnect(house: House) -> None:
    await house.ensure_bond(2)
    async with house.link() as link, house.connected(link, house.identity(2)) as band:
        assert await band.secured() == house.identity(2)
        assert len(await band.read(profile.LOG)) >= 20
    assert house.band(2).peripheral.security.bonds == 1


async def another_address_same_band(house: House) -> None:
    await house.ensure_bond(2)
    peripheral = house.band(2).peripheral
    async with house.link() as link:
        async with house.connected(link, house.identity(2)) as band:
            await peripheral.change_address()
            assert len(await band.read(profile.LOG)) >= 20
        await peripheral.change_address()
        async with house.connected(link, house.identity(2)) as band:
            assert len(await band.read(profile.LOG)) >= 20


async def services_told_in_part(house: House) -> None:
    """What bleak keeps of a discovery that BlueZ told of in part, now and then, is not all there is."""
    await house.ensure_bond(2)
    async with house.link() as link:
        async with house.connected(link, house.identity(2)) as band:
            (path,) = link._linked
            kept = (await get_global_bluez_manager())._services_cache
            part = BleakGATTServiceCollection()
            part.add_service(next(iter(kept[path])))
            kept[path] = part
            assert band.has(profile.LOG)
        async with house.connected(link, house.identity(2)) as band:
            assert len(await band.read(profile.LOG)) >= 20


async def an_adapter_unplugged(house: House) -> None:
    heard = asyncio.Event()
    async with house.second_adapter() as second, house.link("bluez:hci1") as link:
        scan = asyncio.create_task(link.scan(lambda _sighting: heard.set()))
        await heard.wait()
        assert not link.lost
        await second.close()
        try:
            await scan
        except RadioLost:
            assert link.lost


async def link_loss(house: House) -> None:
    await house.ensure_bond(2)
    async with house.link() as link:
        async with house.connected(link, house.identity(2)) as band:
            house.band(2).peripheral.drop_link()
            await band.closed.wait()
            try:
                await band.read(profile.LOG)
            except LinkLost:
                pass
            else:
                raise AssertionError("a lost link gave a value")
        # Lost once as it is made: that is no refusal of the key, and is tried again.
        house.band(2).peripheral._device.once("connection", lambda _connection: house.band(2).peripheral.drop_link())
        async with house.connected(link, house.identity(2)) as band:
            assert len(await band.read(profile.LOG)) >= 20


async def nobody_scans_while_a_connection_is_made(house: House) -> None:
    """A scan is told of an advertisement once: one that has taken it leaves a connection waiting for the next scan."""
    scans = (await get_global_bluez_manager())._advertisement_callbacks["/org/bluez/hci0"]
    heard: dict[str, Sighting] = {}
    meanwhile: list[int] = []
    async with house.link() as link:
        scan = asyncio.create_task(link.scan(lambda sighting: heard.update({sighting.address: sighting})))
        await until(lambda: house.address(4) in heard)
        assert len(scans) == 1
        async with link.connected(heard[house.address(4)], lambda: meanwhile.append(len(scans))):
            await until(lambda: len(scans) == 1)  # it goes on
        scan.cancel()
        await asyncio.gather(scan, return_exceptions=True)
    assert meanwhile == [0]


async def the_end_of_a_link_is_no_advertisement(house: House) -> None:
    """A band that went away must not be tried, and waited for, as if it were there."""
    async with house.worn(49) as band, house.link() as link:
        address, heard = house.shown_by(band), []
        sighting = (await house.sight(link, address))[address]
        scan = asyncio.create_task(link.scan(lambda sighting: heard.append(sighting.address)))
        async with link.connected(sighting) as connected:
            heard.clear()
            await until(lambda: bool(heard))  # it listens again: a start that is broken off is never stopped by bleak
            await band.peripheral.turn_off()
            await connected.closed.wait()
        scan.cancel()
        await asyncio.gather(scan, return_exceptions=True)
        assert address not in heard


async def twelve_bands_at_once(house: House) -> None:
    async with house.link() as link, AsyncExitStack() as stack:
        where = {n: house.identity(n) if house.bonded(n) else house.address(n) for n in range(1, BANDS + 1)}
        heard = await house.sight(link, *where.values())

        async def connect(number: int) -> Peripheral:
            band = await stack.enter_async_context(link.connected(heard[where[number]]))
            if not house.bonded(number):
                await house.bond(number, band)
            return band

        bands = [await connect(number) for number in where]  # an adapter makes one connection at a time
        assert all(one.peripheral.connected for one in house.bands.wristbands)
        logs = await asyncio.gather(*(band.read(profile.LOG) for band in bands))
        assert len(set(logs)) == BANDS
        for one in house.bands.wristbands:  # BlueZ would take two seconds to hang up on each
            one.peripheral.drop_link()
        await asyncio.gather(*(band.closed.wait() for band in bands))
    assert len(house.book()) == BANDS
