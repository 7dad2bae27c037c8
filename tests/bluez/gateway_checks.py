"""The whole gateway on BlueZ."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import installed
from firmware_central import START, until
from gateway_parts import KEY, town_of, wearer
from house import (
    BANDS,
    EVERY_MINUTE,
    LATER,
    MINUTES,
    RADIO,
    House,
    identities,
    pair_by_hand,
    restart_bluetoothd,
)
from strap import strap_on

from contracts.consent import band_token, new_pseudonym
from contracts.reading import Reading
from firmware_sim.profile import Kind


async def drain(house: House) -> None:
    numbers = range(1, BANDS + 1)
    for number in numbers:
        house.town.give(*wearer(number))
    async with house.gateway.on(RADIO):
        await until(lambda: all(house.band(number).records_held == 0 for number in numbers))
        await until(lambda: all(len(house.minutes(number)) >= MINUTES for number in numbers))
        assert all(house.minutes(number) == EVERY_MINUTE for number in numbers)
        assert house.gateway.uplink.status().records_corrected == 0


async def withdrawal_removes_the_device(house: House) -> None:
    for number in (5, 6):
        await house.ensure_bond(number)
    stays, goes = house.identity(5), house.identity(6)
    async with house.gateway.on(RADIO) as gateway:
        assert {stays, goes} <= await identities()
        house.town.withdraw(*wearer(6))
        await until(lambda: gateway.book.of(goes) is None)
        known = await identities()
    assert stays in known
    assert goes not in known


async def bluetoothd_killed_in_a_reading(house: House) -> None:
    security = await house.read_before(24)
    before = await identities()
    house.gateway.clock.at += LATER - START  # as that of the band
    async with house.worn(24, security=security, start=LATER) as band, house.gateway.on(RADIO) as gateway:
        notify, killed = band.peripheral.notify, []

        def notify_and_kill(kind: Kind, value: bytes) -> bool:
            if kind is Kind.RECORD and not killed:
                killed.append(asyncio.create_task(restart_bluetoothd()))
            return notify(kind, value)

        band.peripheral.notify = notify_and_kill
        await until(lambda: bool(killed))
        await killed[0]
        assert band.records_held
        await until(lambda: band.records_held == 0)
        await until(lambda: len(house.minutes(24)) >= 2 * MINUTES)
        assert gateway.uplink.status().turns.get("radio-lost", 0) == 1
    assert house.minutes(24) == [*EVERY_MINUTE, *(LATER + 60 * i for i in range(MINUTES))]
    assert security.bonds == 1
    assert await identities() == before


async def two_adapters(house: House) -> None:
    for number in range(41, 47):
        house.town.give(*wearer(number))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(house.second_adapter())
        bands = {number: await stack.enter_async_context(house.worn(number)) for number in range(41, 47)}
        held = sum(band.records_held for band in bands.values())

        def read() -> bool:
            done = all(band.records_held == 0 for band in bands.values())
            return done and all(len(house.minutes(number)) >= MINUTES for number in bands)

        async with house.gateway.on("bluez:hci0=1,bluez:hci1=1") as gateway:
            await until(read)
            assert gateway.uplink.status().records_read == held
            # One of them may have read all six, when BlueZ failed on the other one: then more come by.
            while len({tuple(band.peripheral.security._bonds) for band in bands.values()}) < 2:
                number = len(bands) + 41
                house.town.give(*wearer(number))
                bands[number] = await stack.enter_async_context(house.worn(number))
                await until(read)
    assert all(house.minutes(number) == EVERY_MINUTE for number in bands)
    assert all(band.peripheral.security.bonds == 1 for band in bands.values())


async def a_left_over_bond_is_its_adapters(house: House) -> None:
    """Who bonded by hci1, and is no band of ours, is none of hci0's business."""
    async with house.second_adapter(), house.worn(48) as band:
        address, identity = house.shown_by(band), band.peripheral.security.identity.to_string(False)
        async with house.link("bluez:hci1") as link:
            await house.sight(link, address)
        await pair_by_hand(address, "hci1")
        assert identity not in await identities()
        async with house.link():
            assert identity in await identities("hci1")
        async with house.link("bluez:hci1"):
            assert identity not in await identities("hci1")


async def a_plain_strap(house: House) -> None:
    serial, pseudonym = "HR-0001", new_pseudonym(bytes(16))
    house.town.give(band_token(KEY, serial), pseudonym)
    before = await identities()

    def passed() -> None:
        house.gateway.clock.at += 1

    def minutes() -> list[Reading]:
        return [one for one in house.town.readings if one.pseudonym == pseudonym]

    async with strap_on(house.bands.link, serial, second_s=0.03, passed=passed) as strap:
        address = strap.static_address.to_string(False)
        async with house.link() as link:
            await house.sight(link, address)
        await pair_by_hand(address)  # somebody's own doing, which the gateway leaves alone
        async with house.gateway.on(RADIO) as gateway:
            await until(lambda: len(minutes()) >= 2)
            assert gateway.uplink.status().bands_connected == 1
            assert gateway.uplink.status().frames_rejected == {}
    whole = minutes()[1]
    assert whole.hr is not None
    assert abs(whole.hr - 80) < 1
    assert await identities() == {*before, address}


async def the_program_as_installed(house: House) -> None:
    environment = installed.settings(str(house.mosquitto.address))
    name = environment["WIJKPOLS_GATEWAY_NAME"]
    await asyncio.to_thread(installed.install, KEY)
    began = int(time.time()) // 60 * 60 - 60 * MINUTES - 180
    with town_of(house.mosquitto.address, name) as town:
        town.give(*wearer(51))
        gateway = installed.Program(installed.service(), environment)
        try:
            async with house.worn(51, start=began) as band:
                # Its clock is set, so that its first and its last minute are not whole ones.
                await until(lambda: (not band.records_held and len(town.readings) >= MINUTES - 1) or gateway.ended)
            assert not gateway.ended, gateway.said
            pair = ["--settings", str(installed.SETTINGS), "gateway", "pair", "--band", "WP-000051"]
            order = installed.Program([*pair, "--band-key-file", str(installed.KEY_FILE)], {})
            assert "lets WP-000051 bond" in await order.finish()
            known = {"WIJKPOLS_BROKER_URL": environment["WIJKPOLS_BROKER_URL"]}
            status = await installed.Program(["gateway", "status", "--name", name], known).finish()
            assert f"{name} in {environment['WIJKPOLS_GATEWAY_DISTRICT']}: online" in status
        finally:
            gateway.process.terminate()
        assert "bonded with a band; 1 in all" in await gateway.finish()
        await until(lambda: not town.statuses[-1].online)
    assert len(town.readings) == len({one.minute for one in town.readings})
    assert (installed.STATE / "bonds.json").exists()
    assert not (found := installed.open_to_others()), found
