"""Lost bonds, and who is not who he says, on BlueZ."""

from __future__ import annotations

from bumble.device import Connection
from bumble.pairing import PairingConfig, PairingDelegate
from firmware_central import until
from gateway_parts import wearer
from house import RADIO, House, identities, pair_by_hand, restart_bluetoothd

from firmware_sim.security import Security
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
    async with house.worn(22, security=security) as band:
        async with house.gateway.on(RADIO) as gateway:
            await until(lambda: gateway.uplink.status().turns.get("not-paired", 0) == 1)
            assert gateway.refused("bond:other") == 0
        await band.peripheral.hold_button()
        # Another run: the first one, free to try all again, would try the band's old address too, for 20 s and more.
        async with house.gateway.on(RADIO) as gateway:
            await until(lambda: gateway.refused("bond:other"))
            assert band.records_held
            assert identity_of(security) not in await identities()
            await house.order(Order.PAIR, 22)
            await until(lambda: band.records_held == 0)
    assert identity_of(security) in await identities()


async def strangers_leave_no_bond(house: House) -> None:
    """One has the serial of a band that we know; two demand a pairing, enrolled and not; one leaves in the middle."""
    known = await house.read_before(23)
    for number in (31, 35):
        house.town.give(*wearer(number))
    before = await identities()
    assert identity_of(known) in before
    read = len(house.town.readings)
    async with (
        house.worn(23, who=77) as impostor,
        house.worn(31, security=Demanding()) as enrolled,
        house.worn(32, security=Demanding()) as nobody,
        house.worn(35) as leaver,
        house.gateway.on(RADIO) as gateway,
    ):
        leaver.peripheral._on_pairing = lambda _connection: leaver.peripheral.drop_link()
        strangers = (impostor, enrolled, nobody, leaver)
        await until(lambda: gateway.refused("bond:other"))
        await until(lambda: leaver.peripheral.security.bonds == 1)
        demanding = enrolled.peripheral.security, nobody.peripheral.security
        await until(lambda: gateway.uplink.status().turns.get("failed", 0) >= 3 or any(one.bonds for one in demanding))
        assert all(one.records_held for one in strangers)
        assert [one.peripheral.security.bonds for one in strangers] == [0, 0, 0, 1]
        assert {bond.identity for bond in gateway.book} == before
    assert await identities() == before
    assert len(house.town.readings) == read


async def a_left_over_bond_is_none(house: House) -> None:
    """Of a gateway that was killed as it paired; or made by hand while one runs."""
    await house.read_before(23)
    before = await identities()
    house.town.give(*wearer(33))
    async with house.worn(33) as left, house.worn(34) as made:
        address = house.shown_by(left)
        async with house.link() as link:
            await house.sight(link, address)
        await pair_by_hand(address)
        await until(lambda: not left.peripheral.connected)
        assert identity_of(left.peripheral.security) in await identities()
        async with house.gateway.on(RADIO) as gateway:
            await until(lambda: gateway.uplink.status().turns.get("no-consent", 0) == 1)
            await until(lambda: gateway.uplink.status().turns.get("not-paired", 0) == 1)
            assert await identities() == before
            await pair_by_hand(house.shown_by(made))
            await until(lambda: not made.peripheral.connected)
            house.town.give(*wearer(34))
            await until(lambda: gateway.refused("bond:missing"))
            await until(lambda: not made.peripheral.connected)
            assert await identities() == before
        assert left.records_held
        assert made.records_held
