"""The gateway and its bands get to know each other over the radio, and strangers stay strangers."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from firmware_central import START, until, wearing, within
from gateway_parts import KEY, Gateway, Town, town_of, wearer

from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentState, band_token
from contracts.ports import Fault
from contracts.reading import RETENTION_DAYS
from firmware_sim.adapter import open_adapter
from firmware_sim.app import IN_MEMORY, Bands, Worn
from firmware_sim.profile import Kind
from firmware_sim.security import Security
from firmware_sim.wristband import Wristband
from gateway.bonds import ORDER_S, Bond, BondBook, Order, Pairing
from gateway.rotation import REVISIT_S

_numbers = itertools.count(1)
MINUTES = 5
NOW = START + MINUTES * 60 + 120


@pytest.fixture
def town(broker) -> Town:
    name = f"bonds-{next(_numbers)}"
    with town_of(BrokerAddress(broker.host, broker.port), name) as town:
        yield town


@pytest.fixture
def gateway(broker, town, tmp_path) -> Gateway:
    return Gateway(BrokerAddress(broker.host, broker.port), town, tmp_path / "gateway", at=NOW)


@asynccontextmanager
async def bands_of(*numbers: int, store: Path | str = IN_MEMORY) -> AsyncIterator[Bands]:
    worn = [Worn(f"WP-{number:06d}", wearing(minutes=MINUTES, number=number)) for number in numbers]
    async with Bands(worn, radio="tcp-server:127.0.0.1:0", speed=None, store=store) as bands:
        await until(lambda: all(band.now > START + 60 * MINUTES for band in bands.wristbands))
        yield bands


def token_of(number: int) -> str:
    return band_token(KEY, f"WP-{number:06d}")


def test_an_enrolled_band_is_bonded_with_and_read_by_its_identity(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1) as bands, gateway.on(f"bumble:{bands.radio}"):
            security = bands.wristbands[0].peripheral.security
            await bands.done()
            await until(lambda: len(town.readings) >= MINUTES)
            (bond,) = gateway.book
            assert (bond.identity, bond.token) == (security.identity.to_string(False), token_of(1))
            assert security.bonds == 1
        file = gateway.folder / "bonds.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert "WP-" not in file.read_text()

    within(run(), 30)


def test_a_band_that_is_not_enrolled_is_not_bonded_with(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(9) as bands, gateway.on(f"bumble:{bands.radio}"):
            await until(lambda: gateway.uplink.status().bands_without_consent == 1)
            assert len(gateway.book) == 0
            assert bands.wristbands[0].peripheral.security.bonds == 0

    within(run(), 30)


def test_a_closed_band_is_not_read_before_its_button_is_held(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1) as bands:
            (band,) = bands.wristbands
            band.peripheral.security._issued = True  # it was bonded once, with another gateway
            async with gateway.on(f"bumble:{bands.radio}"):
                await until(lambda: gateway.uplink.status().turns.get("not-paired") == 1)
                assert town.readings == []
                await band.peripheral.hold_button()
                await bands.done()
                await until(lambda: len(town.readings) >= MINUTES)

    within(run(), 30)


def test_both_restart_and_the_bond_still_holds(gateway, town, tmp_path):
    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1, store=tmp_path / "bands") as bands, gateway.on(f"bumble:{bands.radio}"):
            await bands.done()
        before = (gateway.folder / "bonds.json").read_text()
        (tmp_path / "bands" / "WP-000001.log").unlink()  # a new memory has records again
        async with bands_of(1, store=tmp_path / "bands") as bands, gateway.on(f"bumble:{bands.radio}"):
            assert not bands.wristbands[0].peripheral.security.open
            await bands.done()
            assert gateway.uplink.status().records_read >= MINUTES * 6
        assert (gateway.folder / "bonds.json").read_text() == before

    within(run(), 40)


def test_addresses_that_change_in_a_report_and_after_a_lost_link_change_nothing(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1) as bands:
            (band,) = bands.wristbands
            notify, addresses, changing = band.peripheral.notify, set(), set()

            async def change(*, lose: bool) -> None:
                await band.peripheral.change_address()
                addresses.add(band.peripheral._device.random_address)
                if lose:
                    band.peripheral.drop_link()

            def notify_and_change(kind: Kind, value: bytes) -> bool:
                if kind is Kind.RECORD and len(changing) < 2:
                    changing.add(asyncio.create_task(change(lose=len(changing) == 1)))
                return notify(kind, value)

            band.peripheral.notify = notify_and_change
            async with gateway.on(f"bumble:{bands.radio}"):
                await bands.done()
                await until(lambda: len(town.readings) >= MINUTES)
                assert len(addresses) == 2
                assert [bond.token for bond in gateway.book] == [token_of(1)]
                assert gateway.uplink.status().frames_rejected == {}
                assert sorted(one.minute for one in town.readings) == [START + 60 * i for i in range(MINUTES)]

    within(run(), 40)


@asynccontextmanager
async def bonded(gateway: Gateway, store: Path) -> AsyncIterator[Bands]:
    """A band that was read, and has records again; its gateway is off."""
    async with bands_of(1, store=store) as bands, gateway.on(f"bumble:{bands.radio}"):
        await bands.done()
    (store / "WP-000001.log").unlink()
    async with bands_of(1, store=store) as bands:
        yield bands


async def order(gateway: Gateway, what: Order) -> None:
    gateway.book.leave(what, token_of(1))
    await until(lambda: not list((gateway.folder / "orders").iterdir()))


def test_a_bond_made_by_one_adapter_holds_for_the_other(gateway, town):
    """The adapter that bonded with the band is gone in the middle of its report."""

    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1) as bands:
            (band,) = bands.wristbands
            adapters = [await open_adapter("tcp-server:127.0.0.1:0", link=bands.link) for _ in range(2)]
            notify, closing = band.peripheral.notify, []

            def notify_and_close(kind: Kind, value: bytes) -> bool:
                if kind is Kind.RECORD and not closing:
                    (bonded,) = (adapter for adapter in adapters if adapter.controller.le_connections)
                    closing.append(asyncio.create_task(bonded.close()))
                return notify(kind, value)

            band.peripheral.notify = notify_and_close
            async with gateway.on(",".join(f"bumble:{adapter.radio}" for adapter in adapters)):
                await bands.done()
                assert gateway.uplink.status().frames_rejected == {}
                assert band.peripheral.security.bonds == 1
            await asyncio.gather(*closing, *(adapter.close() for adapter in adapters))
            assert len(closing) == 1

    within(run(), 30)


def test_a_bond_that_the_band_lost_is_told_and_made_anew_by_order_and_button(gateway, town, tmp_path):
    async def run() -> None:
        town.give(*wearer(1))
        async with bonded(gateway, tmp_path / "bands") as bands:
            (band,) = bands.wristbands
            band.peripheral.security.forget()
            async with gateway.on(f"bumble:{bands.radio}"):
                await until(lambda: gateway.refused("bond:lost"))
                assert band.records_held
                await band.peripheral.hold_button()  # without an order a known band gets no new bond
                await until(lambda: gateway.uplink.status().frames_rejected["bond:lost"] >= 1)
                assert band.peripheral.security.bonds == 0
                await order(gateway, Order.PAIR)
                await bands.done()
                assert band.peripheral.security.bonds == 1

    within(run(), 40)


def test_a_bond_that_the_gateway_lost_is_made_anew_by_the_button(gateway, town, tmp_path):
    async def run() -> None:
        town.give(*wearer(1))
        async with bonded(gateway, tmp_path / "bands") as bands:
            (band,) = bands.wristbands
            (gateway.folder / "bonds.json").unlink()
            async with gateway.on(f"bumble:{bands.radio}"):
                await until(lambda: gateway.uplink.status().turns.get("not-paired") == 1)
                assert band.records_held
                assert len(gateway.book) == 0
                await band.peripheral.hold_button()
                await bands.done()
                assert band.peripheral.security.bonds == 2

    within(run(), 40)


def impostor(bands: Bands, *, security: Security | None = None, number: int = 1) -> Wristband:
    """Another device with the serial of the band, and other measurements."""
    return Wristband(
        link=bands.link,
        serial=f"WP-{number:06d}",
        source=wearing(minutes=MINUTES, number=77),
        security=security or Security(),
    )


@pytest.mark.parametrize("ordered", [False, True])
def test_who_has_a_bands_serial_alone_is_not_read_and_does_not_take_its_place(gateway, town, tmp_path, ordered: bool):
    async def run() -> None:
        town.give(*wearer(1))
        async with bonded(gateway, tmp_path / "bands") as bands:
            await until(lambda: len(town.readings) == MINUTES)  # the real one's may still be on their way
            (band,) = bands.wristbands
            await band.peripheral.turn_off()  # the real one is away
            other = impostor(bands)
            async with gateway.on(f"bumble:{bands.radio}"), other.peripheral:
                playing = asyncio.create_task(other.run())
                await until(lambda: gateway.refused("bond:other"))
                if ordered:
                    told = gateway.uplink.status().frames_rejected["bond:other"]
                    await order(gateway, Order.PAIR)
                    await until(lambda: gateway.uplink.status().frames_rejected["bond:other"] > told)
                playing.cancel()
                (bond,) = gateway.book
                assert bond.identity == band.peripheral.security.identity.to_string(False)
                assert (bond.keys is None) == ordered
            assert len(town.readings) == MINUTES
            assert other.frames_sent == 0

    within(run(), 40)


def test_who_plays_a_bands_address_without_its_key_is_not_read(gateway, town, tmp_path):
    """What can be recorded in the street: the address of this moment, which resolves to the band's identity."""

    async def run() -> None:
        town.give(*wearer(1))
        async with bonded(gateway, tmp_path / "bands") as bands:
            (band,) = bands.wristbands
            await band.peripheral.turn_off()
            other = impostor(bands)
            other.peripheral.security.irk = band.peripheral.security.irk
            other.peripheral._device.irk = band.peripheral.security.irk
            async with gateway.on(f"bumble:{bands.radio}"), other.peripheral:
                await until(lambda: gateway.refused("bond:lost"))
                (bond,) = gateway.book
                assert bond.keys is not None
            assert other.frames_sent == 0

    within(run(), 40)


def test_a_strap_with_the_serial_of_a_band_is_not_read(gateway, town, monkeypatch):
    async def run() -> None:
        town.give(*wearer(1))
        monkeypatch.setattr("gateway.profile.OWN", ())  # so that this band passes for a strap
        async with bands_of(1) as bands, gateway.on(f"bumble:{bands.radio}"):
            await until(lambda: gateway.refused("bond:missing"))
            assert town.readings == []
            assert bands.wristbands[0].records_held

    within(run(), 30)


def test_a_gateway_that_bonds_by_order_alone_waits_for_one(broker, town, tmp_path):
    gateway = Gateway(BrokerAddress(broker.host, broker.port), town, tmp_path, at=NOW, pairing=Pairing.ORDERED)

    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1) as bands, gateway.on(f"bumble:{bands.radio}"):
            await until(lambda: gateway.refused("bond:missing"))
            assert len(gateway.book) == 0
            await order(gateway, Order.PAIR)
            await bands.done()

    within(run(), 30)


def test_a_withdrawal_takes_the_bond_out(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1) as bands, gateway.on(f"bumble:{bands.radio}"):
            await bands.done()
            assert len(gateway.book) == 1
            town.withdraw(*wearer(1))
            await until(lambda: len(gateway.book) == 0)
            assert json.loads((gateway.folder / "bonds.json").read_text())["bonds"] == {}

    within(run(), 30)


def test_who_is_asked_again_keeps_the_bond_for_as_long_as_readings_are_kept(gateway, town):
    async def run() -> None:
        token, pseudonym = wearer(1)
        town.give(token, pseudonym)
        async with bands_of(1) as bands, gateway.on(f"bumble:{bands.radio}"):
            await bands.done()
            kept_s = 86_400 * RETENTION_DAYS
            town.say(token, state=ConsentState.LAPSED, pseudonym=pseudonym, issued_at=NOW - kept_s + 600)
            await until(lambda: gateway.uplink.cover(token) is None)
            await asyncio.sleep(0.6)  # longer than a tick of the reader
            assert len(gateway.book) == 1
            town.say(token, state=ConsentState.LAPSED, pseudonym=pseudonym, issued_at=NOW - kept_s)
            await until(lambda: len(gateway.book) == 0)

    within(run(), 30)


def test_a_cleared_consent_keeps_the_bond(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1) as bands, gateway.on(f"bumble:{bands.radio}"):
            await bands.done()
            town.clear(token_of(1))
            await until(lambda: gateway.uplink.cover(token_of(1)) is None)
            await asyncio.sleep(0.6)  # longer than a tick of the reader
            assert len(gateway.book) == 1

    within(run(), 30)


def test_a_band_is_taken_out_by_order(gateway, town):
    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1) as bands, gateway.on(f"bumble:{bands.radio}"):
            await bands.done()
            await order(gateway, Order.UNPAIR)
            await until(lambda: len(gateway.book) == 0)

    within(run(), 30)


@pytest.mark.parametrize("what", list(Order))
def test_an_order_that_the_disk_does_not_take_is_told_and_does_not_end_the_gateway(gateway, town, caplog, what):
    other = 41 if what is Order.PAIR else 42  # who did not consent before

    async def run() -> None:
        town.give(*wearer(1))
        async with bands_of(1, other) as bands, gateway.on(f"bumble:{bands.radio}"):
            await until(lambda: bands.wristbands[0].records_held == 0)
            (gateway.folder / "bonds.new").mkdir()  # no file of this name can be written
            await order(gateway, what)
            await until(lambda: all(bond.keys is None for bond in gateway.book))
            assert len(gateway.book) == (what is Order.PAIR)
            (gateway.folder / "bonds.new").rmdir()
            town.give(*wearer(other))
            await bands.done()
            assert gateway.book.of_token(token_of(other)) is not None

    within(run(), 30)
    assert "bonds.json cannot be written" in caplog.text


def test_a_bond_that_the_disk_does_not_take_is_told_and_holds_as_long_as_the_gateway(gateway, town, caplog):
    async def run() -> None:
        async with bands_of(43) as bands, gateway.on(f"bumble:{bands.radio}"):
            await until((gateway.folder / "bonds.json").exists)
            (gateway.folder / "bonds.new").mkdir()
            town.give(*wearer(43))
            await bands.done()
            assert gateway.uplink.status().turns["failed"] == 1
            assert token_of(43) not in (gateway.folder / "bonds.json").read_text()

    within(run(), 30)
    assert "bonds.json cannot be written (Is a directory): is the disk full?" in caplog.text


def test_orders_that_cannot_be_taken_are_told_of_once_and_end_nothing(tmp_path, caplog):
    book = BondBook(tmp_path)
    (tmp_path / "orders" / "pair-a").mkdir()
    book.leave(Order.PAIR, "b")
    assert [one.token for one in book.take_orders(100.0)] == ["b"]
    assert book.take_orders(101.0) == []
    assert caplog.text.count("cannot be taken (Is a directory): it is not done") == 1
    shutil.rmtree(tmp_path / "orders")
    assert book.take_orders(102.0) == []
    book.leave(Order.PAIR, "c")
    assert [one.token for one in book.take_orders(103.0)] == ["c"]


def test_an_order_ends_by_itself(tmp_path):
    book = BondBook(tmp_path)
    book.leave(Order.PAIR, "a")
    assert [one.token for one in book.take_orders(100.0)] == ["a"]
    assert book.take_orders(100.0) == []
    assert book.may_renew("a", 100.0 + ORDER_S - 1)
    assert not book.may_renew("a", 100.0 + ORDER_S)
    assert not book.may_renew("b", 100.0)


def test_the_folder_of_orders_is_the_gateways_own_from_its_start_and_one_that_is_not_is_one_clear_line(tmp_path):
    BondBook(tmp_path)
    orders = tmp_path / "orders"
    assert orders.stat().st_mode & 0o777 == 0o700  # so root, who orders, does not make it
    orders.rmdir()
    orders.touch()
    with pytest.raises(Fault, match=r"orders cannot be read .*: be the gateway's own user"):
        BondBook(tmp_path)


def test_a_broken_book_is_one_clear_line(tmp_path):
    BondBook(tmp_path).add(Bond(identity="F0:00:00:00:00:01", token="a", paired_at=0.0))
    assert [bond.token for bond in BondBook(tmp_path)] == ["a"]
    (tmp_path / "bonds.json").write_text("{")
    with pytest.raises(Fault, match="pair the bands anew"):
        BondBook(tmp_path)
    (tmp_path / "bonds.json").unlink()
    (tmp_path / "bonds.json").mkdir()  # whole, maybe, and not to be thrown away: it is only not readable
    with pytest.raises(Fault, match=r"bonds.json cannot be read \(Is a directory\): be the gateway's own user"):
        BondBook(tmp_path)


def test_after_a_restart_a_band_that_was_read_is_left_alone_and_one_that_was_not_is_read(broker, town, tmp_path):
    gateway = Gateway(BrokerAddress(broker.host, broker.port), town, tmp_path, at=NOW, revisit_s=REVISIT_S)

    async def run() -> None:
        town.give(*wearer(51))
        async with bands_of(51, 52, store=tmp_path / "bands") as bands, gateway.on(f"bumble:{bands.radio}"):
            await until(lambda: gateway.uplink.status().turns == {"drained": 1, "no-consent": 1})
        (tmp_path / "bands" / "WP-000051.log").unlink()  # a new memory has records again
        town.give(*wearer(52))
        async with bands_of(51, 52, store=tmp_path / "bands") as bands:
            connected: list[int] = []
            for number, band in enumerate(bands.wristbands, 51):
                band.peripheral._device.on("connection", lambda _connection, number=number: connected.append(number))
            async with gateway.on(f"bumble:{bands.radio}"):
                await until(lambda: gateway.uplink.status().turns == {"drained": 1} and all_are_read(gateway))
            assert connected == [52]
            gateway.clock.at += REVISIT_S
            async with gateway.on(f"bumble:{bands.radio}"):
                await bands.done()
            assert connected == [52, 51]

    within(run(), 40)


def all_are_read(gateway: Gateway) -> bool:
    """Whether all bands that are heard were read in the last two hours, and none of them is being read or waits."""
    now = gateway.uplink.status()
    return now.bands_read == now.bands_heard > 0 == now.bands_waiting == now.bands_connected
