"""Bonds where BlueZ keeps them: an agent that answers for the gateway, pairing, and taking a bond out, over D-Bus.

BlueZ asks an `org.bluez.Agent1` before it pairs, and bleak brings none. Ours says yes for the band that the gateway is
pairing at this moment, and no to everybody else. Interfaces: BlueZ 5.66, doc/agent-api.txt, device-api.txt.
"""

# No annotations from the future: dbus_fast reads those of the agent's methods as D-Bus signatures.
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from bleak.backends.device import BLEDevice
from bleak.exc import BleakError
from dbus_fast import BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

from gateway.bonds import BondBook, Paired
from gateway.profile import WIJKPOLS_SERVICE

BLUEZ: Final = "org.bluez"
DEVICE: Final = "org.bluez.Device1"
ADAPTER: Final = "org.bluez.Adapter1"
#: A bonded band that hangs up so often in one attempt to connect does not take the key.
HUNG_UP_MAX: Final = 2
_AGENT_PATH: Final = "/nl/wijkpols/agent"
_BUS: Final = "org.freedesktop.DBus"
_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_REJECTED: Final = "org.bluez.Error.Rejected"


class Agent(ServiceInterface):
    """An agent without display and keys. `pairing` are the D-Bus paths of the devices that may pair now."""

    def __init__(self) -> None:
        super().__init__("org.bluez.Agent1")
        self.pairing: set[str] = set()

    @dbus_method()
    def Release(self) -> None:  # noqa: N802 (the method's name in BlueZ, as below)
        """BlueZ lets go of the agent."""

    @dbus_method()
    def RequestAuthorization(self, device: DBusObjectPath) -> None:  # noqa: N802
        """Just Works, begun by the other side."""
        self._allow(device)

    @dbus_method()
    def RequestConfirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:  # noqa: ARG002, N802
        """A number that nobody can compare here."""
        self._allow(device)

    @dbus_method()
    def AuthorizeService(self, device: DBusObjectPath, uuid: DBusStr) -> None:  # noqa: ARG002, N802
        """A service of ours for the other side: we offer none."""
        raise DBusError(_REJECTED, "no services here")

    @dbus_method()
    def Cancel(self) -> None:  # noqa: N802
        """A request was withdrawn."""

    def _allow(self, device: str) -> None:
        if device not in self.pairing:
            raise DBusError(_REJECTED, "not asked for")


class BluezBonds:
    """The bonds of one BlueZ adapter. Use `open`, and `close` at the end. All methods raise BleakError.

    `lost` is set when bluetoothd ends or the adapter is gone: nobody else tells, and bleak would listen on for ever.
    """

    def __init__(self, bus: MessageBus, adapter: str) -> None:
        self.lost = asyncio.Event()
        self._bus = bus
        self._adapter = f"/org/bluez/{adapter}"
        self._agent = Agent()
        self._others: set[str] = set()  # identities that this machine bonded with for somebody else

    @classmethod
    async def open(cls, adapter: str) -> Self:
        """Connect to the system's bus, register the agent, and switch the adapter on."""
        bonds = cls(await MessageBus(bus_type=BusType.SYSTEM).connect(), adapter)
        try:
            bonds._bus.add_message_handler(bonds._watch)
            await bonds._listen(f"type='signal',interface='{_BUS}',member='NameOwnerChanged',arg0='{BLUEZ}'")
            await bonds._listen(f"type='signal',interface='{_MANAGER}',member='InterfacesRemoved',sender='{BLUEZ}'")
            bonds._bus.export(_AGENT_PATH, bonds._agent)
            manager = ("/org/bluez", "org.bluez.AgentManager1")
            await bonds._call(*manager, "RegisterAgent", "os", _AGENT_PATH, "NoInputNoOutput")
            await bonds._call(*manager, "RequestDefaultAgent", "o", _AGENT_PATH)
            powered = (ADAPTER, "Powered", Variant("b", True))
            await bonds._call(bonds._adapter, _PROPERTIES, "Set", "ssv", *powered)
        except BaseException:
            bonds.close()
            raise
        return bonds

    def close(self) -> None:
        """Leave the bus; BlueZ forgets the agent."""
        self._bus.disconnect()

    async def secured(self, device: BLEDevice) -> str | None:
        """The identity of a connected band, if BlueZ has a bond with it: then it encrypted the link as it connected."""
        properties = await self._device(device)
        return str(properties["Address"]) if properties.get("Paired") else None

    async def pair(self, device: BLEDevice) -> Paired:
        """Bond with a connected band."""
        path = _path(device)
        self._agent.pairing.add(path)
        try:
            await self._call(path, DEVICE, "Pair")
        finally:
            self._agent.pairing.discard(path)
        identity = await self.secured(device)
        if identity is None:
            raise BleakError("the pairing gave no bond")
        return Paired(identity, None)

    async def identities(self) -> dict[str, str]:
        """Identity address -> D-Bus path of the devices that this adapter is bonded with."""
        return {of["Address"].value: path for path, of in (await self._bonded()).items()}

    @asynccontextmanager
    async def refusals(self, device: BLEDevice) -> AsyncIterator[asyncio.Event]:
        """An event for when a bonded band hung up twice, each time as soon as it was connected.

        BlueZ 5.66 does not tell that a band refused the key of its bond; it tries again until time is up.
        """
        refused, path = asyncio.Event(), _path(device)
        bonded, hung_up = await self.secured(device) is not None, 0

        def changed(message: Message) -> None:
            nonlocal hung_up
            if message.path == path and message.member == "PropertiesChanged" and "Connected" in message.body[1]:
                hung_up += not message.body[1]["Connected"].value
                if bonded and hung_up >= HUNG_UP_MAX:
                    refused.set()

        rule = f"type='signal',interface='{_PROPERTIES}',member='PropertiesChanged',path='{path}'"
        await self._listen(rule)
        self._bus.add_message_handler(changed)
        try:
            yield refused
        finally:
            self._bus.remove_message_handler(changed)
            await self._listen(rule, member="RemoveMatch")

    async def forget(self, identity: str) -> None:
        """Remove the device with this identity address, and its bond; one that is not there is gone."""
        path = (await self.identities()).get(identity)
        if path is not None:
            await self._call(self._adapter, ADAPTER, "RemoveDevice", "o", path)

    async def forget_strangers(self, book: BondBook) -> None:
        """To begin with: remove what has a bond here, is a wristband, and is not in the book; nobody vouches for it."""
        for path, of in (await self._bonded()).items():
            identity = str(of["Address"].value)
            if book.of(identity) is None:
                if WIJKPOLS_SERVICE in of["UUIDs"].value:
                    await self._call(self._adapter, ADAPTER, "RemoveDevice", "o", path)
                else:
                    self._others.add(identity)  # a keyboard, say

    async def forget_stranger(self, device: BLEDevice, book: BondBook) -> None:
        """After a session: a pairing that ended before the book had it, by a lost link, leaves no bond."""
        identity = await self.secured(device)
        if identity is not None and identity not in self._others and book.of(identity) is None:
            await self._call(self._adapter, ADAPTER, "RemoveDevice", "o", _path(device))

    def _watch(self, message: Message) -> None:
        ended = message.member == "NameOwnerChanged" and message.body[0] == BLUEZ
        unplugged = message.member == "InterfacesRemoved" and message.body[0] == self._adapter
        if ended or (unplugged and ADAPTER in message.body[1]):
            self.lost.set()

    async def _bonded(self) -> dict[str, dict[str, Any]]:
        """D-Bus path -> properties of the devices that this adapter is bonded with."""
        objects = await self._call("/", _MANAGER, "GetManagedObjects")
        mine = f"{self._adapter}/"  # hci1 is not hci10
        devices = {path: of[DEVICE] for path, of in objects.items() if DEVICE in of and path.startswith(mine)}
        return {path: of for path, of in devices.items() if of["Paired"].value}

    async def _listen(self, rule: str, *, member: str = "AddMatch") -> None:
        await self._call("/org/freedesktop/DBus", _BUS, member, "s", rule, to=_BUS)

    async def _device(self, device: BLEDevice) -> dict[str, Any]:
        values = await self._call(_path(device), _PROPERTIES, "GetAll", "s", DEVICE)
        return {name: value.value for name, value in values.items()}

    async def _call(
        self, path: str, interface: str, member: str, signature: str = "", *body: Any, to: str = BLUEZ
    ) -> Any:
        message = Message(
            destination=to, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        reply = await self._bus.call(message)
        if reply is None or reply.message_type is MessageType.ERROR:
            raise BleakError(f"BlueZ: {member} failed ({reply.error_name if reply else 'no answer'})")
        return reply.body[0] if reply.body else None


def _path(device: BLEDevice) -> str:
    return str(device.details["path"])
