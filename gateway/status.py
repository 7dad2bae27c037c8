"""What a gateway last said of itself, for people in a terminal."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.ports import Fault

STATUS_S_MAX: Final = 5.0
#: A gateway speaks every 30 s; one that said "online" so long ago hangs, or its broker lost the last will.
SILENT_S_MAX: Final = 120.0


def retained_status(broker: BrokerAddress, gateway: str) -> wire.GatewayStatus:
    """What a gateway last said, from the broker. Raises Fault."""
    came: queue.SimpleQueue[bytes | str] = queue.SimpleQueue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    broker.secure(client)

    def connected(_client: object, _data: object, _flags: object, code: ReasonCode, _properties: object) -> None:
        if code.is_failure:
            came.put(f"the broker {broker} refuses the connection ({code}): check user and password of the broker URL")
        else:
            client.subscribe(wire.status_topic(gateway), qos=1)

    client.on_connect = connected
    client.on_message = lambda _client, _data, message: came.put(bytes(message.payload))
    try:
        client.connect(broker.host, broker.port)
    except OSError as fault:
        raise Fault(f"the broker {broker} cannot be reached ({fault}): check --broker-url") from None
    client.loop_start()
    try:
        answer = came.get(timeout=STATUS_S_MAX)
    except queue.Empty:
        raise Fault(f"no gateway named {gateway} has said anything on {broker}: check --name") from None
    finally:
        client.disconnect()
        client.loop_stop()
    if isinstance(answer, str):
        raise Fault(answer)
    try:
        return wire.decode_status(answer)
    except wire.Malformed:
        raise Fault(f"the status of {gateway} is of another version") from None


def in_words(status: wire.GatewayStatus, now: float) -> str:
    """A status for people, some lines. `now`: unix seconds."""
    return "\n".join(_lines(status, now)) + "\n"


def _lines(status: wire.GatewayStatus, now: float) -> Iterator[str]:
    if not status.online:
        yield f"{status.gateway} in {status.district}: offline"
        if not status.at:
            yield "it ended without a word (power, network or a kill); its outbox keeps what was not acknowledged"
            return
    else:
        silent_s = now - status.at
        late = f", but silent for {_span(silent_s)}" if silent_s > SILENT_S_MAX else ""
        yield f"{status.gateway} in {status.district}: online{late}"
    said = datetime.fromtimestamp(status.at, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    versions = ", ".join(f"{name} {number}" for name, number in sorted(status.versions.items()))
    yield f"said at   {said} UTC, by wijkpols {status.version or '(not installed)'}; {versions or 'no versions'}"
    yield (
        f"bands     {status.bands_heard} heard, {status.bands_read} read within two hours, "
        f"{status.bands_waiting} waiting, {status.bands_without_consent} without consent"
    )
    yield f"slots     {status.bands_connected} of {status.slots} in use"
    yield f"turns     {_listed(status.turns)}"
    yield (
        f"memories  {status.records_read} records read, {status.records_corrected} with a corrected time, "
        f"{status.records_overwritten} overwritten unread"
    )
    yield f"clocks    {status.clocks_set} set"
    yield f"minutes   {status.minutes_made} made, {status.published} acknowledged by the broker"
    yield f"dropped   {_listed(status.minutes_dropped)}"
    yield f"frames    rejected: {_listed(status.frames_rejected)}"
    yield f"answers   {status.reports_made}"
    age = f", the oldest for {_span(now - status.outbox_since)}" if status.outbox_since else ""
    yield f"outbox    {status.outbox_rows} messages wait{age}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items(), key=lambda one: -one[1])) or "none"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"
