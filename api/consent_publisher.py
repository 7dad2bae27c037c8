"""Consent goes out, erasures and stops by bands come in: the ledger's side of the broker.

One thread of its own publishes; paho's thread only hands over. What must be heard stands in the ledger's outbox
until the broker acknowledged it; after each (re)connection everything is published again, for a broker may forget.
What comes in is acknowledged after the ledger has it.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from sqlalchemy.exc import SQLAlchemyError

from api.band_stops import BandStops
from api.gateways_seen import GatewaysSeen
from api.ledger import Ledger
from api.outbox import Addressed, ConsentOutbox
from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.reading import SelfReport

_LOG = logging.getLogger(__name__)
_BATCH: Final = 200
_ACK_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0  # how often the outbox is looked at unasked: another process may have written
_UNACKED_MAX: Final = 100  # the broker sends at most so many messages before we acknowledge one
_SESSION_SECONDS: Final = 7 * 86_400  # the broker keeps messages for us so long while we are away
_GATEWAYS_MAX: Final = 1_000
_SWEEP_SECONDS: Final = 60.0  # how often consents that ended are said to have ended
_REFUSED_MAX: Final = 1_000
_STOPS: Final = wire.STOPS_FILTER.removesuffix("+")
#: By this name the pages send self-reports, as a gateway does; a broker's access rules must allow it to the API.
WEB_GATEWAY: Final = "web"


class _Received(NamedTuple):
    topic: str
    payload: bytes
    mid: int
    qos: int
    connection: int  # a stale acknowledgement must not hit the next session


class ConsentPublisher:
    """Publishes consent, and records erasures and stops, from `with` to its end."""

    def __init__(
        self,
        address: BrokerAddress,
        *,
        ledger: Ledger,
        stops: BandStops,
        outbox: ConsentOutbox,
        client_id: str,
        seen: GatewaysSeen,
        sweeps: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._address = address
        self._ledger = ledger
        self._stops = stops
        self._outbox = outbox
        self._seen = seen
        self._sweeps = sweeps  # once a minute each
        self._swept = -_SWEEP_SECONDS
        self._report_numbers = itertools.count(time.time_ns() // 1_000_000)  # rises over restarts, too
        self._refused: deque[int] = deque(maxlen=_REFUSED_MAX)  # message ids that the broker did not take
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._connected = False  # only after its number was counted: paho's own flag is earlier
        self._connections = 0  # counted by paho's thread
        self._said_in = 0  # the connection in which everything was published
        self._acks: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()  # bounded by _BATCH
        self._erasures_in: queue.Queue[_Received] = queue.Queue(maxsize=2 * _UNACKED_MAX)
        self._stops_in: queue.Queue[_Received] = queue.Queue(maxsize=2 * _UNACKED_MAX)
        self._gateways: dict[str, wire.GatewayStatus] = {}
        self._client = self._new_client(client_id)
        self._worker = threading.Thread(target=self._work, name="consent-publisher", daemon=True)

    def __enter__(self) -> Self:
        connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        connect.SessionExpiryInterval = _SESSION_SECONDS
        connect.ReceiveMaximum = _UNACKED_MAX
        self._client.connect_async(
            self._address.host, self._address.port, keepalive=30, clean_start=False, properties=connect
        )
        self._client.loop_start()
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._wake.set()
        self._worker.join(_ACK_SECONDS + 1)
        self._client.disconnect()
        self._client.loop_stop()

    def notify(self) -> None:
        """Something is in the outbox."""
        self._wake.set()

    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._connected

    def wait_until_sent(self, seconds: float) -> bool:
        """Whether the broker has acknowledged everything, waiting at most so long."""
        deadline = time.monotonic() + seconds
        self._wake.set()
        while not (done := self._all_sent()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return done

    def _all_sent(self) -> bool:
        return self.connected() and self._said_in == self._connections and self._outbox.empty()

    def gateways(self) -> list[wire.GatewayStatus]:
        """What each gateway last said of itself, by name; `at`: when it last was at work, 0 when not known."""
        return [status for _, status in sorted(self._gateways.copy().items())]

    def publish_report(self, district: str, report: SelfReport, *, seconds_max: float = 5.0) -> bool:
        """Send an answer of the pages the way that a gateway sends one; whether the broker took it."""
        if not self._connected:
            return False
        message = wire.ReadingsMessage(seq=next(self._report_numbers), reports=(report,))
        info = self._client.publish(wire.readings_topic(district, WEB_GATEWAY), wire.encode(message), qos=1)
        try:
            info.wait_for_publish(seconds_max)
        except (RuntimeError, ValueError):  # paho's words for a connection that went, and a full queue
            return False
        return info.is_published() and info.mid not in self._refused

    # On paho's thread

    def _new_client(self, client_id: str) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.max_inflight_messages_set(_BATCH)
        self._address.secure(client)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        return client

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            _LOG.error("the broker at %s refuses us: %s", self._address, reason)
            return
        self._connections += 1
        self._connected = True
        client.subscribe(
            [
                (wire.ERASURES_FILTER, SubscribeOptions(qos=1)),
                (wire.STOPS_FILTER, SubscribeOptions(qos=1)),
                (wire.STATUS_FILTER, SubscribeOptions(qos=0)),
            ]
        )
        self._wake.set()

    def _on_connect_fail(self, _client: mqtt.Client, _userdata: Any) -> None:
        _LOG.warning("the broker at %s cannot be reached; trying on", self._address)

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._connected = False
        if not self._stopping.is_set():
            _LOG.warning("the broker at %s is gone (%s); consent waits in the outbox", self._address, reason)

    def _on_publish(self, _client: mqtt.Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._refused.append(mid)
        self._acks.put((mid, not reason.is_failure))

    def _on_message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic.startswith(f"{wire.ROOT}/gateways/"):
            self._take_status(message.topic, bytes(message.payload))
            client.ack(message.mid, message.qos)
            return
        if not message.qos:  # ours ask to be acknowledged; of others the broker would hold none back
            return
        received = _Received(message.topic, bytes(message.payload), message.mid, message.qos, self._connections)
        stop = message.topic.startswith(_STOPS)
        try:
            (self._stops_in if stop else self._erasures_in).put_nowait(received)
        except queue.Full:
            if stop:  # a gateway says it again; a flood of them must not keep erasures waiting, nor fill the log
                client.ack(message.mid, message.qos)
            else:  # not acknowledged: it comes again with the next connection
                _LOG.error("the broker sends more messages at once than was agreed")
        self._wake.set()

    def _take_status(self, topic: str, payload: bytes) -> None:
        if not payload:  # so a retained message is taken away: this gateway is no more
            self._gateways.pop(topic.split("/")[-2], None)
            return
        try:
            status = wire.decode_status(payload)
        except wire.Malformed as fault:
            _LOG.warning("a gateway's status was not understood: %s", fault)
            return
        if topic != wire.status_topic(status.gateway):
            _LOG.warning("a gateway spoke of another one: not heeded")
            return
        before = self._gateways.get(status.gateway)
        if not status.at:  # a last will is written beforehand, and knows no time
            at, version = (self._seen.at(status.gateway), "") if before is None else (before.at, before.version)
            status = msgspec.structs.replace(status, at=at, version=version)
        if before is not None or len(self._gateways) < _GATEWAYS_MAX:
            self._gateways[status.gateway] = status

    # On the worker's thread

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
            for step in (self._take_in, self._sweep, self._publish_due, self._note_gateways):
                self._try(step)

    def _try(self, step: Callable[[], None]) -> None:
        """One that fails holds up none of the others: what comes in may be anything."""
        try:
            step()
        except SQLAlchemyError as fault:
            _LOG.error("the registry is not there (%s); trying on", type(fault).__name__)
            self._stopping.wait(_LOOK_SECONDS)
        except Exception as fault:  # noqa: BLE001 - without this thread no withdrawal would be heard any more
            _LOG.error("publishing consent failed (%s); trying on", type(fault).__name__)
            self._stopping.wait(_LOOK_SECONDS)

    def _sweep(self) -> None:
        if time.monotonic() - self._swept < _SWEEP_SECONDS:
            return
        for sweep in self._sweeps:
            sweep()
        self._swept = time.monotonic()

    def _note_gateways(self) -> None:
        self._seen.note(self.gateways())

    def _take_in(self) -> None:
        for _ in range(_UNACKED_MAX):  # whoever says ever more must not hold up what is to be published
            waiting = self._stops_in if self._erasures_in.empty() else self._erasures_in
            if waiting.empty():
                return
            received = waiting.queue[0]  # it leaves the queue after the ledger has it
            try:
                if received.topic.startswith(_STOPS):
                    self._stops.heard(wire.decode_stop(received.payload))
                else:
                    pseudonym = wire.last_part(received.topic)
                    self._ledger.record_erasure(pseudonym, wire.decode_erasure(received.payload))
            except wire.Malformed as fault:
                _LOG.warning("an erasure or a stop was not understood: %s", fault)
            waiting.get_nowait()
            if received.connection == self._connections:
                self._client.ack(received.mid, received.qos)
        self._wake.set()

    def _publish_due(self) -> None:
        if not self._connected:
            return
        connection = self._connections
        if self._said_in != connection:
            if not self._publish_all():
                return
            self._said_in = connection
        while page := self._outbox.unsent(limit=_BATCH):
            if not self._publish(page):
                return

    def _publish_all(self) -> bool:
        last = ""
        while page := self._outbox.all_after(last, limit=_BATCH):
            if not self._publish(page):
                return False
            last = page[-1][0]
        return True

    def _publish(self, page: list[Addressed]) -> bool:
        """Publish and wait; True when the broker acknowledged all of them."""
        while not self._acks.empty():
            self._acks.get_nowait()  # of an earlier page whose time was up
        waiting: dict[int, tuple[str, int]] = {}
        for token, message in page:
            info = self._client.publish(wire.consent_topic(token), wire.encode(message), qos=1, retain=True)
            waiting[info.mid] = (token, message.revision)
        sent: list[tuple[str, int]] = []
        deadline = time.monotonic() + _ACK_SECONDS
        refused = False
        while waiting and not self._stopping.is_set():
            try:
                mid, accepted = self._acks.get(timeout=max(0.0, min(deadline - time.monotonic(), 0.5)))
            except queue.Empty:
                if time.monotonic() >= deadline:
                    break
                continue
            addressed = waiting.pop(mid, None)
            if addressed is not None and accepted:
                sent.append(addressed)
            refused = refused or not accepted
        self._outbox.mark_sent(sent)
        if refused:
            _LOG.error("the broker at %s refuses consent messages: see its access rules", self._address)
        return len(sent) == len(page)
