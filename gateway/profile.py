"""The UUIDs of `docs/reference/band-profile.md`."""

from __future__ import annotations

from typing import Final


def _sig(number: int) -> str:
    return f"0000{number:04x}-0000-1000-8000-00805f9b34fb"


def _wijkpols(number: int) -> str:
    return f"b7a1{number:04x}-6d5c-4f2e-9a3b-57696a6b706f"


HEART_RATE_SERVICE: Final = _sig(0x180D)
WIJKPOLS_SERVICE: Final = _wijkpols(0x0001)
#: What a band advertises.
ADVERTISED: Final = (HEART_RATE_SERVICE, WIJKPOLS_SERVICE)

SERIAL: Final = _sig(0x2A25)
BATTERY: Final = _sig(0x2A19)
HEART_RATE: Final = _sig(0x2A37)
CURRENT_TIME: Final = _sig(0x2A2B)
TEMPERATURE: Final = _sig(0x2A6E)
BEAT_TIMING: Final = _wijkpols(0x0002)
EDA: Final = _wijkpols(0x0003)
MOTION: Final = _wijkpols(0x0004)
SELF_REPORT: Final = _wijkpols(0x0005)
STOP: Final = _wijkpols(0x0009)
#: Of a band with a memory.
RECORD: Final = _wijkpols(0x0006)
LOG: Final = _wijkpols(0x0007)
RECORD_CONTENTS: Final = _wijkpols(0x0008)
RACP: Final = _sig(0x2A52)
MEMORY: Final = (RECORD, LOG, RECORD_CONTENTS, RACP, CURRENT_TIME)
#: What only a Wijkpols band has.
OWN: Final = (BEAT_TIMING, EDA, MOTION, SELF_REPORT, RECORD, LOG, RECORD_CONTENTS, STOP)
