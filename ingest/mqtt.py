"""What both of a worker's MQTT clients share: MQTT 5 by paho, reconnecting by itself, never Nagle's delay."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from contracts.broker_url import BrokerAddress
from contracts.ports import Fault
from ingest.buffered import BufferedClient

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 20
RECONNECT_S_MAX: Final = 10


class Link:
    """One paho client with its network thread; it connects again for as long as it is started."""

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        manual_ack: bool = False,
        session_s: int = 0,
        receive_maximum: int | None = None,
    ) -> None:
        """`on_up` and `on_down` are called in the network thread; `on_down` before any new connection is tried.

        `session_s` is how long the broker keeps the session without us (0: it ends with the connection);
        `receive_maximum` is how many unacknowledged messages the broker may send.
        """
        self._address = address
        self._session_s = session_s
        self._receive_maximum = receive_maximum
        self._on_up, self._on_down = on_up, on_down
        self._told = "no answer yet"
        self.refusal: str | None = None  # why the broker does not let us in, when it said so
        self.client = BufferedClient(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=manual_ack
        )
        self.client.reconnect_delay_set(1, RECONNECT_S_MAX)
        address.secure(self.client)
        self.client.on_socket_open = _no_delay
        self.client.on_connect = self._connected
        self.client.on_connect_fail = self._failed
        self.client.on_disconnect = self._disconnected

    def start(self) -> None:
        """Connect, and go on trying, in a thread of its own."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session_s
        if self._receive_maximum is not None:
            properties.ReceiveMaximum = self._receive_maximum
        self.client.connect_async(
            self._address.host,
            self._address.port,
            keepalive=KEEPALIVE_S,
            clean_start=not self._session_s,
            properties=properties,
        )
        self.client.loop_start()

    def stop(self, *, end_session: bool = False) -> None:
        """Disconnect; the network thread has ended when this returns. The broker keeps the session, or ends it."""
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        if end_session:
            properties.SessionExpiryInterval = 0
        self.client.disconnect(properties=properties)
        self.client.loop_stop()

    def check(self) -> None:
        """Raise Fault when the broker has refused us."""
        if self.refusal is not None:
            raise Fault(
                f"the broker {self._address} refuses us ({self.refusal}): check WIJKPOLS_BROKER_URL and its ACL"
            )

    @property
    def state(self) -> str:
        """What happened last, in words."""
        return self._told

    def granted(self, codes: list[ReasonCode]) -> bool:
        """Whether all subscriptions were granted; remembers why not."""
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            self._refuse(f"subscription: {refused[0]}")
        return not refused

    def _connected(self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code.is_failure:
            self._refuse(str(code))
            return
        self.refusal = None
        self._tell(logging.INFO, "connected")
        self._on_up()

    def _disconnected(self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        self._on_down()
        if code.is_failure:
            self._tell(logging.WARNING, f"connection lost ({code})")

    def _failed(self, _client: paho.Client, _data: Any) -> None:
        self._tell(logging.WARNING, "does not answer; trying again")

    def _refuse(self, why: str) -> None:
        self.refusal = why
        self._tell(logging.ERROR, f"refuses us ({why})")

    def _tell(self, level: int, what: str) -> None:
        """Log a change once, not each attempt."""
        if what != self._told:
            self._told = what
            log.log(level, "broker %s: %s", self._address, what)


def _no_delay(_client: paho.Client, _data: Any, sock: Any) -> None:
    """Small packets go out at once: an acknowledgement that waits for a full segment costs 40 ms."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def topic_of(message: paho.MQTTMessage) -> str:
    """The topic, or an empty text for one that is no UTF-8: nothing may raise in the network thread."""
    try:
        return message.topic
    except UnicodeDecodeError:
        return ""
