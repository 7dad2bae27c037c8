"""The air of a field: data goes at connection events, so that a drain takes time and can be cut anywhere in it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, cast

from bumble import core
from bumble.controller import Connection

from firmware_sim.air import AirController, AirLink

#: A usual connection interval, and how many packets of 251 bytes go at one event (2M PHY).
INTERVAL_S: Final = 0.015
PACKETS_PER_EVENT: Final = 6


class FieldAir(AirLink):
    """Hands a connection's packets on in order, some at each event; those of a lost connection are gone."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, deque[bytes]] = {}  # by the id of a connection, which its event holds

    def send_acl_data(
        self,
        sender_controller: AirController,
        destination_address: object,
        transport: core.PhysicalTransport,
        data: bytes,
    ) -> None:
        connection = sender_controller.le_connections.get(destination_address)
        if connection is None:
            return
        waiting = self._waiting.get(id(connection))
        if waiting is None:
            waiting = self._waiting[id(connection)] = deque()
            asyncio.get_running_loop().call_later(INTERVAL_S, self._event, connection, transport)
        waiting.append(data)

    def _event(self, connection: Connection, transport: core.PhysicalTransport) -> None:
        waiting = self._waiting[id(connection)]
        sender = cast("AirController", connection.controller)
        if sender.le_connections.get(connection.peer_address) is not connection:
            del self._waiting[id(connection)]
            return
        for _ in range(min(PACKETS_PER_EVENT, len(waiting))):
            super().send_acl_data(sender, connection.peer_address, transport, waiting.popleft())
        if waiting:
            asyncio.get_running_loop().call_later(INTERVAL_S, self._event, connection, transport)
        else:
            del self._waiting[id(connection)]
