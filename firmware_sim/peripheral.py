"""The band's GATT server on Bumble: services, advertising, and sending to who has subscribed."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, cast

from bumble import att, core, gatt, hci
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import DataPacketQueue, Host

from firmware_sim import profile
from firmware_sim.air import AirController, AirLink
from firmware_sim.profile import GUARDED, PERSONAL, STORED, Kind
from firmware_sim.record_server import RecordServer
from firmware_sim.security import ADDRESS_S, Security, guard, serial_value

ADVERTISING_MS: Final = 100.0
#: Packets that may be on their way before a sender must wait; the controller itself holds 64.
IN_FLIGHT_MAX: Final = 32
#: A band that runs faster than the world makes sure of its central after so many notifications.
FOLLOWED_EVERY: Final = 32
ANSWER_S: Final = 10.0  # how long a central may take to confirm an indication, or to answer
_NOTIFICATION: Final = struct.Struct("<BH")
_READ: Final = Characteristic.Properties.READ
_NOTIFY: Final = Characteristic.Properties.NOTIFY
_INDICATE: Final = Characteristic.Properties.INDICATE
_WRITE: Final = Characteristic.Properties.WRITE
_FIRMWARE: Final = "0.1.0"


class Peripheral:
    """One band on the air. One central at a time; notifies and indicates only what that central subscribed to.

    `read` gives the value of a readable characteristic when it is asked for: TEMPERATURE, CURRENT_TIME, BATTERY and
    STOP. `write` takes what is written to one; it raises att.ATT_Error.
    `hurried`: it will send far more than a real band does. Between the band's and the central's stacks lie sockets that
    hold tens of thousands of frames; a central that is slower than its bands would be seconds behind, and could not
    even connect to another one in time. So a hurried band asks the central something small after each 32
    notifications, and goes on when the answer has come: ATT answers in order, so by then all of them were taken.
    `memory`: of a band that stores its records; without it there are no such characteristics.
    `security`: its identity and bonds. What tells of a person needs an encrypted link. The address on the air is a
    resolvable private one, another one after each `address_s` seconds.
    Use as an async context manager: it advertises inside, and is off the air after.
    """

    def __init__(
        self,
        *,
        link: AirLink,
        serial: str,
        read: Callable[[Kind], bytes],
        write: Mapping[Kind, Callable[[bytes], Any]] | None = None,
        hurried: bool = False,
        memory: RecordServer | None = None,
        advertising_ms: float = ADVERTISING_MS,
        security: Security | None = None,
        address_s: float = ADDRESS_S,
    ) -> None:
        self._link = link
        self.security = security = security or Security()
        self._address_s = address_s
        self._controller = AirController("band", link=link)
        self._device = Device(
            config=DeviceConfiguration(
                name="Wijkpols",
                address=security.identity,
                irk=security.irk,
                le_privacy_enabled=True,
                le_rpa_timeout=0,  # it is changed here: Bumble would not while it advertises
                advertising_interval_min=advertising_ms,
                advertising_interval_max=advertising_ms,
                advertising_data=profile.advertising_data(),
            ),
            host=Host(self._controller, self._controller),
        )
        self._memory = memory
        self._characteristics = self._all_characteristics(read, write or {})
        self._device.keystore = security
        self._device.pairing_config_factory = security.pairing
        stored = self._stored_records()
        number: Characteristic[bytes] = Characteristic(
            profile.SERIAL_NUMBER, _READ, Characteristic.READABLE, serial_value(serial, security)
        )
        self._device.add_services(_services(self._characteristics, stored, number))
        personal = [value for kind, value in self._characteristics.items() if kind in GUARDED]
        guard(self._device.gatt_server, [*personal, *stored])
        self._handles = {kind: c.handle for kind, c in self._characteristics.items()}
        self._connection: Connection | None = None
        self._subscribed: frozenset[int] = frozenset()  # value handles
        self._flow = asyncio.Event()  # a packet was taken, or the link was lost
        self._changed = asyncio.Event()  # a link or a subscription came or went
        self._hurried = hurried
        self._unfollowed = 0  # notifications since the central last answered
        self._off = False
        self._restart: asyncio.Task[None] | None = None
        self._rotation: asyncio.Task[None] | None = None
        self._hanging_up: asyncio.Task[None] | None = None
        self._advertising = asyncio.Lock()  # who starts or stops it

    async def __aenter__(self) -> Peripheral:
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)
        self._device.gatt_server.on("characteristic_subscription", self._on_subscription)
        await self._device.power_on()
        self._queue = cast("DataPacketQueue", self._device.host.le_acl_packet_queue)  # made by power_on
        self._queue.on("flow", self._flow.set)
        await self._advertise()
        self._rotation = asyncio.create_task(self._change_addresses(), name="change the address")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.turn_off()

    @property
    def connected(self) -> bool:
        """Whether a central is connected."""
        return self._connection is not None

    @property
    def payload_bytes(self) -> int:
        """How long a value may be: the MTU less three, or the smallest there is without a link."""
        return self._connection.att_mtu - 3 if self._connection is not None else profile.PAYLOAD_BYTES_MIN

    @property
    def personal_subscriptions(self) -> int:
        """How many personal characteristics the central subscribed to."""
        return sum(self._handles.get(kind) in self._subscribed for kind in PERSONAL)

    def subscribed(self, kind: Kind) -> bool:
        """Whether the central subscribed to this characteristic."""
        return self._handles[kind] in self._subscribed

    def notify(self, kind: Kind, value: bytes) -> bool:
        """Send a notification if it is subscribed to; await `room` between bursts.

        The value must fit `payload_bytes`. Builds the PDU itself: it is the way of nearly all of a band's bytes.
        """
        handle = self._handles[kind]
        if self._connection is None or handle not in self._subscribed:
            return False
        pdu = _NOTIFICATION.pack(att.Opcode.ATT_HANDLE_VALUE_NOTIFICATION, handle) + value
        self._device.send_l2cap_pdu(self._connection.handle, att.ATT_CID, pdu)
        self._unfollowed += 1
        return True

    async def indicate(self, kind: Kind, value: bytes) -> bool:
        """Send an indication; whether the central confirmed it."""
        connection = self._connection
        if connection is None or not self.subscribed(kind):
            return False
        server = self._device.gatt_server
        try:
            return await self._answered(
                connection, server.indicate_subscriber(connection, self._characteristics[kind], value)
            )
        finally:
            if self._connection is not connection:  # Bumble forgot it before it noted this indication's end
                server.on_disconnection(connection)

    async def room(self) -> None:
        """Wait until there is room to send, or the link is lost."""
        await self._sent(below=IN_FLIGHT_MAX)
        if self._hurried and self._unfollowed >= FOLLOWED_EVERY:
            await self._followed()

    async def changed(self, *, within_s: float | None = None) -> bool:
        """Wait for a link or a subscription to come or go; False when none did in time."""
        self._changed.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def turn_off(self, *, deliver: bool = False) -> None:
        """Disconnect and leave the air; `deliver` waits first for what is on its way. Repeatable."""
        if self._off:
            return
        if deliver:
            await self._sent(below=1)
            await self._followed()
        self._off = True
        if self._rotation is not None:
            self._rotation.cancel()
        if self._restart is not None:
            await self._restart
        if self._connection is not None:
            with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):  # the central may just have hung up
                await self._connection.disconnect()
        await self._device.stop_advertising()
        await self._device.power_off()
        self._link.remove_controller(self._controller)

    async def hold_button(self) -> None:
        """The wearer holds the button: open to a new gateway, under an address that none has heard yet."""
        self.security.hold_button()
        await self.change_address()

    async def change_address(self) -> None:
        """Take a new resolvable private address, also during a connection, which goes on."""
        async with self._advertising:
            advertised = self._device.is_advertising
            if advertised:
                await self._device.stop_advertising()
            address = hci.Address.generate_private_address(self.security.irk)
            await self._device.send_sync_command(hci.HCI_LE_Set_Random_Address_Command(random_address=address))
            self._device.random_address = address
        if advertised:
            await self._advertise()

    def drop_link(self) -> None:
        """Play the loss of the link: both ends see a supervision timeout."""
        self._link.drop(self._controller)

    def _all_characteristics(
        self, read: Callable[[Kind], bytes], write: Mapping[Kind, Callable[[bytes], Any]]
    ) -> dict[Kind, Characteristic[bytes]]:
        memory = self._memory
        if memory is not None:
            write = {
                **write,
                Kind.CURRENT_TIME: memory.write_time,
                Kind.RACP: lambda value: memory.write_request(value, self),
            }
        kinds = [kind for kind in Kind if memory is not None or kind not in STORED]
        return {kind: _characteristic(kind, read, write.get(kind)) for kind in kinds}

    def _stored_records(self) -> list[Characteristic[bytes]]:
        """What a band with a memory has besides."""
        memory = self._memory
        if memory is None:
            return []
        log = CharacteristicValue(read=lambda _connection: memory.log.state())
        contents = CharacteristicValue(
            read=lambda _connection: memory.contents(), write=lambda _connection, value: memory.write_contents(value)
        )
        both = Characteristic.READABLE | Characteristic.WRITEABLE
        return [
            self._characteristics[Kind.RECORD],
            Characteristic(profile.LOG, _READ, Characteristic.READABLE, log),
            Characteristic(profile.RECORD_CONTENTS, _READ | _WRITE, both, contents),
            self._characteristics[Kind.RACP],
        ]

    def _on_connection(self, connection: Connection) -> None:
        self._connection = connection
        self._unfollowed = 0
        self._subscribed = frozenset()
        if self._memory is not None:
            self._memory.linked()
        connection.on(Connection.EVENT_DISCONNECTION, lambda _reason: self._on_disconnection())
        connection.on(Connection.EVENT_PAIRING, lambda _keys: self._on_pairing(connection))
        self._changed.set()

    def _on_pairing(self, connection: Connection) -> None:
        if not connection.sc:  # what could be listened in on is as good as open
            self._hanging_up = asyncio.get_running_loop().create_task(connection.disconnect(), name="hang up")

    def _on_disconnection(self) -> None:
        self._connection = None
        self._subscribed = frozenset()
        self._flow.set()
        self._changed.set()
        if not self._off:
            self._restart = asyncio.get_running_loop().create_task(self._advertise(), name="advertise again")

    async def _advertise(self) -> None:
        async with self._advertising:
            if not (self._off or self._device.is_advertising or self._connection is not None):
                await self._device.start_advertising()

    async def _change_addresses(self) -> None:
        while True:
            await asyncio.sleep(self._address_s)
            await self.change_address()

    def _on_subscription(self, _bearer: Any, characteristic: Characteristic[Any], notify: bool, indicate: bool) -> None:
        wanted = indicate if characteristic.properties & _INDICATE else notify
        change = {characteristic.handle}
        self._subscribed = self._subscribed | change if wanted else self._subscribed - change
        self._changed.set()

    async def _sent(self, *, below: int) -> None:
        """Until fewer than `below` packets are on their way to the central's controller, or the link is lost."""
        while self._connection is not None and self._queue.pending >= below:
            self._flow.clear()
            await self._flow.wait()

    async def _followed(self) -> None:
        """Until the central has taken all that was sent: it is asked for its name, whatever it is."""
        self._unfollowed = 0
        connection = self._connection
        if connection is not None:
            question = att.ATT_Read_By_Type_Request(
                starting_handle=0x0001, ending_handle=0xFFFF, attribute_type=gatt.GATT_DEVICE_NAME_CHARACTERISTIC
            )
            await self._answered(connection, connection.gatt_client.send_request(question))

    async def _answered(self, connection: Connection, asking: Coroutine[Any, Any, Any]) -> bool:
        """Whether the central answered in time; a lost link ends the wait (Bumble alone would not notice it)."""
        answer = asyncio.ensure_future(asking)
        lost = asyncio.ensure_future(self._lost(connection))
        try:
            await asyncio.wait((answer, lost), timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            return answer.done() and not answer.cancelled() and answer.exception() is None
        finally:
            for task in (answer, lost):
                task.cancel()
            await asyncio.gather(answer, lost, return_exceptions=True)

    async def _lost(self, connection: Connection) -> None:
        while self._connection is connection:
            self._flow.clear()
            await self._flow.wait()


def _characteristic(
    kind: Kind, read: Callable[[Kind], bytes], write: Callable[[bytes], Any] | None = None
) -> Characteristic[bytes]:
    properties = _INDICATE if kind in (Kind.SELF_REPORT, Kind.RACP, Kind.STOP) else _NOTIFY
    if kind in (Kind.TEMPERATURE, Kind.CURRENT_TIME, Kind.BATTERY, Kind.STOP):
        properties |= _READ
    else:
        read = _not_to_be_read
    permissions = Characteristic.READABLE
    if write is None:
        value = CharacteristicValue(read=lambda _connection: read(kind))
    else:
        properties, permissions, put = properties | _WRITE, permissions | Characteristic.WRITEABLE, write
        value = CharacteristicValue(read=lambda _connection: read(kind), write=lambda _connection, given: put(given))
    return Characteristic(kind.value, properties, permissions, value)


def _not_to_be_read(_kind: Kind) -> bytes:
    """Bumble does not look at the permission to read, so the value itself refuses."""
    raise att.ATT_Error(att.ErrorCode.READ_NOT_PERMITTED)


def _services(
    characteristics: dict[Kind, Characteristic[bytes]],
    stored: list[Characteristic[bytes]],
    serial: Characteristic[bytes],
) -> list[Service]:
    def fixed(uuid: str, text: str) -> Characteristic[bytes]:
        return Characteristic(uuid, _READ, Characteristic.READABLE, text.encode())

    of = characteristics
    location = Characteristic(
        gatt.GATT_BODY_SENSOR_LOCATION_CHARACTERISTIC, _READ, Characteristic.READABLE, b"\x02"
    )  # wrist
    return [
        Service(profile.HEART_RATE_SERVICE, [of[Kind.HEART_RATE], location]),
        Service(profile.BATTERY_SERVICE, [of[Kind.BATTERY]]),
        Service(
            profile.DEVICE_INFORMATION_SERVICE,
            [
                fixed(profile.MANUFACTURER_NAME, "Wijkpols"),
                fixed(profile.MODEL_NUMBER, "Simulated wristband"),
                serial,
                fixed(profile.FIRMWARE_REVISION, _FIRMWARE),
            ],
        ),
        Service(profile.CURRENT_TIME_SERVICE, [of[Kind.CURRENT_TIME]]),
        Service(profile.ENVIRONMENTAL_SENSING_SERVICE, [of[Kind.TEMPERATURE]]),
        Service(
            profile.WIJKPOLS_SERVICE,
            [
                *(of[kind] for kind in (Kind.BEAT_TIMING, Kind.EDA, Kind.MOTION, Kind.SELF_REPORT)),
                *stored,
                of[Kind.STOP],
            ],
        ),
    ]
