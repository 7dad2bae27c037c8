"""Packets are written out for Bumble's log when somebody reads it, and are heeded either way."""

from __future__ import annotations

import logging

import pytest
from bumble import hci

from gateway.bumble_data import QuietHost


@pytest.mark.parametrize(("level", "written"), [(logging.INFO, 0), (logging.DEBUG, 1)])
def test_an_event_is_written_out_for_the_log_only_when_it_is_read(monkeypatch, caplog, level: int, written: int):
    told: list[str] = []
    monkeypatch.setattr(hci.HCI_Event, "__str__", lambda _event: told.append("event") or "event")
    event = hci.HCI_Number_Of_Completed_Packets_Event(connection_handles=[], num_completed_packets=[])
    host, heeded = QuietHost(), []
    monkeypatch.setattr(host, "on_hci_number_of_completed_packets_event", heeded.append)
    with caplog.at_level(level, "bumble.host"):
        host.on_hci_packet(event)
    assert heeded == [event]
    assert len(told) == written
