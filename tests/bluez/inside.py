"""Runs in the guest: the gateway's own link and reader on real BlueZ, whose adapter is the air of simulated bands.

`python inside.py FILE [CHECK…]`, with `tests/integration` on the path too, writes a line of JSON for each check to FILE
as it ends; what is not there did not pass.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from checks import NAMES
from firmware_central import START, until, wearing
from gateway_parts import KEY, Gateway, Mosquitto, Town, town_of, wearer

from contracts.consent import band_token
from firmware_sim.app import IN_MEMORY, Bands, Worn
from firmware_sim.wristband import Wristband
from gateway import profile
from gateway.bluez_bonds import BluezBonds
from gateway.bonds import Bond, BondBook
from gateway.link import Link, LinkLost, Peripheral, RadioAddress, Refused, Sighting

MINUTES = 2
BANDS = 12
CHECK_S = 60.0
DRAIN_S = 150.0  # of twelve bands, software playing two cores
RADIO = "bluez:hci0"


class House:
    """The bands on the air, a town behind a broker, and a gateway that comes and goes."""

    def __init__(self, bands: Bands, town: Town, gateway: Gateway) -> None:
        self.bands, self.town, self.gateway = bands, town, gateway
        self.stack = AsyncExitStack()

    def band(self, number: int) -> Wristband:
        return self.bands.wristbands[number - 1]

    def identity(self, number: int) -> str:
        return self.band(number).peripheral.security.identity.to_string(False)

    def address(self, number: int) -> str:
        """What the band shows on the air now."""
        return self.band(number).peripheral._device.random_address.to_string(False)

    def book(self) -> BondBook:
        return BondBook(self.gateway.folder)

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        async with Link(radio=RadioAddress.parse(RADIO), book=self.book()) as link:
            yield link

    async def sight(self, link: Link, *wanted: str) -> dict[str, Sighting]:
        """Who advertises, as soon as these do."""
        heard: dict[str, Sighting] = {}
        enough = asyncio.Event()

        def seen(sighting: Sighting) -> None:
            heard[sighting.address] = sighting
            if set(wanted) <= set(heard):
                enough.set()

        scan = asyncio.create_task(link.scan(seen))
        try:
            await enough.wait()
        finally:
            scan.cancel()
            await asyncio.gather(scan, return_exceptions=True)
        return heard

    @asynccontextmanager
    async def connected(self, link: Link, address: str) -> AsyncIterator[Peripheral]:
        async with link.connected((await self.sight(link, address))[address]) as band:
            yield band

    def bonded(self, number: int) -> bool:
        return self.book().of(self.identity(number)) is not None

    async def ensure_bond(self, number: int) -> None:
        if not self.bonded(number):
            async with self.link() as link, self.connected(link, self.address(number)) as band:
                await self.bond(number, band)

    async def bond(self, number: int, band: Peripheral) -> None:
        """Pair, and keep it as the gateway would."""
        assert await band.secured() is None
        paired = await band.pair()
        assert paired.identity == self.identity(number)
        assert await band.secured() == paired.identity
        token = band_token(KEY, f"WP-{number:06d}")
        self.book().add(Bond(identity=paired.identity, token=token, paired_at=START))

    def minutes(self, number: int) -> list[int]:
        return sorted(one.minute for one in self.town.readings if one.pseudonym == wearer(number)[1])


EVERY_MINUTE = [START + 60 * i for i in range(MINUTES)]


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
        async with house.connected(link, house.identity(2)) as band:
            assert len(await band.read(profile.LOG)) >= 20


async def twelve_bands_at_once(house: House) -> None:
    async with house.link() as link, AsyncExitStack() as stack:
        where = {n: house.identity(n) if house.bonded(n) else house.address(n) for n in range(1, BANDS + 1)}
        heard = await house.sight(link, *where.values())

        async def connect(number: int) -> Peripheral:
            band = await stack.enter_async_context(link.connected(heard[where[number]]))
            if not house.bonded(number):
                await house.bond(number, band)
            return band

        bands = await asyncio.gather(*map(connect, where))
        assert all(one.peripheral.connected for one in house.bands.wristbands)
        logs = await asyncio.gather(*(band.read(profile.LOG) for band in bands))
        assert len(set(logs)) == BANDS
    assert len(house.book()) == BANDS


async def drain(house: House) -> None:
    """From here on one gateway runs."""
    numbers = range(1, BANDS + 1)
    for number in numbers:
        house.town.give(*wearer(number))
    await house.stack.enter_async_context(house.gateway.on(RADIO))
    await until(lambda: all(house.band(number).records_held == 0 for number in numbers))
    await until(lambda: all(len(house.minutes(number)) >= MINUTES for number in numbers))
    assert all(house.minutes(number) == EVERY_MINUTE for number in numbers)
    assert house.gateway.uplink.status().records_corrected == 0


async def withdrawal_removes_the_device(house: House) -> None:
    stays, goes = house.identity(5), house.identity(6)
    assert {stays, goes} <= set(await identities())
    house.town.withdraw(*wearer(6))
    await until(lambda: house.gateway.book.of(goes) is None)
    known = await identities()
    assert stays in known
    assert goes not in known


async def identities() -> dict[str, str]:
    """Whom BlueZ is bonded with."""
    bonds = await BluezBonds.open("hci0")
    try:
        return await bonds.identities()
    finally:
        bonds.close()


async def main(results: Path, names: list[str]) -> None:
    worn = [Worn(f"WP-{number:06d}", wearing(MINUTES, number)) for number in range(1, BANDS + 1)]
    with tempfile.TemporaryDirectory() as folder:
        mosquitto = Mosquitto(Path(folder))
        mosquitto.start()
        with town_of(mosquitto.address, "bluez") as town:
            gateway = Gateway(mosquitto.address, town, Path(folder) / "gateway", at=START + MINUTES * 60 + 120)
            async with Bands(worn, radio="vhci", speed=None, store=IN_MEMORY) as bands:
                await until(lambda: all(band.now > START + 60 * MINUTES for band in bands.wristbands))
                house = House(bands, town, gateway)
                async with house.stack:
                    for name in names:
                        await run(name, house, results)
        mosquitto.kill()


async def run(name: str, house: House, results: Path) -> None:
    check: Callable[[House], object] = globals()[name]
    fault, began = "", time.monotonic()
    try:
        async with asyncio.timeout(DRAIN_S if check is drain else CHECK_S):
            await check(house)
    except Exception:  # noqa: BLE001 (whatever it is, it is this check's, and the next one runs)
        fault = traceback.format_exc()
    with results.open("a") as out:
        seconds = round(time.monotonic() - began, 1)
        out.write(json.dumps({"check": name, "passed": not fault, "seconds": seconds, "fault": fault}) + "\n")


if __name__ == "__main__":
    logging.basicConfig(filename=sys.argv[1] + ".log", level=logging.INFO)
    logging.getLogger("gateway").setLevel(logging.DEBUG)
    logging.getLogger("bumble").setLevel(logging.CRITICAL)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:] or list(NAMES)))
