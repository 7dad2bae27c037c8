"""Readings off the shared subscription, each to be acknowledged by hand once the store has it.

The broker sends at most `receive_maximum` unacknowledged messages (MQTT 5, 3.3.4): that is the back-pressure, and
nothing is dropped. An acknowledgement belongs to the connection on which the message came: after a reconnect its
number may name another message, so it is forgotten, and the broker delivers again. Writing twice is harmless.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any, Final, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from contracts.broker_url import BrokerAddress
from contracts.wire import READINGS_FILTER
from ingest.consent_feed import marker_topic
from ingest.mqtt import Link, topic_of

SHARED_FILTER: Final = f"$share/ingest/{READINGS_FILTER}"
RECEIVE_MAXIMUM: Final = 4_000
#: Payloads of one `take`: the messages of a batch may be many small or few large ones.
BATCH_BYTES_MAX: Final = 1 << 20
#: How long a broker keeps our session, with all that was not acknowledged, while we are away.
SESSION_S: Final = 7 * 86_400


class Delivery(NamedTuple):
    """One message, and what its acknowledgement needs."""

    connection: int
    mid: int
    qos: int
    topic: str
    payload: bytes


class ReadingsSubscriber:
    """One client of the shared subscription. `take` and `acknowledge` belong to one thread, the writer's."""

    def __init__(self, address: BrokerAddress, client_id: str, *, receive_maximum: int = RECEIVE_MAXIMUM) -> None:
        self._link = Link(
            address,
            client_id,
            on_up=self._up,
            on_down=self._down,
            manual_ack=True,
            session_s=SESSION_S,
            receive_maximum=receive_maximum,
        )
        self._link.client.on_message = self._message
        self._link.client.on_subscribe = self._subscribed
        # Bounded by the broker; the bound here matters only when connections follow each other while a store is down.
        self._queue: queue.Queue[Delivery | None] = queue.Queue(receive_maximum)
        self._connection_lock = threading.Lock()
        self._connection = 0
        self._stopping = threading.Event()
        self._granted = threading.Event()

    def start(self) -> None:
        """Connect and subscribe."""
        self._link.start()

    def stop(self) -> None:
        """Disconnect. What was not acknowledged stays in the broker's session."""
        self._stopping.set()
        self._link.stop()

    def check(self) -> None:
        """Raise Fault when the broker refuses us."""
        self._link.check()

    def wait_granted(self, timeout_s: float) -> bool:
        """Wait until the shared subscription stands."""
        return self._granted.wait(timeout_s)

    def take(self, messages_max: int, timeout_s: float) -> list[Delivery]:
        """Whatever is there, up to a number; waits for the first, never for more. Empty: nothing came, or `wake`."""
        taken: list[Delivery] = []
        size = 0
        try:
            item = self._queue.get(timeout=timeout_s)
            while item is not None:
                taken.append(item)
                size += len(item.payload)
                if len(taken) >= messages_max or size >= BATCH_BYTES_MAX:
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass  # that was all
        return taken

    def wake(self) -> None:
        """Let a waiting `take` return."""
        with contextlib.suppress(queue.Full):  # then it does not wait
            self._queue.put_nowait(None)

    def acknowledge(self, deliveries: list[Delivery]) -> None:
        """Tell the broker that these are kept. Those of a connection that is gone are passed over."""
        # `_down` runs before the client clears what is to be sent and connects again, and takes the same lock: an
        # acknowledgement is either cleared with its connection or never made.
        with self._connection_lock:
            for delivery in deliveries:
                if delivery.connection == self._connection and delivery.qos:
                    self._link.client.ack(delivery.mid, delivery.qos)

    def _up(self) -> None:
        self._link.client.subscribe(SHARED_FILTER, qos=1)

    def _down(self) -> None:
        self._granted.clear()
        with self._connection_lock:
            self._connection += 1

    def _subscribed(self, _client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _props: Any) -> None:
        if self._link.granted(codes):
            self._granted.set()

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        delivery = Delivery(self._connection, message.mid, message.qos, topic_of(message), bytes(message.payload))
        while not self._stopping.is_set():
            try:
                self._queue.put(delivery, timeout=0.5)
            except queue.Full:
                continue  # the store is down, and the broker has sent again: no more is read until there is room
            return


class LeavingSubscriber(ReadingsSubscriber):
    """The client of a session that is given up: takes what waits in it and no more, and ends it with `stop`.

    That it is empty is proven by a marker to itself: a broker keeps the order of what it sends to one client, so what
    had been queued before comes first.
    """

    def __init__(self, address: BrokerAddress, client_id: str) -> None:
        super().__init__(address, client_id)
        self._marker = marker_topic(client_id)
        self._unacknowledged = 0  # guarded by the lock, as is the next
        self._all_came = False

    def is_empty(self) -> bool:
        """Whether all that waited was acknowledged."""
        with self._connection_lock:
            return self._all_came and not self._unacknowledged

    def acknowledge(self, deliveries: list[Delivery]) -> None:
        """As a worker does."""
        super().acknowledge(deliveries)
        with self._connection_lock:
            self._unacknowledged -= sum(delivery.connection == self._connection for delivery in deliveries)

    def stop(self) -> None:
        """Disconnect, and end the session if nothing is left in it."""
        self._stopping.set()
        self._link.stop(end_session=self.is_empty())

    def _up(self) -> None:
        self._link.client.unsubscribe(SHARED_FILTER)
        self._link.client.subscribe(self._marker, qos=1)

    def _down(self) -> None:
        super()._down()
        with self._connection_lock:
            self._unacknowledged, self._all_came = 0, False

    def _subscribed(self, client: paho.Client, data: Any, mid: int, codes: list[ReasonCode], props: Any) -> None:
        super()._subscribed(client, data, mid, codes, props)
        client.publish(self._marker, b"last", qos=1)

    def _message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        if topic_of(message) == self._marker:
            with self._connection_lock:
                self._all_came = True
            client.ack(message.mid, message.qos)
            return
        with self._connection_lock:
            self._unacknowledged += 1
        super()._message(client, data, message)
