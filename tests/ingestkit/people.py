"""Volunteers, readings and consents for the tests of ingest."""

from __future__ import annotations

import hashlib
import time

from contracts.consent import ConsentMessage, ConsentState, Purpose, band_token, new_pseudonym
from contracts.ports import StoredReading, StoredReport
from contracts.reading import Category, Reading, SelfReport

WEST, OVERVECHT = "WK034401", "WK034403"
ALL_CATEGORIES = tuple(Category)
#: Ten hours ago: InfluxDB takes the machine's time for its retention, so tests of both stores live near it.
BASE = int(time.time()) // 60 * 60 - 36_000


def pseudonym(number: int) -> str:
    return new_pseudonym(hashlib.sha256(b"person %d" % number).digest()[:16])


def token(number: int) -> str:
    return band_token(b"a key of the tests", f"WP-{number:06}")


def reading(number: int, minute: int = 0, **fields: float) -> Reading:
    return Reading(pseudonym=pseudonym(number), minute=BASE + 60 * minute, **(fields or {"hr": 61.25, "eda": 2.5}))


def stored(number: int, minute: int = 0, district: str = WEST, **fields: float) -> StoredReading:
    return StoredReading(district, reading(number, minute, **fields))


def stored_report(number: int, second: int = 0, district: str = WEST, **changes: object) -> StoredReport:
    values = {"safe": 8, "happy": 7, **changes}
    return StoredReport(district, SelfReport(pseudonym=pseudonym(number), at=BASE + second, **values))


def consent(number: int, **changes: object) -> ConsentMessage:
    values: dict[str, object] = {
        "revision": 1,
        "state": ConsentState.GIVEN,
        "pseudonym": pseudonym(number),
        "district": WEST,
        "purposes": {Purpose.DISTRICT_INDEX: ALL_CATEGORIES},
        "valid_from": BASE - 86_400,
        "valid_until": BASE + 180 * 86_400,
        "issued_at": BASE - 86_400,
    }
    return ConsentMessage(**{**values, **changes})
