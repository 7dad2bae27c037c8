"""A radio in a process of its own: bands made of raw Bumble, and an HCI socket where the gateway finds its adapter.

Run as `python gateway_air.py PORT [KEYS]`, with a file where the bands keep their bonds; a line of JSON on stdin is a
command, a line on stdout an event. It shares no code with the gateway: the frames are written here from
docs/reference/band-profile.md once more.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import random
import struct
import sys

from bumble import core, hci
from bumble.controller import Controller
from bumble.core import UUID
from bumble.device import Device, DeviceConfiguration
from bumble.gatt import Characteristic, Service
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport import open_transport

READ, NOTIFY, INDICATE = (
    Characteristic.Properties.READ,
    Characteristic.Properties.NOTIFY,
    Characteristic.Properties.INDICATE,
)
READABLE = Characteristic.Permissions.READABLE
CLOSED = Characteristic.Permissions(0)


def wijkpols(number: int) -> UUID:
    return UUID(f"b7a1{number:04x}-6d5c-4f2e-9a3b-57696a6b706f")


def tell(event: str, **more: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
    sys.stdout.flush()


class AirController(Controller):
    """Bumble's virtual controller, with a connect that can be cancelled and a reset that ends the links."""

    def on_hci_le_create_connection_cancel_command(self, _command):
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is not None:
            self.send_hci_packet(
                hci.HCI_LE_Connection_Complete_Event(
                    status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                    connection_handle=0,
                    role=hci.Role.CENTRAL,
                    peer_address_type=pending.peer_address.address_type,
                    peer_address=pending.peer_address,
                    connection_interval=0,
                    peripheral_latency=0,
                    supervision_timeout=0,
                    central_clock_accuracy=0,
                )
            )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_reset_command(self, command):
        self.pending_le_connection = None
        self.drop_links()
        return super().on_hci_reset_command(command)

    def drop_links(self) -> None:
        """Both sides see a supervision timeout."""
        for connection in list(self.le_connections.values()):
            other = self.link.find_le_controller(connection.peer_address)
            back = other and other.le_connections.get(connection.self_address)
            if back:
                other.on_le_disconnected(back, 0x08)
            self.on_le_disconnected(connection, 0x08)


class Band:
    """A wristband, a plain strap, or something that sends random bytes."""

    def __init__(self, link: LocalLink, number: int, *, serial: str, kind: str, start: int, tick_s: float) -> None:
        self.serial, self.kind, self.second, self.tick_s = serial, kind, start, tick_s
        self.controller = AirController(f"band{number}", link=link)
        address = hci.Address(f"F0:00:00:00:{number >> 8:02X}:{number & 255:02X}")
        config = DeviceConfiguration(
            name="",
            address=address,
            advertising_interval_min=50.0,
            advertising_interval_max=50.0,
            keystore="".join(f"JsonKeyStore:{file}" for file in sys.argv[2:]) or None,
        )
        self.device = Device(config=config, host=Host(self.controller, self.controller))
        self.characteristics = {
            "heart-rate": Characteristic(UUID.from_16_bits(0x2A37), NOTIFY, CLOSED, b""),
            "current-time": Characteristic(UUID.from_16_bits(0x2A2B), READ | NOTIFY, READABLE, b""),
            "temperature": Characteristic(UUID.from_16_bits(0x2A6E), READ | NOTIFY, READABLE, b""),
            "beat-timing": Characteristic(wijkpols(2), NOTIFY, CLOSED, b""),
            "eda": Characteristic(wijkpols(3), NOTIFY, CLOSED, b""),
            "motion": Characteristic(wijkpols(4), NOTIFY, CLOSED, b""),
            "self-report": Characteristic(wijkpols(5), INDICATE, CLOSED, b""),
        }
        for name, characteristic in self.characteristics.items():
            characteristic.on(
                "subscription",
                lambda _connection, notify, indicate, name=name: (
                    (notify or indicate) and tell("subscribed", band=serial, name=name)
                ),
            )
        made = self.characteristics
        information = Service(
            UUID.from_16_bits(0x180A), [Characteristic(UUID.from_16_bits(0x2A25), READ, READABLE, serial.encode())]
        )
        services = [information, Service(UUID.from_16_bits(0x180D), [made["heart-rate"]])]
        if kind != "strap":
            services += [
                Service(UUID.from_16_bits(0x1805), [made["current-time"]]),
                Service(UUID.from_16_bits(0x181A), [made["temperature"]]),
                Service(wijkpols(1), [made[name] for name in ("beat-timing", "eda", "motion", "self-report")]),
            ]
        self.device.add_services(services)
        self.device.advertising_data = bytes(
            core.AdvertisingData(
                [
                    (core.AdvertisingData.FLAGS, b"\x06"),
                    (core.AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, struct.pack("<H", 0x180D)),
                ]
            )
        )
        self.device.on("connection", self.connected)
        self.task: asyncio.Task[None] | None = None

    def connected(self, connection) -> None:
        tell("connected", band=self.serial)
        connection.on("disconnection", lambda _reason: tell("disconnected", band=self.serial))

    async def start(self) -> None:
        await self.device.power_on()
        await self.device.start_advertising(auto_restart=True)
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.tick_s)
            subscribed = self.device.gatt_server.subscribers
            if not any(any(by_handle.values()) for by_handle in subscribed.values()):
                continue
            await (self.send_noise() if self.kind == "hostile" else self.send_second())
            self.second += 1

    async def send_noise(self) -> None:
        for name in self.characteristics:
            await self.send(name, random.randbytes(random.randrange(0, 60)))

    async def send_second(self) -> None:
        at = self.second
        first = -(-at * 10 // 8) * 8  # a beat every 0.8 s, in tenths
        beats = [tenths - at * 10 for tenths in range(first, at * 10 + 10, 8)]
        offsets = [tenths * 1024 // 10 for tenths in beats]
        if self.kind == "band":
            await self.send("beat-timing", struct.pack(f"<IB{len(offsets)}H", at, len(offsets), *offsets))
        rr = [819] * len(offsets)
        await self.send("heart-rate", struct.pack(f"<BB{len(rr)}H", 0x16, 75, *rr))
        if self.kind == "strap":
            tell("measured", band=self.serial)
            return
        if at % 10 == 9:
            await self.send("temperature", struct.pack("<h", 3312))
            moment = datetime.datetime.fromtimestamp(at + 1, datetime.UTC)
            fields = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
            await self.send("current-time", struct.pack("<HBBBBBBBB", *fields, moment.isoweekday(), 0, 0))
        if at % 5 == 4:
            await self.send("eda", struct.pack("<IBB20H", at - 4, 4, 20, *[2500] * 20))
            await self.send("motion", struct.pack("<IBB40H", at - 4, 4, 20, *[1000, 12] * 20))
        if at % 60 == 30:
            await self.send("self-report", struct.pack("<IBBB", at, 8, 6, 3))

    async def send(self, name: str, value: bytes) -> None:
        if self.kind == "strap" and name != "heart-rate":
            return
        send = self.device.indicate_subscribers if name == "self-report" else self.device.notify_subscribers
        try:
            await send(self.characteristics[name], value)
        except (core.BaseBumbleError, TimeoutError, asyncio.CancelledError):
            if self.device.connections:
                raise

    async def vanish(self) -> None:
        await self.device.stop_advertising()
        self.controller.drop_links()


async def main(port: int) -> None:
    link = LocalLink()
    transport = await open_transport(f"tcp-server:127.0.0.1:{port}")
    AirController("gateway", transport.source, transport.sink, link=link)
    bands: dict[str, Band] = {}
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    tell("ready")
    while line := await lines.readline():
        command = json.loads(line)
        match command.pop("do"):
            case "add":
                band = Band(link, len(bands) + 1, **command)
                bands[band.serial] = band
                await band.start()
            case "vanish":
                await bands[command["serial"]].vanish()
            case "return":
                await bands[command["serial"]].device.start_advertising(auto_restart=True)
        tell("done")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
