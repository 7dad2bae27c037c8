"""Packets are written out for Bumble's log when somebody reads it, and are heeded either way."""

from __future__ import annotations

import logging

import pytest
from bumble import hci

from gateway.bumble_data import QuietHost

EVENT = hci.HCI_Number_Of_Completed_Packets_Event(connection_handles=[], num_completed_packets=[])
DATA = hci.HCI_AclDataPacket(connection_handle=1, pb_flag=2, bc_flag=0, data_total_length=1, data=b"a")


@pytest.mark.parametrize(("level", "written"), [(logging.INFO, 0), (logging.DEBUG, 1)])
@pytest.mark.parametrize(
    ("packet", "handler"), [(EVENT, "on_hci_number_of_completed_packets_event"), (DATA, "on_hci_acl_data_packet")]
)
def test_a_packet_is_written_out_for_the_log_only_when_it_is_read(
    monkeypatch, caplog, packet: hci.HCI_Packet, handler: str, level: int, written: int
):
    told: list[str] = []
    monkeypatch.setattr(type(packet), "__str__", lambda _packet: told.append("packet") or "packet")
    host, heeded = QuietHost(), []
    monkeypatch.setattr(host, handler, heeded.append)
    with caplog.at_level(level, "bumble.host"):
        host.on_hci_packet(packet)
    assert heeded == [packet]
    assert len(told) == written
