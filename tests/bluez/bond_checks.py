"""Lost bonds, and who is not who he says, on BlueZ."""

from __future__ import annotations

from bumble.device import Connection
from bumble.pairing import PairingConfig, PairingDelegate
from firmware_central import until
from gateway_parts import wearer
from house import RADIO, House, identities, restart_bluetoothd

from firmware_sim.security import Security
from firmware_sim.wristband import Wristband
from gateway.bluez_bonds import DEVICE, BluezBonds
from gateway.bonds import Order


class Demanding(Security):
    """Tells nothing without encryption, and pairs with everybody."""

    def __init__(self) -> None:
        super().__init__()
        self._issued = True

    def pairing(self, _connection: Connection) -> PairingConfig:
        """Yes."""
        return PairingConfig(
            sc=True,
            mitm=False,
            bonding=True,
            delegate=PairingDelegate(PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT),
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )


def identity_of(security: Security) -> str:
    return security.identity.to_string(False)


async def a_bond_that_the_band_lost(house: House) -> None:
    security = await house.read_before(21)
    security.forget()
    async with house.worn(21, security=security) as band:
        await band.peripheral.hold_button()  # it would bond now with whoever asks
        async with house.gateway.on(RADIO) as gateway:
            await until(lambda: gateway.refused("bond:lost"))
            assert gateway.uplink.status().turns == {"bond-lost": 1}
            assert gateway.book.of(identity_of(security)) is not None
            assert identity_of(security) in await identities()
            assert security.bonds == 0
            assert band.records_held
            await house.order(Order.PAIR, 21)
            await until(lambda: band.records_held == 0)
    assert security.bonds == 1


async def bonds_that_bluez_lost(house: House) -> None:
    security = await house.read_before(22)
    await restart_bluetoothd(empty=True)
    async with house.worn(22, security=security) as band, house.gateway.on(RADIO) as gateway:
        await until(lambda: gateway.uplink.status().turns.get("not-paired", 0) == 1)
        await band.peripheral.hold_button()
        await until(lambda: gateway.refused("bond:other"))
        assert band.records_held
        assert identity_of(security) not in await identities()
        await house.order(Order.PAIR, 22)
        await until(lambda: band.records_held == 0)
    assert identity_of(security) in await identities()


async def strangers_leave_no_bond(house: House) -> None:
    """One has the serial of a band that we know, the others demand a pairing: enrolled, and not."""
    known = await house.read_before(23)
    house.town.give(*wearer(31))
    before = await identities()
    assert identity_of(known) in before
    read = len(house.town.readings)
    async with (
        house.worn(23, who=77) as impostor,
        house.worn(31, security=Demanding()) as enrolled,
        house.worn(32, security=Demanding()) as nobody,
        house.gateway.on(RADIO) as gateway,
    ):
        strangers = (impostor, enrolled, nobody)
        await until(lambda: gateway.refused("bond:other") and gateway.refused("bond:failed"))
        await until(lambda: gateway.uplink.status().turns.get("no-consent", 0) == 1)
        await until(lambda: not any(one.peripheral.connected for one in strangers))
        assert all(one.records_held for one in strangers)
        assert [one.peripheral.security.bonds for one in strangers] == [0, 1, 1]
        assert await identities() == before
        assert gateway.book.of_token(wearer(31)[0]) is None
    assert len(house.town.readings) == read


async def a_left_over_bond_is_none(house: House) -> None:
    """Of a gateway that was killed as it paired; or made by hand while one runs."""
    await house.read_before(23)
    before = await identities()
    house.town.give(*wearer(33))
    async with house.worn(33) as left, house.worn(34) as made:
        await pair_by_hand(house, left)
        assert identity_of(left.peripheral.security) in await identities()
        async with house.gateway.on(RADIO) as gateway:
            await until(lambda: gateway.uplink.status().turns.get("no-consent", 0) == 1)
            await until(lambda: gateway.uplink.status().turns.get("not-paired", 0) == 1)
            assert await identities() == before
            await pair_by_hand(house, made)
            house.town.give(*wearer(34))
            await until(lambda: gateway.refused("bond:missing"))
            await until(lambda: not made.peripheral.connected)
            assert await identities() == before
        assert left.records_held
        assert made.records_held


async def pair_by_hand(house: House, band: Wristband) -> None:
    address = band.peripheral._device.random_address.to_string(False)
    async with house.link() as link:
        device = (await house.sight(link, address))[address].device
    bonds = await BluezBonds.open("hci0")
    try:
        await bonds.pair(device)
        await bonds._call(device.details["path"], DEVICE, "Disconnect")
    finally:
        bonds.close()
    await until(lambda: not band.peripheral.connected)
