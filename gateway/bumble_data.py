"""What Bumble heard, in bleak's words."""

from __future__ import annotations

import logging
from typing import Final

from bleak.backends.scanner import AdvertisementData
from bleak.uuids import normalize_uuid_str
from bumble import core, hci
from bumble.device import Advertisement
from bumble.host import Host

AD = core.AdvertisingData
_bumbles_log: Final = logging.getLogger("bumble.host")


class QuietHost(Host):
    """Bumble's host writes each packet out for its log before it asks whether somebody reads that: not here."""

    def on_hci_packet(self, packet: hci.HCI_Packet) -> None:
        """Take a packet of the controller; most of them are advertisements, or data."""
        quiet = self.snooper is None and not _bumbles_log.isEnabledFor(logging.DEBUG)
        match packet:
            case hci.HCI_Event() if quiet:
                self.on_hci_event_packet(packet)
            case hci.HCI_AclDataPacket() if quiet:
                self.on_hci_acl_data_packet(packet)
            case _:
                super().on_hci_packet(packet)


def uuid_text(uuid: core.UUID) -> str:
    """The 128 bits, as bleak writes them."""
    return normalize_uuid_str(uuid.to_hex_str("-"))


def advertisement_data(advertisement: Advertisement) -> AdvertisementData:
    """An advertisement as bleak's. Raises ValueError and Bumble's errors for nonsense."""
    data = advertisement.data
    groups = [
        *data.get_all(AD.Type.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS),
        *data.get_all(AD.Type.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS),
        *data.get_all(AD.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS),
        *data.get_all(AD.Type.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS),
    ]
    name = data.get(AD.Type.COMPLETE_LOCAL_NAME) or data.get(AD.Type.SHORTENED_LOCAL_NAME)
    return AdvertisementData(
        local_name=name,
        manufacturer_data=dict(data.get_all(AD.Type.MANUFACTURER_SPECIFIC_DATA)),
        service_data={uuid_text(uuid): value for uuid, value in data.get_all(AD.Type.SERVICE_DATA_16_BIT_UUID)},
        service_uuids=[uuid_text(uuid) for group in groups for uuid in group],
        tx_power=data.get(AD.Type.TX_POWER_LEVEL),
        rssi=advertisement.rssi,
        platform_data=(advertisement,),
    )
