"""A bleak 3 backend on Google's Bumble: the radio as an HCI link over TCP or a unix socket, where BlueZ has an adapter.

Bumble reports a lost link by cancelling whatever waits for the peer, and a lost transport not at all to some waiters.
Both would look like a cancellation of our own task, or hang; so every operation runs in a task of its own
(`BumbleAdapter.run`) that ends as a BleakError with its link.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, Self, TypeVar

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementDataCallback, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError
from bumble import att, core, hci
from bumble.device import Advertisement, Connection, DeviceConfiguration, Peer
from bumble.transport import open_transport
from bumble.transport.common import Transport

from gateway.bonds import BondBook, BondRefused, Paired
from gateway.bumble_data import QuietHost, advertisement_data, uuid_text
from gateway.bumble_keys import BondedDevice, BumbleKeys, Resolver

AD = core.AdvertisingData
T = TypeVar("T")

#: ATT_MTU that is asked for: a frame of 244 bytes in one packet of 251 (Core, Vol 6, Part B, 4.5.10).
MTU: Final = 247
#: How long a controller may take to answer a command; without it a dead one would hang us.
COMMAND_S_MAX: Final = 5.0


class BumbleAdapter:
    """Stands for an adapter: one HCI transport and the Bumble host on it, shared by scanner and clients."""

    def __init__(self, transport: Transport, book: BondBook) -> None:
        self._transport = transport
        self._keys = BumbleKeys(book)
        self._resolver = Resolver(book)
        address, irk = book.own(hci.Address.generate_static_address().to_string(False), secrets.token_hex(16))
        config = DeviceConfiguration(name="gateway", address=hci.Address(address), irk=bytes.fromhex(irk))
        host = QuietHost(transport.source, transport.sink)
        self.device = BondedDevice(keys=self._keys, resolver=self._resolver, config=config, host=host)
        self.lost = asyncio.Event()
        self.addresses: dict[str, hci.Address] = {}
        self.clients: set[BleakClientBumble] = set()
        self._connecting = asyncio.Lock()
        transport.source.terminated.add_done_callback(self._transport_ended)

    @classmethod
    async def open(cls, transport_name: str, book: BondBook) -> Self:
        """Open `tcp-client:HOST:PORT` or any other Bumble transport. Raises OSError or BleakError."""
        adapter = cls(await open_transport(transport_name), book)
        try:
            async with asyncio.timeout(COMMAND_S_MAX):
                await adapter.run(adapter.device.power_on())
        except BaseException as fault:
            await adapter.close()
            if isinstance(fault, TimeoutError):
                raise BleakError("the radio does not answer") from None
            raise
        return adapter

    async def close(self) -> None:
        """Let go of the transport."""
        self._transport.source.terminated.remove_done_callback(self._transport_ended)
        self._end()
        with contextlib.suppress(OSError):
            await self._transport.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` as long as the radio is there. Whatever goes wrong in it comes out as a BleakError."""
        if self.lost.is_set():
            work.close()
            raise BleakError("the radio is lost")
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._transport.source.terminated), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        if task.cancelled():
            raise BleakError("the radio is lost" if self.lost.is_set() else "the link is lost")
        try:
            return task.result()
        except BleakError:
            raise
        except att.ATT_Error as fault:
            raise BleakGATTProtocolError(fault.error_code) from fault
        except Exception as fault:  # a hostile peer gets as far as a ValueError or an IndexError in Bumble
            raise BleakError(f"{type(fault).__name__} in the Bluetooth stack") from fault

    async def connect(self, address: hci.Address, timeout_s: float) -> Connection:
        """Connect to a peer. One at a time: a controller has one LE Create Connection (Core, Vol 4, Part E, 7.8.12)."""
        async with self._connecting:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self.run(self.device.connect(address, timeout=None))
            except BaseException as fault:
                await asyncio.shield(self._cancel_connect(address))
                if isinstance(fault, TimeoutError):
                    raise BleakDeviceNotFoundError(address.to_string(False), "the device did not answer") from None
                raise

    # -- bonds --------------------------------------------------------------------------------------------------------

    def identity(self, address: hci.Address) -> str | None:
        """Whose address this is; None when it is nobody's that we are bonded with."""
        found = self._resolver.resolve(address) if address.is_resolvable else None
        return None if found is None else str(found)

    async def secure(self, connection: Connection) -> str | None:
        """Encrypt by the bond with this peer, and return its identity; None when there is none. Raises BondRefused."""
        name = str(connection.peer_address)
        if await self._keys.get(name) is None:
            return None
        try:
            await self.run(connection.encrypt())
        except BleakError as fault:
            if isinstance(fault.__cause__, hci.HCI_Error):
                raise BondRefused from None
            raise
        return name

    async def pair(self, device: BLEDevice) -> Paired:
        """Bond with a connected peer; the keys are not kept yet. Raises BleakError."""
        client = self._client(device)
        await client.pair()
        identity = client.peer()
        keys = self._keys.take(identity)
        if keys is None:
            raise BleakError("the pairing gave no bond of Secure Connections")
        return Paired(identity, keys)

    async def secured(self, device: BLEDevice) -> str | None:
        """The identity of a connected peer, if its link is encrypted by a bond."""
        return self._client(device).identity

    async def forget(self, _identity: str) -> None:
        """The keys are the book's."""

    def _client(self, device: BLEDevice) -> BleakClientBumble:
        for client in self.clients:
            if client.address == device.address:
                return client
        raise BleakError("not connected")

    async def _cancel_connect(self, address: hci.Address) -> None:
        """Or the controller goes on trying, and refuses the next one."""
        with contextlib.suppress(BleakError, TimeoutError):
            async with asyncio.timeout(COMMAND_S_MAX):
                await self.run(self.device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command()))
        for connection in list(self.device.connections.values()):  # it may have been made just then
            peers = (connection.peer_address, connection.peer_resolvable_address)
            if address in peers and not any(client.owns(connection) for client in self.clients):
                with contextlib.suppress(BleakError):
                    await self.run(connection.disconnect())

    def _transport_ended(self, _terminated: asyncio.Future[None]) -> None:
        self._end()

    def _end(self) -> None:
        self.lost.set()
        for client in list(self.clients):
            client.link_ended()


class BleakScannerBumble(BaseBleakScanner):
    """Scans on a BumbleAdapter, given as `radio`."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: Literal["active", "passive"],
        *,
        radio: BumbleAdapter,
        **_others: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._radio = radio
        self._active = scanning_mode == "active"

    async def start(self) -> None:
        """Start scanning."""
        self.seen_devices = {}
        self._radio.addresses.clear()
        self._radio.device.on("advertisement", self._heard)
        await self._radio.run(self._radio.device.start_scanning(active=self._active, filter_duplicates=False))

    async def stop(self) -> None:
        """Stop scanning; a lost radio has stopped."""
        self._radio.device.remove_listener("advertisement", self._heard)
        if not self._radio.lost.is_set():
            await self._radio.run(self._radio.device.stop_scanning())

    def _heard(self, advertisement: Advertisement) -> None:
        try:
            data = advertisement_data(advertisement)
        except (ValueError, core.BaseBumbleError):  # whoever sends nonsense is not for us
            return
        if not self.is_allowed_uuid(data.service_uuids):
            return
        address = self._radio.identity(advertisement.address) or advertisement.address.to_string(False)
        self._radio.addresses[address] = advertisement.address
        device = self.create_or_update_device(address, address, data.local_name, None, data)
        self.call_detection_callbacks(device, data)


class BleakClientBumble(BaseBleakClient):
    """One connection on a BumbleAdapter, given as `radio`. `made` is called as soon as the radio can make another."""

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        radio: BumbleAdapter,
        made: Callable[[], None] = lambda: None,
        **_others: Any,
    ) -> None:
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._radio = radio
        self._made = made
        self._connection: Connection | None = None
        self._listeners: dict[int, Callable[[bytes], None]] = {}
        self.identity: str | None = None  # of the bond that the link is encrypted by

    @property
    def name(self) -> str:
        """The address; bands advertise no name."""
        return self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        """The ATT_MTU in use."""
        return self._connection.att_mtu if self._connection is not None else att.ATT_DEFAULT_MTU

    @property
    def is_connected(self) -> bool:
        """Whether the link stands."""
        return self._connection is not None

    def owns(self, connection: Connection) -> bool:
        """Whether this client uses the connection."""
        return self._connection is connection

    async def connect(self, pair: bool, **_others: Any) -> None:
        """Connect, encrypt if there is a bond, ask for an MTU of 247 and discover the services. Raises BondRefused."""
        address = self._radio.addresses.get(self.address) or hci.Address(self.address)
        connection = await self._radio.connect(address, self._timeout)
        self._made()
        self._connection = connection
        self._radio.clients.add(self)
        connection.on(connection.EVENT_DISCONNECTION, self._disconnected)
        if connection not in self._radio.device.connections.values():  # it ended before we could listen
            self.link_ended()
            raise BleakError("the link is lost")
        try:
            self.identity = await self._radio.secure(connection)
            peer = Peer(connection)
            with contextlib.suppress(BleakGATTProtocolError):  # a peer may keep the 23 bytes of the default
                await self._radio.run(peer.request_mtu(MTU))
            if pair:
                await self.pair()
            self.services = await self._radio.run(self._discover(peer))
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        """Disconnect. Repeatable; a link that is gone is gone."""
        connection = self._connection
        if connection is None:
            return
        with contextlib.suppress(BleakError, TimeoutError):
            async with asyncio.timeout(COMMAND_S_MAX):
                await self._radio.run(connection.disconnect())
        self.link_ended()

    async def pair(self, *_args: Any, **_others: Any) -> None:
        """Pair with LE Secure Connections."""
        await self._radio.run(self._linked().pair())

    async def unpair(self) -> None:
        """Bonds are the book's: see BondBook."""
        raise NotImplementedError

    def peer(self) -> str:
        """The peer's address; after pairing, its identity."""
        return str(self._linked().peer_address)

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **_others: Any
    ) -> bytearray:
        """Read a value."""
        del use_cached
        self._linked()
        return bytearray(await self._radio.run(characteristic.obj.read_value()))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **_others: Any
    ) -> bytearray:
        """Read a descriptor."""
        del use_cached
        self._linked()
        return bytearray(await self._radio.run(descriptor.obj.read_value()))

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool) -> None:
        """Write a value."""
        self._linked()
        await self._radio.run(characteristic.obj.write_value(bytes(data), with_response=response))

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        """Write a descriptor."""
        self._linked()
        await self._radio.run(descriptor.obj.write_value(bytes(data), with_response=True))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_others: Any
    ) -> None:
        """Subscribe; notifications are preferred where a characteristic has both."""

        def listener(value: bytes) -> None:
            callback(bytearray(value))

        self._linked()
        self._listeners[characteristic.handle] = listener
        await self._radio.run(characteristic.obj.subscribe(listener))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """Unsubscribe."""
        self._linked()
        await self._radio.run(characteristic.obj.unsubscribe(self._listeners.pop(characteristic.handle, None)))

    def link_ended(self) -> None:
        """The link or the radio went; tell once."""
        if self._connection is None:
            return
        self._connection = None
        self._listeners.clear()
        self._radio.clients.discard(self)
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    def _disconnected(self, _reason: int) -> None:
        self.link_ended()

    def _linked(self) -> Connection:
        if self._connection is None:
            raise BleakError("not connected")
        return self._connection

    async def _discover(self, peer: Peer) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        await peer.discover_services()
        for service in peer.services:
            known = BleakGATTService(service, service.handle, uuid_text(service.uuid))
            found.add_service(known)
            for characteristic in await service.discover_characteristics():
                properties = list(gatt_char_props_to_strs(int(characteristic.properties)))
                value = BleakGATTCharacteristic(
                    characteristic,
                    characteristic.handle,
                    uuid_text(characteristic.uuid),
                    properties,
                    lambda: self.mtu_size - 3,
                    known,
                )
                found.add_characteristic(value)
                for descriptor in await characteristic.discover_descriptors():
                    found.add_descriptor(
                        BleakGATTDescriptor(descriptor, descriptor.handle, uuid_text(descriptor.type), value)
                    )
        return found
