"""Bytes of a band -> values, after `docs/reference/band-profile.md` and the Bluetooth SIG's characteristics.

Every decoder takes any bytes, and returns a frozen value or raises `MalformedFrame`; nothing else comes out. Whether
a value is plausible (a heart rate of 0) is not judged here but in `epochs`.
"""

from __future__ import annotations

import itertools
import re
import struct
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from contracts.reading import Reason

Bytes = bytes | bytearray | memoryview

#: The longest attribute value (Bluetooth Core, Vol 3, Part F, 3.2.9).
ATTRIBUTE_BYTES_MAX: Final = 512
#: 0x2A37 counts RR intervals, and Beat Timing its offsets, in 1/1024 s. Read as ms they are 2.4 % off.
TICKS_PER_S: Final = 1024
#: Every reason that a MalformedFrame can have.
REASONS: Final = ("truncated", "trailing-bytes", "too-long", "range", "order", "text")

#: Places 1 to 12 of the profile's list of reasons.
_SELF_REPORT_REASONS: Final = (
    Reason.LIGHT,
    Reason.TRAFFIC,
    Reason.NOISE,
    Reason.PEOPLE,
    Reason.DIRT,
    Reason.GREEN,
    Reason.WEATHER,
    Reason.NEIGHBOURS,
    Reason.EVENTS,
    Reason.BUILDING_WORKS,
    Reason.HOME,
    Reason.OTHER,
)
#: Adjust reason of a written Current Time (CTS 1.1, 3.1.2.4).
_EXTERNAL_REFERENCE: Final = 0x02
#: What is written to Stop when the wearer chose anew since.
GO_ON: Final = b"\0"
_SERIAL = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")


class MalformedFrame(ValueError):
    """Bytes that are no such frame. `frame` and `reason` are short fixed strings; the text holds no byte of it."""

    def __init__(self, frame: str, reason: str) -> None:
        super().__init__(f"{frame}: {reason}")
        self.frame = frame
        self.reason = reason


class HeartRate(msgspec.Struct, frozen=True, kw_only=True):
    """Heart Rate Measurement, 0x2A37 (HRS 1.0, 3.1)."""

    bpm: int
    rr_1024: tuple[int, ...] = ()  # 1/1024 s, oldest first
    contact: bool | None = None  # None: the band does not say
    energy_kj: int | None = None


class BeatTiming(msgspec.Struct, frozen=True, kw_only=True):
    """When the beats of one second happened, by the band's clock."""

    time: int  # unix seconds
    offsets_1024: tuple[int, ...]  # 1/1024 s after `time`, rising


class Eda(msgspec.Struct, frozen=True, kw_only=True):
    """Electrodermal activity."""

    time: int  # unix seconds, of the first sample
    rate: int  # samples per second
    nano_siemens: tuple[int | None, ...]  # None: unknown, or above 65.534 µS


class Motion(msgspec.Struct, frozen=True, kw_only=True):
    """The acceleration's magnitude, its mean and standard deviation over each sample's time."""

    time: int  # unix seconds, of the first sample
    rate: int  # samples per second
    mean_mg: tuple[int, ...]
    sd_mg: tuple[int, ...]


class SelfReportFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One answered prompt."""

    time: int  # unix seconds
    safe: int  # 0-10
    happy: int  # 0-10
    reason: Reason | None


def heart_rate_measurement(data: Bytes) -> HeartRate:
    """Heart Rate Measurement. Flag bits 5 to 7 are reserved and ignored; no RR interval in spite of the flag is none.

    Contact is unknown (None) unless the band says that it supports it: real straps set bit 1 without bit 2.
    """
    body = Body("heart-rate", data)
    (flags,) = body.take("<B")
    (bpm,) = body.take("<H" if flags & 0x01 else "<B")
    energy = body.take("<H")[0] if flags & 0x08 else None
    rr: tuple[int, ...] = body.take(f"<{body.left // 2}H") if flags & 0x10 else ()
    if flags & 0x10 and body.left:
        raise MalformedFrame("heart-rate", "truncated")  # half an interval
    body.end()
    contact = bool(flags & 0x02) if flags & 0x04 else None
    return HeartRate(bpm=bpm, rr_1024=rr, contact=contact, energy_kj=energy)


def beat_timing(data: Bytes) -> BeatTiming:
    """Beat Timing, Wijkpols `0002`."""
    body = Body("beat-timing", data)
    time, count = body.take("<IB")
    body.within(count, 0, 9)
    offsets: tuple[int, ...] = body.take(f"<{count}H")
    body.end()
    for offset in offsets:
        body.within(offset, 0, TICKS_PER_S - 1)
    if any(after <= before for before, after in itertools.pairwise(offsets)):
        raise MalformedFrame("beat-timing", "order")
    return BeatTiming(time=time, offsets_1024=offsets)


def eda(data: Bytes) -> Eda:
    """EDA, Wijkpols `0003`."""
    body = Body("eda", data)
    time, rate, count = body.take("<IBB")
    body.within(rate, 1, 32)
    body.within(count, 1, 100)
    samples = body.take(f"<{count}H")
    body.end()
    return Eda(time=time, rate=rate, nano_siemens=tuple(None if s == 0xFFFF else s for s in samples))


def motion(data: Bytes) -> Motion:
    """Motion, Wijkpols `0004`."""
    body = Body("motion", data)
    time, rate, count = body.take("<IBB")
    body.within(rate, 1, 32)
    body.within(count, 1, 50)
    samples = body.take(f"<{2 * count}H")
    body.end()
    return Motion(time=time, rate=rate, mean_mg=samples[::2], sd_mg=samples[1::2])


def self_report(data: Bytes) -> SelfReportFrame:
    """Self-report, Wijkpols `0005`."""
    body = Body("self-report", data)
    (time,) = body.take("<I")
    return answer_at(time, body)


def answer_at(time: int, body: Body) -> SelfReportFrame:
    """The marks and the reason, which end a Self-report and a self-report record."""
    safe, happy, place = body.take("<BBB")
    body.end()
    body.within(safe, 0, 10)
    body.within(happy, 0, 10)
    body.within(place, 0, len(_SELF_REPORT_REASONS))
    return SelfReportFrame(time=time, safe=safe, happy=happy, reason=_SELF_REPORT_REASONS[place - 1] if place else None)


def temperature(data: Bytes) -> float | None:
    """Temperature, 0x2A6E, in °C; None when the band does not know it."""
    body = Body("temperature", data)
    (hundredths,) = body.take("<h")
    body.end()
    if hundredths == -0x8000:
        return None
    body.within(hundredths, -27315, 0x7FFF)  # absolute zero
    return float(hundredths) / 100.0


def current_time(data: Bytes) -> float:
    """Current Time, 0x2A2B (CTS 1.1, 3.1), in unix seconds; the band keeps UTC. An unknown date is out of range."""
    body = Body("current-time", data)
    year, month, day, hour, minute, second, weekday, fraction, _adjust_reason = body.take("<HBBBBBBBB")
    body.end()
    body.within(weekday, 0, 7)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise MalformedFrame("current-time", "range") from None
    if weekday not in (0, moment.isoweekday()):  # 0 is unknown, 1 is Monday
        raise MalformedFrame("current-time", "range")
    return moment.timestamp() + fraction / 256.0


def current_time_at(at: float) -> bytes:
    """Current Time as it is written to a band: `at` (unix seconds) in UTC, adjusted to an external reference."""
    t = datetime.fromtimestamp(at, UTC)
    fraction = min(round(t.microsecond * 256 / 1_000_000), 255)
    fields = (t.year, t.month, t.day, t.hour, t.minute, t.second, t.isoweekday(), fraction)
    return struct.pack("<H8B", *fields, _EXTERNAL_REFERENCE)


def battery_level(data: Bytes) -> int:
    """Battery Level, 0x2A19, in percent."""
    body = Body("battery", data)
    (percent,) = body.take("<B")
    body.end()
    body.within(percent, 0, 100)
    return int(percent)


class Press(NamedTuple):
    """The button was held to stop: for how many seconds at least that is so, and its number (0: it has none)."""

    age_s: int
    number: int


def stop(data: Bytes) -> Press | None:
    """Stop, Wijkpols `0009`; None: the wearer did not say so."""
    body = Body("stop", data)
    stopped, age, number = body.take("<BII")
    body.end()
    body.within(stopped, 0, 1)
    return Press(age, number) if stopped else None


def serial_number(data: Bytes) -> str:
    """Serial Number String, 0x2A25: 1 to 64 printable ASCII characters. NULs at its end (real straps) are dropped."""
    body = Body("serial", data)
    text = bytes(body.data).rstrip(b"\0").decode("ascii", errors="replace")
    if _SERIAL.fullmatch(text) is None:
        raise MalformedFrame("serial", "text")
    return text


class Body:
    """Takes fields off the front of a frame; knows what is left. Its methods raise MalformedFrame."""

    def __init__(self, frame: str, data: Bytes) -> None:
        self.frame = frame
        self.data = memoryview(data).cast("B")
        self._at = 0
        if len(self.data) > ATTRIBUTE_BYTES_MAX:
            raise MalformedFrame(frame, "too-long")

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return len(self.data) - self._at

    def take(self, layout: str) -> tuple[int, ...]:
        """The next fields."""
        size = struct.calcsize(layout)
        if size > self.left:
            raise MalformedFrame(self.frame, "truncated")
        values = struct.unpack_from(layout, self.data, self._at)
        self._at += size
        return values

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise MalformedFrame(self.frame, "trailing-bytes")

    def within(self, value: int, low: int, high: int) -> None:
        """A field's bounds."""
        if not low <= value <= high:
            raise MalformedFrame(self.frame, "range")
