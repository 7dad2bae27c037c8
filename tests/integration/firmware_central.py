"""For the tests of bands: a plain central on Bumble that keeps every frame, and what it ought to have got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bumble import hci
from bumble.device import Connection, Device, DeviceConfiguration, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.host import Host
from bumble.keys import JsonKeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport

from firmware_sim import profile
from firmware_sim.air import AirController, AirLink
from firmware_sim.app import Bands
from firmware_sim.frames import FrameEncoder
from firmware_sim.physiology import Samples, Source
from firmware_sim.profile import Kind
from firmware_sim.synthetic import Person, Wearing

START = 1_762_502_880
MTU = 247
CCCD_NOTIFY, CCCD_INDICATE = 0x10, 0x20
Frame = tuple[str, bytes]  # the characteristic's UUID as in profile.Kind, its value


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true; the test's own deadline ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - what is waited for belongs to others, who set no event
        await asyncio.sleep(0.005)


class Link:
    """A connection to one band, and all that it sent: what nobody subscribed to, too (a GATT client hides that)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        self.lost = asyncio.Event()
        self.lost_reason: int | None = None
        self._characteristics: dict[str, CharacteristicProxy] = {}
        connection.on(Connection.EVENT_DISCONNECTION, self._on_lost)
        client = connection.gatt_client
        for name in ("on_att_handle_value_notification", "on_att_handle_value_indication"):
            setattr(client, name, partial(self._on_value, getattr(client, name)))

    async def discover(self, *, mtu: int | None = 247) -> list[str]:
        peer = Peer(self.connection)
        if mtu is not None:
            await peer.request_mtu(mtu)
        for service in await peer.discover_services():
            for characteristic in await service.discover_characteristics():
                await characteristic.discover_descriptors()
                self._characteristics[short(characteristic.uuid)] = characteristic
        return list(self._characteristics)

    async def subscribe(self, uuids: Iterable[str] | None = None) -> None:
        """To these, or to all that can be."""
        for uuid, characteristic in self._characteristics.items():
            can = int(characteristic.properties) & (CCCD_NOTIFY | CCCD_INDICATE)
            if can and (uuids is None or uuid in uuids):
                await characteristic.subscribe(lambda _value: None, prefer_notify=bool(can & CCCD_NOTIFY))

    async def read(self, uuid: str) -> bytes:
        return bytes(await self._characteristics[uuid].read_value())

    async def write(self, uuid: str, value: bytes) -> None:
        await self._characteristics[uuid].write_value(value, with_response=True)

    def of(self, uuid: str) -> list[bytes]:
        return [value for kind, value in self.frames if kind == uuid]

    def _on_value(self, handle_it: Callable[[Any], None], pdu: Any) -> None:
        uuid = next(u for u, c in self._characteristics.items() if c.handle == pdu.attribute_handle)
        self.frames.append((uuid, bytes(pdu.attribute_value)))
        handle_it(pdu)

    def _on_lost(self, reason: int) -> None:
        self.lost_reason = reason
        self.lost.set()


class Central:
    """The host of one adapter."""

    def __init__(self, device: Device) -> None:
        self.device = device

    async def hear(self, bands: int = 1, *, seconds: float = 10) -> dict[hci.Address, bytes]:
        """The first so many advertisers, each with its data."""
        heard: dict[hci.Address, bytes] = {}
        enough = asyncio.Event()

        def on_advertisement(advertisement) -> None:
            heard[advertisement.address] = bytes(advertisement.data)
            if len(heard) >= bands:
                enough.set()

        self.device.on("advertisement", on_advertisement)
        await self.device.start_scanning(filter_duplicates=True)
        try:
            async with asyncio.timeout(seconds):
                await enough.wait()
        finally:
            await self.device.stop_scanning()
            self.device.remove_listener("advertisement", on_advertisement)
        return heard

    async def connect(self, address: hci.Address, *, seconds: float = 10, secure: bool = True) -> Link:
        """`secure`: encrypted, by the bond that there is, or by a new one."""
        link = Link(await self.device.connect(address, timeout=seconds))
        if secure:
            await self.secure(link)
        return link

    async def secure(self, link: Link) -> None:
        bonded = await self.device.keystore.get(str(link.connection.peer_address))
        await (link.connection.encrypt() if bonded else link.connection.pair())

    async def connect_any(self) -> Link:
        return await self.connect(next(iter(await self.hear())))


def short(uuid) -> str:
    text = uuid.to_hex_str("-")
    return text if len(text) == 4 else text.lower()


def _device(host: Host) -> Device:
    address = hci.Address.generate_static_address()
    device = Device(config=DeviceConfiguration(name="central", address=address), host=host)
    quiet = PairingDelegate(PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT)
    device.pairing_config_factory = lambda _connection: PairingConfig(sc=True, mitm=False, bonding=True, delegate=quiet)
    return device


async def central_on(link: AirLink, *, like: Central | None = None) -> Central:
    """A central in this process, on the air itself; with the address and the bonds of another one."""
    controller = AirController("central", link=link)
    device = _device(Host(controller, controller))
    if like is not None:
        device.static_address, device.keystore = like.device.static_address, like.device.keystore
    await device.power_on()
    return Central(device)


@asynccontextmanager
async def central_by(radio: str, *, keys: Path | str | None = None) -> AsyncIterator[Central]:
    """A central that reaches its adapter through a socket, as the gateway does; `keys`: a file of its bonds."""
    async with await open_transport(radio) as (source, sink):
        device = _device(Host(source, sink))
        if keys is not None:
            device.static_address, device.keystore = hci.Address("F0:00:00:00:00:01"), JsonKeyStore("", str(keys))
        await device.power_on()
        yield Central(device)


def within(coroutine: Coroutine[Any, Any, None], seconds: float = 30) -> None:
    """Run to the end, or fail: nothing here may wait for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await coroutine

    asyncio.run(bounded())


def wearing(minutes: int = 2, number: int = 1) -> Wearing:
    return Wearing(Person(5, number, "WK034403"), start=START, minutes=minutes)


class Slice:
    """A part of another source."""

    def __init__(self, source: Source, *spans: tuple[int, int]) -> None:
        self._source = source
        self._spans = spans

    def spans(self) -> tuple[tuple[int, int], ...]:
        return self._spans

    def samples(self, start: int, end: int) -> Samples:
        return self._source.samples(start, end)


def expected(samples: Samples, *, mtu: int = MTU) -> list[tuple[str, bytes]]:
    """What a band sends of a span when everything is subscribed to."""
    encoder = FrameEncoder(samples)
    ticks = range(samples.start + 1, samples.end + 1)
    sent = [
        (kind.value, value)
        for tick in ticks
        for kind, value in encoder.at(tick, payload_bytes=mtu - 3, final=tick == samples.end)
    ]
    return [*sent, (Kind.CURRENT_TIME.value, profile.current_time(samples.end))]


def let_in(bands: Bands) -> None:
    """Open the bands to a central that they have no bond with."""
    for band in bands.wristbands:
        band.peripheral.security.hold_button()


async def linked(bands: Bands, *, mtu: int | None = MTU) -> Link:
    """A link of a new central to the one band there is, its services known, nothing subscribed."""
    let_in(bands)
    link = await (await central_on(bands.link)).connect_any()
    await link.discover(mtu=mtu)
    return link


@asynccontextmanager
async def connected(bands: Bands, *, mtu: int | None = MTU) -> AsyncIterator[Link]:
    """As `linked`."""
    yield await linked(bands, mtu=mtu)
