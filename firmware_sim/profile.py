"""The frames of the band's profile, byte by byte (`docs/reference/band-profile.md`). Pure; no I/O.

Every encoder checks what it is given: a value that the layout cannot hold raises ValueError, so that a wrong frame
never leaves the band. The bytes are held against the page's own vectors by `tests/unit/test_firmware_profile.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Final


def wijkpols_uuid(short: int) -> str:
    """A UUID of Wijkpols out of its 16 bits, as the profile's table gives them."""
    return f"b7a1{short:04x}-6d5c-4f2e-9a3b-57696a6b706f"


#: Services, by the Bluetooth SIG's 16-bit numbers or our own UUID.
HEART_RATE_SERVICE: Final = "180D"
BATTERY_SERVICE: Final = "180F"
DEVICE_INFORMATION_SERVICE: Final = "180A"
CURRENT_TIME_SERVICE: Final = "1805"
ENVIRONMENTAL_SENSING_SERVICE: Final = "181A"
WIJKPOLS_SERVICE: Final = wijkpols_uuid(0x0001)

#: Characteristics that are only read.
MANUFACTURER_NAME: Final = "2A29"
MODEL_NUMBER: Final = "2A24"
SERIAL_NUMBER: Final = "2A25"
FIRMWARE_REVISION: Final = "2A26"
LOG: Final = wijkpols_uuid(0x0007)
#: Also written.
RECORD_CONTENTS: Final = wijkpols_uuid(0x0008)


class Kind(Enum):
    """What the band can send unasked; the value is the characteristic's UUID."""

    HEART_RATE = "2A37"
    BEAT_TIMING = wijkpols_uuid(0x0002)
    EDA = wijkpols_uuid(0x0003)
    MOTION = wijkpols_uuid(0x0004)
    SELF_REPORT = wijkpols_uuid(0x0005)
    TEMPERATURE = "2A6E"
    CURRENT_TIME = "2A2B"
    BATTERY = "2A19"
    STOP = wijkpols_uuid(0x0009)
    RECORD = wijkpols_uuid(0x0006)
    RACP = "2A52"


#: Of a band with a memory alone.
STORED: Final = frozenset({Kind.RECORD, Kind.RACP})
#: What needs the wearer's consent; the clock, the battery and a control point say nothing of a person, and a stop is
#: told whatever the consent.
PERSONAL: Final = frozenset(Kind) - {Kind.CURRENT_TIME, Kind.BATTERY, Kind.RACP, Kind.STOP}
#: What needs an encrypted link: all but the battery, since a clock that is off can be followed through the town.
GUARDED: Final = frozenset(Kind) - {Kind.BATTERY}

#: Why somebody feels as they say; a self-report carries the place in this list, from 1, or 0 for none.
REASONS: Final = (
    "light",
    "traffic",
    "noise",
    "people",
    "dirt",
    "green",
    "weather",
    "neighbours",
    "events",
    "building-works",
    "home",
    "other",
)

BEATS_MAX: Final = 9  # in one second: as many RR intervals as a Heart Rate Measurement holds at the smallest MTU
EDA_SAMPLES_MAX: Final = 100
EDA_UNKNOWN: Final = 0xFFFF
MOTION_SAMPLES_MAX: Final = 50
SAMPLE_RATE_MAX: Final = 32  # samples per second
TEMPERATURE_UNKNOWN: Final = -0x8000
#: What ATT leaves for a value at the smallest MTU of 23 (Core 5.4, vol. 3 part F, 3.2.8).
PAYLOAD_BYTES_MIN: Final = 20
HEADER_BYTES: Final = 6  # of EDA and Motion, before the samples

_FLAG_RATE_16_BIT: Final = 0x01
_FLAG_CONTACT_KNOWN: Final = 0x04
_FLAG_CONTACT: Final = 0x02
_FLAG_RR: Final = 0x10


@cache
def _layout(text: str) -> struct.Struct:
    return struct.Struct(text)


def _pack(what: str, layout: str, *values: int) -> bytes:
    try:
        return _layout(layout).pack(*values)
    except struct.error as fault:
        raise ValueError(f"{what}: {fault}") from None


def _count(what: str, n: int, low: int, high: int) -> int:
    if not low <= n <= high:
        raise ValueError(f"{what}: {n} is not in {low} to {high}")
    return n


def heart_rate_measurement(bpm: int, *, rr: Sequence[int] = (), contact: bool = True) -> bytes:
    """Heart Rate Measurement, HRS 1.0 section 3.1: `bpm` in beats/min, `rr` in 1/1024 s, oldest first."""
    _count("RR intervals", len(rr), 0, BEATS_MAX)
    flags = _FLAG_CONTACT_KNOWN | (_FLAG_CONTACT if contact else 0) | (_FLAG_RR if rr else 0)
    if bpm > 0xFF:
        return _pack("heart rate", f"<BH{len(rr)}H", flags | _FLAG_RATE_16_BIT, bpm, *rr)
    return _pack("heart rate", f"<BB{len(rr)}H", flags, bpm, *rr)


def beat_timing(time: int, offsets: Sequence[int]) -> bytes:
    """Beat Timing: the second `time` (unix s) and its beats' offsets in 1/1024 s, each 0 to 1023."""
    n = _count("beats", len(offsets), 0, BEATS_MAX)
    if n and not 0 <= min(offsets) <= max(offsets) <= 1023:
        raise ValueError("beats: an offset is not in 0 to 1023")
    return _pack("beats", f"<IB{n}H", time, n, *offsets)


def eda(time: int, rate: int, nanosiemens: Sequence[int]) -> bytes:
    """EDA: samples in nS from `time` (unix s) on, `rate` per second; EDA_UNKNOWN where nothing is known."""
    n = _count("EDA samples", len(nanosiemens), 1, EDA_SAMPLES_MAX)
    _count("EDA rate", rate, 1, SAMPLE_RATE_MAX)
    return _pack("EDA", f"<IBB{n}H", time, rate, n, *nanosiemens)


def motion(time: int, rate: int, milli_g: Sequence[int]) -> bytes:
    """Motion: mean and SD (both in mg) of each sample, one after the other, from `time` (unix s) on."""
    if len(milli_g) % 2:
        raise ValueError("motion: a mean without its SD")
    n = _count("motion samples", len(milli_g) // 2, 1, MOTION_SAMPLES_MAX)
    _count("motion rate", rate, 1, SAMPLE_RATE_MAX)
    return _pack("motion", f"<IBB{2 * n}H", time, rate, n, *milli_g)


def self_report(time: int, *, safe: int, happy: int, reason: int = 0) -> bytes:
    """Self-report: one answered prompt at `time` (unix s); marks 0 to 10, reason 0 (none) to 12."""
    _count("safe", safe, 0, 10)
    _count("happy", happy, 0, 10)
    _count("reason", reason, 0, len(REASONS))
    return _pack("self-report", "<IBBB", time, safe, happy, reason)


def temperature(centidegrees: int) -> bytes:
    """Temperature, ESS 1.0: in 0.01 °C, or TEMPERATURE_UNKNOWN."""
    return _pack("temperature", "<h", centidegrees)


def current_time(time: int) -> bytes:
    """Current Time, CTS 1.1: `time` (unix s) as date, time of day and day of the week (1 is Monday), in UTC."""
    t = datetime.fromtimestamp(time, UTC)
    return _pack("current time", "<H8B", t.year, t.month, t.day, t.hour, t.minute, t.second, t.isoweekday(), 0, 0)


def battery_level(percent: int) -> bytes:
    """Battery Level, BAS 1.0: 0 to 100."""
    return bytes((_count("battery", percent, 0, 100),))


def stop(age: int | None, press: int = 0) -> bytes:
    """Stop: whether the wearer said stop, for how long that is so at least, in s (None: not said), which press."""
    return _pack("stop", "<BII", age is not None, min(age or 0, 0xFFFFFFFF), press)


def advertising_data() -> bytes:
    """What the band says to everybody: Flags, Heart Rate and our service. No name and no serial."""
    return b"".join(
        bytes((1 + len(value), kind)) + value
        for kind, value in (
            (0x01, b"\x06"),  # LE General Discoverable, BR/EDR not supported
            (0x03, bytes.fromhex(HEART_RATE_SERVICE)[::-1]),  # complete list of 16-bit services
            (0x07, bytes.fromhex(WIJKPOLS_SERVICE.replace("-", ""))[::-1]),  # complete list of 128-bit services
        )
    )


def serial_number(number: int) -> str:
    """A band's serial: `WP-` and six digits."""
    return f"WP-{_count('serial', number, 0, 999_999):06d}"
