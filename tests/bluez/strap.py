"""An ordinary heart-rate strap: the Heart Rate service, a serial, an address that stays, no clock, no pairing."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bumble import hci
from bumble.core import UUID, AdvertisingData
from bumble.device import Device, DeviceConfiguration
from bumble.gatt import Characteristic, Service
from bumble.host import Host

from firmware_sim.air import AirController, AirLink

BEAT_S = 0.75  # 80 a minute


@asynccontextmanager
async def strap_on(link: AirLink, serial: str, *, second_s: float, passed: Callable[[], None]) -> AsyncIterator[Device]:
    """On the air; while somebody listens, a second passes in each `second_s`, and `passed` is told."""
    controller = AirController("strap", link=link)
    uuids = struct.pack("<H", 0x180D)
    data = AdvertisingData(
        [(AdvertisingData.FLAGS, b"\x06"), (AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, uuids)]
    )
    config = DeviceConfiguration(
        name="HR",
        address=hci.Address.generate_static_address(),
        advertising_interval_min=100.0,
        advertising_interval_max=100.0,
        advertising_data=bytes(data),
    )
    device = Device(config=config, host=Host(controller, controller))
    rate = Characteristic(
        UUID.from_16_bits(0x2A37), Characteristic.Properties.NOTIFY, Characteristic.Permissions(0), b""
    )
    number = Characteristic(
        UUID.from_16_bits(0x2A25), Characteristic.Properties.READ, Characteristic.READABLE, serial.encode()
    )
    services = [(0x180A, number), (0x180D, rate)]
    device.add_services([Service(UUID.from_16_bits(uuid), [characteristic]) for uuid, characteristic in services])

    async def measure() -> None:
        seconds = 0
        while True:
            await asyncio.sleep(second_s)
            if any(any(handles.values()) for handles in device.gatt_server.subscribers.values()):
                before, seconds = int(seconds / BEAT_S), seconds + 1
                beats = [round(1024 * BEAT_S)] * (int(seconds / BEAT_S) - before)
                passed()
                await device.notify_subscribers(rate, struct.pack(f"<BB{len(beats)}H", 0x16, 80, *beats))

    await device.power_on()
    await device.start_advertising(auto_restart=True)
    measuring = asyncio.create_task(measure())
    try:
        yield device
    finally:
        measuring.cancel()
        await asyncio.gather(measuring, return_exceptions=True)
        for connection in list(device.connections.values()):
            await connection.disconnect()
        await device.power_off()  # and with it a restart of its advertising that is under way
        await device.stop_advertising()  # else it stays as a ghost that everybody tries to connect to
        link.remove_controller(controller)
