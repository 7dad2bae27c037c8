"""The gateway's one connection to the broker: MQTT 5 by paho, QoS 1, a fixed client id.

In: the retained consents, read anew on each connection before the first send. Nothing in MQTT marks the last retained
message, so the gateway publishes its status after the SUBACK and waits until it comes back: brokers keep the order of
what they send to one client. (A silence of half a second, taken for the end, was once in a busy Mosquitto's middle,
and the wearers behind it were taken for people without consent.) Where the ACL does not let a gateway read its own
status, a silence of `quiet_s` must do; what is sent stays safe: a row whose consent is not known is held back.
They are read with QoS 0, since rumqttd gives a QoS 1 subscription only the first 100 of them (docs/adr/0004), and the
subscription is then raised to QoS 1 for the changes, without having it all sent again (MQTT 5, 3.8.3.1).

Out: the outbox's rows, oldest first, a bounded number in flight, each removed when its PUBACK is here, and sent again
when the connection breaks soon after (`gateway/lately.py`); and the gateway's status, retained, with `online` false as
last will. Connecting, and waiting longer each time, are paho's; one thread of ours (`_pump`) publishes and removes.
Each connection has a client of its own: one that connects again by itself would send what was in flight before the
consents are read.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentMessage
from contracts.reading import RETENTION_DAYS
from gateway.lately import Lately
from gateway.outbox import Outbox, Row

IN_FLIGHT_MAX: Final = 200
STATUS_EVERY_S: Final = 30.0
HOUSEKEEP_EVERY_S: Final = 10.0
#: After the broker refused a message (by its ACL, mostly), wait this long before the next try.
REFUSED_WAIT_S: Final = 30.0
#: MQTT 5, 3.4.2.1: thrown away, since nobody subscribes. A broker that was killed may not know ingest's session.
NO_MATCHING_SUBSCRIBERS: Final = 0x10
NOBODY_WAIT_S: Final = 1.0
_FAILURE_MIN: Final = 0x80
#: How long after a lost connection the next one is begun.
RENEW_WAIT_S: Final = 1.0
EXPIRY_S: Final = RETENTION_DAYS * 86_400
_SEND_NONE: Final = 2  # retain handling: what is retained is not sent again
_log = logging.getLogger(__name__)


class Publisher:
    """Carries the outbox to the broker, and the consents from it. `start` and `stop` it; the rest is callbacks.

    on_consent(token, message) and on_synced(tokens seen) are called in paho's and the pump's thread; they must not
    block. may_send(pseudonym) is asked for each row just before it goes.
    """

    def __init__(
        self,
        *,
        broker: BrokerAddress,
        gateway: str,
        district: str,
        outbox: Outbox,
        may_send: Callable[[str], bool],
        on_consent: Callable[[str, ConsentMessage | None], None],
        on_synced: Callable[[set[str]], None],
        on_published: Callable[[int], None],
        housekeep: Callable[[], None],
        status: Callable[[], wire.GatewayStatus],
        now: Callable[[], float],
        quiet_s: float = 5.0,
    ) -> None:
        self._broker = broker
        self._topic = wire.readings_topic(district, gateway)
        self._status_topic = wire.status_topic(gateway)
        self._outbox = outbox
        self._may_send, self._on_consent, self._on_synced = may_send, on_consent, on_synced
        self._on_published, self._housekeep, self._status = on_published, housekeep, status
        self._now, self._quiet_s = now, quiet_s

        self._wake = threading.Event()
        self._idle = threading.Condition()
        self._stopping = False
        # Written by paho's thread, read by the pump; each is one reference, so no lock.
        self._connected = False
        self._connections = 0
        self._subscribed = 0  # the connection on which the consents were subscribed to
        self._marker = b""  # the status that was published after that
        self._returned = 0  # the connection on which it came back
        self._last_retained = 0.0
        self._seen: set[str] = set()
        self._acks: deque[tuple[int, int]] = deque()  # packet id, reason code
        self._rescan = False
        self._room = 1
        self._failure = ""
        self._lately = Lately()
        # The pump's own.
        self._in_flight: dict[int, Row] = {}
        self._sent_seqs: set[int] = set()
        self._cursor = 0
        self._held_back = False
        self._read = 0  # the connection on which they were read
        self._refused_until = 0.0

        self._names = gateway, district
        self._renew_at: float | None = None  # when the lost connection gives way to a new one
        self._client = self._make_client()
        self._thread = threading.Thread(target=self._pump, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to connect. A broker that is not there is tried again and again, and told of in the log."""
        self._connect()
        self._thread.start()

    def stop(self, *, timeout_s: float = 2.0) -> None:
        """Say the last status, with `online` false, and disconnect. What is not acknowledged stays in the outbox."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        if self._connected:
            last = self._publish_status()
            deadline = time.monotonic() + timeout_s
            while last.mid not in {mid for mid, _ in tuple(self._acks)} and time.monotonic() < deadline:
                self._wake.wait(0.01)
                self._wake.clear()
        self._client.disconnect()
        self._client.loop_stop()
        self._settle()

    def _connect(self) -> None:
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=30, clean_start=True)
        self._client.loop_start()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    def rescan(self) -> None:
        """A consent changed: rows that were held back may go now."""
        self._rescan = True
        self._wake.set()

    def forget(self, pseudonym: str) -> None:
        """A consent changed: nothing of this wearer that was acknowledged is sent again."""
        self._lately.forget(pseudonym)

    @property
    def synced(self) -> bool:
        """Whether the consents were read on this connection."""
        return self._connected and self._read == self._subscribed == self._connections

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until all that may be sent is acknowledged; False when time is up first."""
        deadline = time.monotonic() + timeout_s
        self._wake.set()
        with self._idle:
            while not self._all_sent():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._idle.wait(min(left, 0.05))
        return True

    def _all_sent(self) -> bool:
        if len(self._outbox) == 0:
            return True
        quiet = self.synced and not self._rescan and not self._in_flight and not self._acks
        return quiet and self._held_back and not self._outbox.after(self._cursor, 1)

    # paho's thread

    def _make_client(self) -> mqtt.Client:
        gateway, district = self._names
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"wijkpols-gateway-{gateway}", protocol=mqtt.MQTTv5)
        client.enable_logger(logging.getLogger(f"{__name__}.paho"))
        self._broker.secure(client)
        client.reconnect_delay_set(min_delay=1, max_delay=60)
        client.max_inflight_messages = IN_FLIGHT_MAX + 1
        client.suppress_exceptions = True  # paho logs an error of a callback, and its thread lives on
        will = wire.GatewayStatus(gateway=gateway, district=district, online=False)
        client.will_set(self._status_topic, wire.encode(will), qos=1, retain=True)
        client.on_connect = self._connect_answered
        client.on_connect_fail = self._not_reached
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribe_answered
        client.on_message = self._message
        client.on_publish = self._acknowledged
        return client

    def _connect_answered(
        self,
        client: mqtt.Client,
        _data: object,
        _flags: mqtt.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self._tell(
                f"the broker {self._broker} refuses this gateway ({code}): check user and password of the broker URL"
            )
            return
        self._failure = ""
        _log.info("connected to the broker %s", self._broker)
        # MQTT 5, 3.2.2.3.3: who sends more than the broker's Receive Maximum is disconnected. One is for the status.
        self._room = max(1, min(IN_FLIGHT_MAX, getattr(properties, "ReceiveMaximum", IN_FLIGHT_MAX) - 1))
        self._seen = set()
        self._connections += 1
        self._connected = True
        client.subscribe([(wire.CONSENTS_FILTER, 0), (self._status_topic, 0)])

    def _subscribe_answered(
        self, _client: mqtt.Client, _data: object, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if codes[0].is_failure:
            self._tell("the broker does not let this gateway read the consents, so nothing may be sent: check its ACL")
            return
        if self._subscribed != self._connections:  # the first answer on this connection; the other raises the QoS
            self._last_retained = time.monotonic()
            self._marker = wire.encode(self._status())
            self._subscribed = self._connections
            self._client.publish(self._status_topic, self._marker, qos=1, retain=True)
        self._wake.set()

    def _message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == self._status_topic:
            if not message.retain and message.payload == self._marker:
                self._returned = self._connections
                self._wake.set()
            return
        try:
            token = wire.last_part(message.topic)
        except wire.Malformed:
            return
        try:
            consent = wire.decode_consent(bytes(message.payload))
        except wire.Malformed as fault:
            _log.warning("a consent message is malformed (%s): it covers nothing", fault)
            consent = None
        if consent is not None:
            self._seen.add(token)
        self._last_retained = time.monotonic()
        self._on_consent(token, consent)

    def _acknowledged(
        self, _client: mqtt.Client, _data: object, mid: int, code: ReasonCode, _properties: Properties | None
    ) -> None:
        # paho holds its lock here, so only note it.
        self._acks.append((mid, code.value))
        self._wake.set()

    def _disconnected(
        self,
        client: mqtt.Client,
        _data: object,
        _flags: mqtt.DisconnectFlags,
        code: ReasonCode,
        _props: Properties | None,
    ) -> None:
        was, self._connected = self._connected, False
        if was and not self._stopping:
            client.loop_stop()  # or paho would connect again, and send what was in flight, by itself
            self._renew_at = time.monotonic() + RENEW_WAIT_S
        self._wake.set()
        if was and not self._stopping:
            hint = ": another gateway has this name" if code.getName() == "Session taken over" else ""
            self._tell(f"lost the broker {self._broker} ({code}{hint}); the outbox keeps what comes")

    def _not_reached(self, _client: mqtt.Client, _data: object) -> None:
        self._tell(f"the broker {self._broker} cannot be reached; trying again, the outbox keeps what comes")

    def _tell(self, text: str) -> None:
        if text != self._failure:  # once per kind of trouble, not once per try
            self._failure = text
            _log.error("%s", text)

    # the pump's thread

    def _pump(self) -> None:
        told = kept_house = time.monotonic()
        while not self._stopping:
            self._wake.wait(0.5 if self.synced else min(0.5, self._quiet_s / 2))
            self._wake.clear()
            now = time.monotonic()
            try:
                self._settle()
                if self._renew_at is not None and now >= self._renew_at:
                    self._renew()
                self._note_sync()
                if self.synced and now >= self._refused_until:
                    self._send()
                if now - kept_house >= HOUSEKEEP_EVERY_S:
                    kept_house = now
                    self._housekeep()
            except sqlite3.Error as fault:  # a full or failing disk may come back; what was sent is sent again
                self._tell(f"the outbox cannot be read or written ({fault})")
                self._rescan = True
            except Exception as fault:  # noqa: BLE001 (a dead pump would be a gateway silent until somebody comes)
                self._tell(f"publishing failed by a fault of the gateway ({type(fault).__name__})")
                self._rescan = True
            if self.synced and now - told >= STATUS_EVERY_S:
                told = now
                self._publish_status()
            with self._idle:
                self._idle.notify_all()

    def _renew(self) -> None:
        """A new client in the place of the one that lost its connection, with nothing in flight."""
        self._client.loop_stop()
        self._settle()
        now = time.monotonic()
        self._lately.acknowledged(self._in_flight.values(), now)  # what was being sent again stands nowhere else
        self._lately.lost(now)  # after the last acknowledgement was settled, or that row would stay behind
        self._in_flight.clear()
        self._sent_seqs.clear()
        self._acks.clear()
        self._rescan, self._renew_at = True, None
        self._client = self._make_client()
        self._connect()

    def _publish_status(self) -> mqtt.MQTTMessageInfo:
        return self._client.publish(self._status_topic, wire.encode(self._status()), qos=1, retain=True)

    def _note_sync(self) -> None:
        connection = self._connections
        waiting = self._connected and self._subscribed == connection and self._read != connection
        if waiting and (self._returned == connection or time.monotonic() - self._last_retained >= self._quiet_s):
            self._on_synced(set(self._seen))
            self._rescan = True
            self._read = connection
            self._client.subscribe(wire.CONSENTS_FILTER, options=SubscribeOptions(qos=1, retainHandling=_SEND_NONE))
            self._client.unsubscribe(self._status_topic)
            self._publish_status()

    def _settle(self) -> None:
        """Remove what is acknowledged, all of it in one transaction."""
        done: list[Row] = []
        while self._acks:
            mid, code = self._acks.popleft()
            row = self._in_flight.pop(mid, None)
            if row is None:  # a status
                continue
            self._sent_seqs.discard(row.seq)
            if code == NO_MATCHING_SUBSCRIBERS:
                self._not_taken("nobody takes readings from the broker: start ingest", NOBODY_WAIT_S)
            elif code >= _FAILURE_MIN:
                self._not_taken("the broker refuses this gateway's readings: check its ACL", REFUSED_WAIT_S)
            else:
                done.append(row)
        if done:
            self._lately.acknowledged(done, time.monotonic())
            self._on_published(self._outbox.remove(done))

    def _not_taken(self, why: str, wait_s: float) -> None:
        self._tell(why)
        self._refused_until = time.monotonic() + wait_s
        self._rescan = True

    def _send(self) -> None:
        if self._rescan:
            self._rescan, self._cursor, self._held_back = False, 0, False
        self._send_again()
        while (room := self._room - len(self._in_flight)) > 0 and self._connected:
            rows = self._outbox.after(self._cursor, room)
            if not rows:
                return
            for row in rows:
                if row.seq not in self._sent_seqs:
                    if not self._goes(row):
                        self._held_back = True
                    elif not self._publish(row):
                        return
                self._cursor = row.seq

    def _send_again(self) -> None:
        """What was acknowledged just before the connection broke. Whose consent is not known now is kept for later."""
        rows = self._lately.take(max(0, self._room - len(self._in_flight)))
        self._lately.keep([row for row in rows if not (self._goes(row) and self._publish(row))])

    def _goes(self, row: Row) -> bool:
        return not row.pseudonym or self._may_send(row.pseudonym)

    def _publish(self, row: Row) -> bool:
        # After the retention no store takes it: the broker need not keep it for longer (MQTT 5, 3.3.2.3.3).
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = max(1, min(row.added_at + EXPIRY_S - int(self._now()), EXPIRY_S))
        sent = self._client.publish(self._topic, row.payload, qos=1, properties=properties)
        if sent.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            return False  # paho's own queue is full; NO_CONN is kept by paho for the next connection
        self._in_flight[sent.mid] = row
        self._sent_seqs.add(row.seq)
        return True
