"""The gateway's one connection to the broker: MQTT 5 by paho, QoS 1, a fixed client id.

In: the retained consents, read anew on each connection before the first send. Nothing in MQTT marks the last retained
message, so the gateway publishes its status after the SUBACK and waits until it comes back: brokers keep the order of
what they send to one client. (A silence of half a second, taken for the end, was once in a busy Mosquitto's middle,
and the wearers behind it were taken for people without consent.) Where the ACL does not let a gateway read its own
status, a silence of `quiet_s` must do; what is sent stays safe: a row whose consent is not known is held back.
They are read with QoS 0, since rumqttd gives a QoS 1 subscription only the first 100 of them (docs/adr/0004), and the
subscription is then raised to QoS 1 for the changes, without having it all sent again (MQTT 5, 3.8.3.1).

Out: the outbox's rows and the wearers who stopped (`gateway/sending.py`); and the gateway's status, retained, with
`online` false as last will. Connecting, and waiting longer each time, are paho's; one thread of ours (`_pump`)
publishes. Each connection has a client of its own: one that connects again by itself would send what was in flight
before the consents are read.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentMessage
from gateway.outbox import Outbox, Row
from gateway.sending import IN_FLIGHT_MAX, Sending

#: How often the status is said, and who stopped.
STATUS_EVERY_S: Final = 30.0
HOUSEKEEP_EVERY_S: Final = 10.0
#: How long after a lost connection the next one is begun.
RENEW_WAIT_S: Final = 1.0
_SEND_NONE: Final = 2  # retain handling: what is retained is not sent again
_log = logging.getLogger(__name__)


class Publisher:
    """Carries the outbox to the broker, and the consents from it. `start` and `stop` it; the rest is callbacks.

    on_consent(token, message) and on_synced(whether a token was seen) are called in paho's and the pump's thread; they
    must not block. may_send(row) is asked for each row just before it goes; stops() gives who stopped, as long as their
    consent does not say so.
    """

    def __init__(
        self,
        *,
        broker: BrokerAddress,
        gateway: str,
        district: str,
        outbox: Outbox,
        may_send: Callable[[Row], bool],
        stops: Callable[[], Iterable[wire.Stop]],
        on_consent: Callable[[str, ConsentMessage | None], None],
        on_synced: Callable[[Callable[[str], bool]], None],
        on_published: Callable[[int], None],
        housekeep: Callable[[], None],
        status: Callable[[], wire.GatewayStatus],
        now: Callable[[], float],
        quiet_s: float = 5.0,
    ) -> None:
        self._broker = broker
        self._status_topic = wire.status_topic(gateway)
        self._stops, self._on_consent, self._on_synced = stops, on_consent, on_synced
        self._on_published, self._housekeep, self._status = on_published, housekeep, status
        self._quiet_s = quiet_s
        self._sending = Sending(
            outbox=outbox,
            topic=wire.readings_topic(district, gateway),
            stop_topic=wire.stop_topic(gateway),
            may_send=may_send,
            now=now,
            say=self._tell,
        )

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
        self._failure = ""
        self._news = False  # of who stopped
        self._read = 0  # the connection on which the consents were read; the pump's own

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
            with suppress(RuntimeError, ValueError):  # paho's words for a connection that went, and a full queue
                self._publish_status().wait_for_publish(timeout_s)
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
        self._sending.rescan()
        self._wake.set()

    def forget(self, pseudonym: str) -> None:
        """A consent changed: nothing of this wearer that was acknowledged is sent again."""
        self._sending.forget(pseudonym)

    def tell_stops(self) -> None:
        """Somebody stopped by the band just now."""
        self._news = True
        self._wake.set()

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
        return self._sending.empty or (self.synced and self._sending.idle)

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
        self._sending.begin(getattr(properties, "ReceiveMaximum", None))
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
        self._sending.acknowledged(mid, code.value)
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
            hint = ": another gateway has this name" if code.getName() == "Session taken over" else ""
            self._tell(f"lost the broker {self._broker} ({code}{hint}); the outbox keeps what comes")
        self._wake.set()

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
                if self.synced:
                    self._tell_who_stopped()
                    self._sending.send(self._client)
                if now - kept_house >= HOUSEKEEP_EVERY_S:
                    kept_house = now
                    self._housekeep()
            except sqlite3.Error as fault:  # a full or failing disk may come back; what was sent is sent again
                self._tell(f"the outbox cannot be read or written ({fault})")
                self._sending.rescan()
            except Exception as fault:  # noqa: BLE001 (a dead pump would be a gateway silent until somebody comes)
                self._tell(f"publishing failed by a fault of the gateway ({type(fault).__name__})")
                self._sending.rescan()
            if self.synced and now - told >= STATUS_EVERY_S:
                told, self._news = now, True
                self._publish_status()
            with self._idle:
                self._idle.notify_all()

    def _renew(self) -> None:
        """A new client in the place of the one that lost its connection, with nothing in flight."""
        self._client.loop_stop()
        self._settle()
        self._sending.lost()
        self._renew_at = None
        self._client = self._make_client()
        self._connect()

    def _publish_status(self) -> mqtt.MQTTMessageInfo:
        return self._client.publish(self._status_topic, wire.encode(self._status()), qos=1, retain=True)

    def _note_sync(self) -> None:
        connection = self._connections
        waiting = self._connected and self._subscribed == connection and self._read != connection
        if waiting and (self._returned == connection or time.monotonic() - self._last_retained >= self._quiet_s):
            self._on_synced(lambda token: token in self._seen)  # as it is when asked: more may come just now
            self._sending.rescan()
            self._read, self._news = connection, True
            self._client.subscribe(wire.CONSENTS_FILTER, options=SubscribeOptions(qos=1, retainHandling=_SEND_NONE))
            self._client.unsubscribe(self._status_topic)
            self._publish_status()

    def _settle(self) -> None:
        if readings := self._sending.settle():
            self._on_published(readings)

    def _tell_who_stopped(self) -> None:
        if self._news:
            self._news = False
            self._sending.tell(self._stops())
