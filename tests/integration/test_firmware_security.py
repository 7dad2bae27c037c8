"""What a band asks of a link, and whom it bonds with; over the radio, by a plain central."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bumble import att, hci, smp
from bumble.core import ProtocolError
from bumble.pairing import PairingConfig, PairingDelegate
from firmware_central import Central, Link, central_on, let_in, linked, until, wearing, within

from firmware_sim import profile
from firmware_sim.app import IN_MEMORY, Bands, Worn
from firmware_sim.profile import Kind
from firmware_sim.security import BONDS_MAX, WINDOW_S, BondFault, Security

INSUFFICIENT_ENCRYPTION = 0x0F
PAIRING_NOT_SUPPORTED = 0x05
OPEN = {Kind.BATTERY.value, "2A38", profile.MANUFACTURER_NAME, profile.MODEL_NUMBER, profile.FIRMWARE_REVISION}
OPEN |= {"2A00", "2A01", "2A05", "2B29", "2B2A", "2B3A"}  # of any GATT server: name, appearance, service changed, …


def bands(store: str | Path = IN_MEMORY) -> Bands:
    return Bands([Worn("WP-000001", wearing())], speed=None, store=store)


async def stranger(bands: Bands) -> Link:
    link = await (await central_on(bands.link)).connect(await heard(bands), secure=False)
    await link.discover()
    return link


async def heard(bands: Bands) -> hci.Address:
    return next(iter(await (await central_on(bands.link)).hear()))


async def error_of(work) -> int:
    with pytest.raises(att.ATT_Error) as caught:
        await work
    return int(caught.value.error_code)


def test_without_encryption_nothing_that_tells_of_a_person_is_read_written_or_subscribed_to():
    async def run() -> None:
        async with bands() as fleet:
            await (await linked(fleet)).connection.disconnect()
            link = await stranger(fleet)
            tried = set()
            for uuid, characteristic in link._characteristics.items():
                if uuid in OPEN:
                    continue
                tried.add(uuid)
                can = characteristic.properties
                if can & can.READ:
                    assert await error_of(link.read(uuid)) == INSUFFICIENT_ENCRYPTION, uuid
                if can & can.WRITE:
                    assert await error_of(link.write(uuid, b"\x01")) == INSUFFICIENT_ENCRYPTION, uuid
                if can & (can.NOTIFY | can.INDICATE):
                    assert await error_of(link.subscribe([uuid])) == INSUFFICIENT_ENCRYPTION, uuid
            personal = {kind.value for kind in Kind} - {Kind.BATTERY.value}
            assert tried == personal | {profile.LOG, profile.RECORD_CONTENTS, profile.SERIAL_NUMBER}
            assert link.frames == []

    within(run())


def test_a_bonded_band_bonds_with_another_only_after_its_button_was_held():
    async def run() -> None:
        async with bands() as fleet:
            await (await linked(fleet)).connection.disconnect()
            link = await stranger(fleet)
            with pytest.raises(ProtocolError) as caught:
                await link.connection.pair()
            assert caught.value.error_code == PAIRING_NOT_SUPPORTED
            await link.connection.disconnect()
            (band,) = fleet.wristbands
            await band.peripheral.hold_button()
            link = await stranger(fleet)
            assert await link.read(profile.SERIAL_NUMBER) == b"WP-000001"
            await link.connection.pair()
            assert band.peripheral.security.bonds == 2
            assert not band.peripheral.security.open

    within(run())


def test_the_window_closes_by_itself():
    now = [100.0]
    security = Security(clock=lambda: now[0])
    assert security.open
    within(bond(security, "F0:00:00:00:00:01"))
    assert not security.open
    security.hold_button()
    now[0] += WINDOW_S - 1
    assert security.open
    now[0] += 1
    assert not security.open


async def bond(security: Security, name: str) -> None:
    key = smp.PairingKeys.Key(value=bytes(16))
    await security.update(name, smp.PairingKeys(ltk=key))


def test_the_oldest_bond_gives_way():
    security = Security()

    async def run() -> None:
        for number in range(BONDS_MAX + 1):
            await bond(security, f"F0:00:00:00:00:{number:02X}")
        assert security.bonds == BONDS_MAX
        assert await security.get("F0:00:00:00:00:00") is None
        assert await security.get(f"F0:00:00:00:00:{BONDS_MAX:02X}") is not None

    within(run())


def test_pairing_of_the_older_kind_is_no_bond():
    async def run() -> None:
        async with bands() as fleet:
            central = await central_on(fleet.link)
            quiet = PairingDelegate(PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT)
            central.device.pairing_config_factory = lambda _connection: PairingConfig(
                sc=False, mitm=False, bonding=True, delegate=quiet
            )
            link = await central.connect(next(iter(await central.hear())), secure=False)
            await link.connection.pair()
            await link.lost.wait()
            assert fleet.wristbands[0].peripheral.security.bonds == 0

    within(run())


async def by_bond(central: Central) -> Link:
    """Encrypted by the bond that there is, or not at all."""
    link = await central.connect(next(iter(await central.hear())), secure=False)
    await link.connection.encrypt()
    await link.discover()
    return link


def test_bonds_outlive_the_band_and_its_address(tmp_path: Path):
    async def run(store: Path) -> None:
        async with bands(store) as fleet:
            central = await central_on(fleet.link)
            link = await central.connect_any()
            identity = link.connection.peer_address
            await link.connection.disconnect()
        file = store / "WP-000001.bonds.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert json.loads(file.read_text())["identity"] == identity.to_string(False)
        async with bands(store) as fleet:
            again = await central_on(fleet.link, like=central)
            link = await by_bond(again)
            assert link.connection.peer_address == identity
            assert await link.read(profile.SERIAL_NUMBER) == b"WP-000001"
        file.write_text("{")
        with pytest.raises(BondFault):
            bands(store)

    within(run(tmp_path))


def test_the_address_changes_in_a_connection_and_between_two_and_never_shows_the_identity():
    async def run() -> None:
        async with bands() as fleet:
            (band,) = fleet.wristbands
            central = await central_on(fleet.link)
            first = await heard(fleet)
            link = await central.connect(first)
            await link.discover()
            await band.peripheral.change_address()
            assert await link.read(profile.SERIAL_NUMBER) == b"WP-000001"
            await link.connection.disconnect()
            seen = {first}
            for _ in range(3):
                seen.add(await heard(fleet))
                await band.peripheral.change_address()
            assert len(seen) == 4
            assert all(address.is_resolvable for address in seen)
            assert band.peripheral.security.identity not in seen
            await (await by_bond(central)).read(profile.LOG)

    within(run())


def test_a_band_changes_its_address_by_itself():
    async def run() -> None:
        async with Bands([Worn("WP-000001", wearing())], speed=None, store=IN_MEMORY, address_s=0.05) as fleet:
            central = await central_on(fleet.link)
            assert len(await central.hear(3)) == 3

    within(run())


def test_a_band_that_lost_its_bonds_refuses_the_old_key_and_is_still_closed():
    async def run() -> None:
        async with bands() as fleet:
            (band,) = fleet.wristbands
            central = await central_on(fleet.link)
            await (await central.connect_any()).connection.disconnect()
            band.peripheral.security.forget()
            link = await central.connect(next(iter(await central.hear())), secure=False)
            with pytest.raises(hci.HCI_Error) as caught:
                await link.connection.encrypt()
            assert caught.value.error_code == hci.HCI_ErrorCode.PIN_OR_KEY_MISSING_ERROR
            with pytest.raises(ProtocolError):
                await link.connection.pair()
            await link.connection.disconnect()
            let_in(fleet)
            link = await central.connect(next(iter(await central.hear())), secure=False)
            await link.connection.pair()
            await until(lambda: band.peripheral.security.bonds == 1)

    within(run())
