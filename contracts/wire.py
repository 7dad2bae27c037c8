"""Topics and payloads on the broker: MQTT 5, QoS 1, JSON by msgspec, a version `v` in each message.

Several readings of one volunteer travel in a message. A payload that does not decode raises `Malformed`, whose
text holds no value of the payload.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec

from contracts.consent import ConsentMessage
from contracts.district import valid_district_code
from contracts.reading import Reading, SelfReport

ROOT: Final = "wijkpols/v1"
CONSENTS_FILTER: Final = f"{ROOT}/consents/+"
READINGS_FILTER: Final = f"{ROOT}/readings/+/+"
ERASURES_FILTER: Final = f"{ROOT}/erasures/+"
STOPS_FILTER: Final = f"{ROOT}/stops/+"
STATUS_FILTER: Final = f"{ROOT}/gateways/+/status"
#: Readings and reports in one message: 60 full ones stay below rumqttd's default payload limit of 20,480 bytes.
ITEMS_MAX: Final = 60
PAYLOAD_BYTES_MAX: Final = 20_000
#: What is counted, and unix seconds, are less: the year 10000.
NUMBER_MAX: Final = 253_402_300_800

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TOKEN = re.compile(r"[a-z2-7]{26}")
T = TypeVar("T")


class Malformed(ValueError):
    """A topic or payload that is not ours; the text is a reason without any value."""


class ReadingsMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a gateway sends: minutes and answers, with a number that rises by one per message of an outbox.

    One without any may say that the messages from `void_from` to `seq` were thrown away unsent: withdrawn, too old, or
    too many for a full outbox. So a number that never comes is a loss.
    """

    v: Literal[1] = 1
    seq: int
    outbox: int = 0  # drawn by lot when a gateway's outbox was made: another one counts from 1 again
    void_from: int | None = None
    readings: tuple[Reading, ...] = ()
    reports: tuple[SelfReport, ...] = ()


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False, forbid_unknown_fields=True):
    """What a gateway says of itself (retained; `online` false is its last will). Counts only, never a band."""

    v: Literal[1] = 1
    gateway: str
    district: str
    online: bool
    at: int = 0  # unix seconds
    version: str = ""
    versions: dict[str, str] = {}  # what it runs on -> its version
    slots: int = 0
    bands_heard: int = 0
    bands_connected: int = 0
    bands_waiting: int = 0  # for a slot
    bands_read: int = 0  # of those heard, within two hours
    bands_without_consent: int = 0
    turns: dict[str, int] = {}  # how a band's turn ended -> turns
    minutes_made: int = 0  # readings put into the outbox
    minutes_dropped: dict[str, int] = {}  # reason -> minutes
    frames_rejected: dict[str, int] = {}  # reason -> frames
    reports_made: int = 0
    records_read: int = 0  # from the memories of bands
    records_corrected: int = 0  # of those, with a time that was corrected
    records_overwritten: int = 0  # by bands with a full memory, before they were read
    clocks_set: int = 0  # of bands
    published: int = 0  # readings acknowledged by the broker
    outbox_rows: int = 0
    outbox_since: int = 0  # unix seconds at which the oldest of them was put in; 0: none


class Erasure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ingest says at `wijkpols/v1/erasures/{pseudonym}` when nothing of that volunteer is left in the store."""

    v: Literal[1] = 1
    revision: int  # of the consent message that asked for it
    readings: int  # erased
    reports: int  # erased
    asked_at: int  # unix seconds, from the consent message
    erased_at: float  # unix seconds


class Stop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a gateway says at `wijkpols/v1/stops/{gateway}`: a wearer held the band's button, which is a withdrawal.

    It is said again until the band's consent says so too.
    """

    v: Literal[1] = 1
    band: str  # its token
    pressed_at: int  # unix seconds
    press: int = 0  # the press's own number; 0: a band that numbers none


class ReadingsTopic(NamedTuple):
    """Where readings come from: the district in which the bands were heard, and the gateway that heard them."""

    district: str
    gateway: str


def valid_gateway_name(text: str) -> bool:
    """Whether the text can name a gateway in a topic: lower case, digits and hyphens, 64 characters at most."""
    return _NAME.fullmatch(text) is not None


def readings_topic(district: str, gateway: str) -> str:
    """The topic on which a gateway publishes readings. Raises Malformed."""
    if not valid_district_code(district) or not valid_gateway_name(gateway):
        raise Malformed("district or gateway name not fit for a topic")
    return f"{ROOT}/readings/{district}/{gateway}"


def parse_readings_topic(topic: str) -> ReadingsTopic:
    """District and gateway out of a topic. Raises Malformed."""
    parts = topic.split("/")
    if len(parts) != 5 or parts[:3] != ["wijkpols", "v1", "readings"]:
        raise Malformed("topic")
    found = ReadingsTopic(parts[3], parts[4])
    if not valid_district_code(found.district) or not valid_gateway_name(found.gateway):
        raise Malformed("topic")
    return found


def status_topic(gateway: str) -> str:
    """Where a gateway's retained status stands. Raises Malformed."""
    if not valid_gateway_name(gateway):
        raise Malformed("gateway name not fit for a topic")
    return f"{ROOT}/gateways/{gateway}/status"


def stop_topic(gateway: str) -> str:
    """Where a gateway says which wearers stopped by their bands. Raises Malformed."""
    if not valid_gateway_name(gateway):
        raise Malformed("gateway name not fit for a topic")
    return f"{ROOT}/stops/{gateway}"


def consent_topic(token: str) -> str:
    """Where the retained consent of a band stands. Raises Malformed."""
    return f"{ROOT}/consents/{_checked(token)}"


def erasure_topic(pseudonym: str) -> str:
    """Where ingest reports the erasure of a pseudonym. Raises Malformed."""
    return f"{ROOT}/erasures/{_checked(pseudonym)}"


def last_part(topic: str) -> str:
    """The band token of a consent topic, or the pseudonym of an erasure topic. Raises Malformed."""
    return _checked(topic.rsplit("/", 1)[-1])


def _checked(token: str) -> str:
    if _TOKEN.fullmatch(token) is None:
        raise Malformed("not a band token or pseudonym")
    return token


_ENCODER = msgspec.json.Encoder()
_READINGS = msgspec.json.Decoder(ReadingsMessage)
_CONSENT = msgspec.json.Decoder(ConsentMessage)
_STATUS = msgspec.json.Decoder(GatewayStatus)
_ERASURE = msgspec.json.Decoder(Erasure)
_STOP = msgspec.json.Decoder(Stop)


def encode(message: ReadingsMessage | ConsentMessage | GatewayStatus | Erasure | Stop) -> bytes:
    """A message as the bytes of its JSON."""
    return _ENCODER.encode(message)


def decode_readings(payload: bytes) -> ReadingsMessage:
    """Raises Malformed."""
    message = _decode(_READINGS, payload)
    if len(message.readings) + len(message.reports) > ITEMS_MAX:
        raise Malformed("too many items")
    return message


def decode_consent(payload: bytes) -> ConsentMessage | None:
    """None for the empty payload with which a retained message is cleared. Raises Malformed."""
    return _decode(_CONSENT, payload) if payload else None


def decode_status(payload: bytes) -> GatewayStatus:
    """Raises Malformed."""
    status = _decode(_STATUS, payload)
    _in_range(status.at)
    return status


def decode_erasure(payload: bytes) -> Erasure:
    """Raises Malformed."""
    erasure = _decode(_ERASURE, payload)
    _in_range(erasure.revision, erasure.readings, erasure.reports, erasure.asked_at, erasure.erased_at)
    return erasure


def decode_stop(payload: bytes) -> Stop:
    """Raises Malformed."""
    stop = _decode(_STOP, payload)
    _checked(stop.band)
    _in_range(stop.pressed_at)
    _in_range(stop.press)
    return stop


def _in_range(*numbers: float) -> None:
    """JSON knows no bounds, a registry's columns and a calendar do."""
    if not all(0 <= number < NUMBER_MAX for number in numbers):
        raise Malformed("range")


def _decode(decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise Malformed("too long")
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError:  # its text can hold values of the payload, so it goes no further
        raise Malformed("schema") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("not JSON") from None
