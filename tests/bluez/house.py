"""What the checks in the guest share: bands on BlueZ's air, a town, and a gateway that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from bleak.backends.bluezdbus.manager import get_global_bluez_manager
from bleak.backends.device import BLEDevice
from firmware_central import START, until
from gateway_parts import DISTRICT, KEY, Gateway, Mosquitto, Town, eventually, wearer

from contracts.consent import band_token
from firmware_sim.adapter import Adapter, open_adapter
from firmware_sim.app import Bands
from firmware_sim.record_log import MemoryMedium, RecordLog
from firmware_sim.security import Security
from firmware_sim.synthetic import Person, Wearing
from firmware_sim.wristband import Wristband
from gateway.bluez_bonds import DEVICE, BluezBonds
from gateway.bonds import Bond, BondBook, Order
from gateway.link import Link, Peripheral, RadioAddress, Sighting
from gateway.status import in_words

MINUTES: Final = 2
BANDS: Final = 12
RADIO: Final = "bluez:hci0"
LATER: Final = START + 60 * MINUTES
READ_BEFORE: Final = (21, 22, 23, 24)
#: For bands that advertise ten times a second, on two cores that software plays.
SIGHT_S: Final = 40.0
EVERY_MINUTE: Final = [START + 60 * i for i in range(MINUTES)]


class House:
    """The bands on the air, a town behind a broker, and a gateway that comes and goes."""

    def __init__(self, bands: Bands, town: Town, gateway: Gateway, mosquitto: Mosquitto) -> None:
        self.bands, self.town, self.gateway, self.mosquitto = bands, town, gateway, mosquitto
        self._read: dict[int, Security] = {}
        self._book = self.book()

    def band(self, number: int) -> Wristband:
        return self.bands.wristbands[number - 1]

    def identity(self, number: int) -> str:
        return self.band(number).peripheral.security.identity.to_string(False)

    def address(self, number: int) -> str:
        return self.shown_by(self.band(number))

    def shown_by(self, band: Wristband) -> str:
        """What a band shows on the air now."""
        return band.peripheral._device.random_address.to_string(False)

    def book(self) -> BondBook:
        return BondBook(self.gateway.folder)

    @asynccontextmanager
    async def link(self, radio: str = RADIO) -> AsyncIterator[Link]:
        self._book = self.book()
        async with Link(radio=RadioAddress.parse(radio), book=self._book) as link:
            yield link

    @asynccontextmanager
    async def second_adapter(self) -> AsyncIterator[Adapter]:
        """One more, hci1, in the same air."""
        manager = await get_global_bluez_manager()
        second = await open_adapter("vhci", link=self.bands.link)
        try:
            await until(lambda: "/org/bluez/hci1" in manager._adapters)
            yield second
        finally:
            await second.close()

    @asynccontextmanager
    async def worn(
        self, number: int, *, security: Security | None = None, start: int = START, who: int | None = None
    ) -> AsyncIterator[Wristband]:
        """One more band on the air, its memory full of `MINUTES`; with the bonds of an earlier one; `who` wears it."""
        band = Wristband(
            link=self.bands.link,
            serial=f"WP-{number:06d}",
            source=Wearing(Person(5, who or number, DISTRICT), start=start, minutes=MINUTES),
            speed=None,
            log=RecordLog(medium=MemoryMedium(), now=start),
            security=security,
        )
        async with band.peripheral:
            playing = asyncio.create_task(band.run())
            try:
                await until(lambda: band.now > start + 60 * MINUTES)
                yield band
            finally:
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
                await band.close()

    async def read_before(self, number: int) -> Security:
        """The bonds of a band that the gateway bonded with, and read; all such bands at once, at the first call."""
        if not self._read:
            async with AsyncExitStack() as stack:
                bands = {}
                for one in READ_BEFORE:
                    self.town.give(*wearer(one))
                    bands[one] = await stack.enter_async_context(self.worn(one))
                async with self.gateway.on(RADIO):
                    await until(lambda: all(band.records_held == 0 for band in bands.values()))
                    await until(lambda: all(self.minutes(one) == EVERY_MINUTE for one in bands))
            self._read = {one: band.peripheral.security for one, band in bands.items()}
        return self._read[number]

    async def order(self, what: Order, number: int) -> None:
        """What `wijkpols gateway pair` and `unpair` do; until the running gateway has taken it."""
        self.gateway.book.leave(what, wearer(number)[0])
        await until(lambda: not list((self.gateway.folder / "orders").iterdir()))

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
            async with asyncio.timeout(SIGHT_S):
                await enough.wait()
        except TimeoutError:
            silent = set(wanted) - set(heard)
            raise AssertionError(f"not heard within {SIGHT_S:.0f} s: {silent}; heard: {set(heard)}") from None
        finally:
            scan.cancel()
            await asyncio.gather(scan, return_exceptions=True)
        return heard

    @asynccontextmanager
    async def connected(self, link: Link, address: str) -> AsyncIterator[Peripheral]:
        async with link.connected((await self.sight(link, address))[address]) as band:
            yield band

    def told(self) -> str:
        """What the gateway that ran last says of itself."""
        return in_words(self.gateway.uplink.status(), START) if hasattr(self.gateway, "uplink") else ""

    def bonded(self, number: int) -> bool:
        return self.book().of(self.identity(number)) is not None

    async def ensure_bond(self, number: int) -> None:
        if not self.bonded(number):
            async with self.link() as link, self.connected(link, self.address(number)) as band:
                await self.bond(number, band)

    async def bond(self, number: int, band: Peripheral) -> None:
        """Pair, and keep it as the gateway would: in the book of the link."""
        assert await band.secured() is None
        paired = await band.pair()
        assert paired.identity == self.identity(number)
        assert await band.secured() == paired.identity
        token = band_token(KEY, f"WP-{number:06d}")
        self._book.add(Bond(identity=paired.identity, token=token, paired_at=START))

    def minutes(self, number: int) -> list[int]:
        return sorted(one.minute for one in self.town.readings if one.pseudonym == wearer(number)[1])


async def pair_by_hand(address: str, adapter: str = "hci0") -> None:
    """As `bluetoothctl pair` would, and `disconnect`."""
    device = BLEDevice(address, None, {"path": f"/org/bluez/{adapter}/dev_{address.replace(':', '_')}"})
    bonds = await BluezBonds.open(adapter)
    try:
        await bonds.pair(device)
        await bonds._call(device.details["path"], DEVICE, "Disconnect")
    finally:
        bonds.close()


async def identities(adapter: str = "hci0") -> set[str]:
    """Whom BlueZ is bonded with."""
    bonds = await BluezBonds.open(adapter)
    try:
        return set(await bonds.identities())
    finally:
        bonds.close()


PID: Final = Path("/run/bluetoothd.pid")
STORE: Final = Path("/var/lib/bluetooth")


async def restart_bluetoothd(*, empty: bool = False) -> None:
    """Kill it, and start it again; `empty`: without its store."""
    await asyncio.to_thread(restart_now, empty=empty)


def restart_now(*, empty: bool) -> None:
    """As `restart_bluetoothd`, with nothing else going on."""
    pid = int(PID.read_text())
    with contextlib.suppress(ChildProcessError):  # the first one is no child of ours
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    eventually(lambda: not _runs(pid), what="the end of bluetoothd")
    if empty:
        for folder in STORE.iterdir():
            shutil.rmtree(folder)
    with Path("/results/bluetoothd.log").open("ab") as log:
        process = subprocess.Popen(["/usr/libexec/bluetooth/bluetoothd", "-n"], stdout=log, stderr=log)
    PID.write_text(str(process.pid))


def _runs(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # a zombie has none
    except FileNotFoundError:
        return False
