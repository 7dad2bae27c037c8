"""A radio of the gateway's by itself, on Bumble in virtual time: for how long a band that is gone may keep it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from firmware_central import until

from firmware_sim.adapter import open_adapter
from firmware_sim.air import AirLink
from firmware_sim.peripheral import Peripheral
from gateway.bonds import BondBook
from gateway.link import CONNECT_S_MAX, Link, LinkLost, RadioAddress, Sighting
from tests.fieldkit.virtual_time import run_virtually


class Radio:
    """A gateway's radio that scans, and the air around it."""

    def __init__(self, air: AirLink, link: Link) -> None:
        self.air, self.link = air, link
        self.heard: dict[str, Sighting] = {}

    @asynccontextmanager
    async def band(self, number: int) -> AsyncIterator[Sighting]:
        """A band that is there, and was heard."""
        known, serial = set(self.heard), f"WP-{number:06d}"
        async with Peripheral(link=self.air, serial=serial, read=lambda _kind: b"", advertising_ms=1_000.0):
            await until(lambda: self.heard.keys() > known)
            (address,) = self.heard.keys() - known
            yield self.heard[address]


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Radio]:
    air = AirLink()
    adapter = await open_adapter(f"unix-server:{folder / 'hci'}", link=air)
    try:
        address = RadioAddress.parse(f"bumble:unix-client:{folder / 'hci'}")
        async with Link(radio=address, book=BondBook()) as link:
            radio = Radio(air, link)
            scan = asyncio.create_task(link.scan(lambda sighting: radio.heard.setdefault(sighting.address, sighting)))
            try:
                yield radio
            finally:
                scan.cancel()
                await asyncio.gather(scan, return_exceptions=True)
    finally:
        await adapter.close()


def test_a_band_that_is_gone_is_given_up_in_time_and_the_radio_can_connect_the_next_one(tmp_path: Path):
    async def run() -> float:
        async with listening(tmp_path) as radio:
            async with radio.band(1) as gone:
                pass
            begun_s = asyncio.get_running_loop().time()
            with pytest.raises(LinkLost, match="did not answer"):
                async with radio.link.connected(gone):
                    pytest.fail("there is nobody")
            took_s = asyncio.get_running_loop().time() - begun_s
            async with radio.band(2) as there, radio.link.connected(there) as band:
                assert await band.secured() is None
            return took_s

    assert run_virtually(run()) == pytest.approx(CONNECT_S_MAX, abs=0.1)
