"""One minute of one wearer, and one self-report: the only forms in which a person's data travels.

A reading is made at the gateway; the beats and samples behind it are forgotten there (data minimisation by
construction). Units and rules are those of `docs/explanation/method.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

MINUTE_S: Final = 60
#: How long a reading may be kept, in days. Set in the database itself by the stores.
RETENTION_DAYS: Final = 35

_PSEUDONYM = re.compile(r"[a-z2-7]{26}")


class Category(StrEnum):
    """What a volunteer says yes or no to, one by one."""

    HEART = "heart"
    SKIN = "skin"
    MOTION = "motion"
    SELF_REPORT = "self-report"


class Field(NamedTuple):
    """One measured field of a reading: its unit, its consent category and the range that a body allows."""

    unit: str
    category: Category
    low: float
    high: float


#: Every measured field, in the order in which stores keep them.
FIELDS: Final[dict[str, Field]] = {
    "hr": Field("beats/min", Category.HEART, 25.0, 240.0),
    "rmssd": Field("ms", Category.HEART, 0.0, 1000.0),
    "sdnn": Field("ms", Category.HEART, 0.0, 1000.0),
    "rr_coverage": Field("1", Category.HEART, 0.0, 1.0),
    "worn": Field("1", Category.HEART, 0.0, 1.0),
    "eda": Field("µS", Category.SKIN, 0.0, 100.0),
    "scr": Field("1/min", Category.SKIN, 0.0, 60.0),
    "skin_temp": Field("°C", Category.SKIN, 5.0, 45.0),
    "motion": Field("g", Category.MOTION, 0.0, 8.0),
}


class Reason(StrEnum):
    """Why somebody feels safe or happy, or not: the public list of at most twelve (never stop at the mark)."""

    LIGHT = "light"
    TRAFFIC = "traffic"
    NOISE = "noise"
    PEOPLE = "people"
    DIRT = "dirt"
    GREEN = "green"
    WEATHER = "weather"
    NEIGHBOURS = "neighbours"
    EVENTS = "events"
    BUILDING_WORKS = "building-works"
    HOME = "home"
    OTHER = "other"


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One UTC minute of one pseudonym. A field that could not be measured, or is not consented to, is absent."""

    pseudonym: str
    minute: int  # unix seconds, a multiple of 60
    hr: float | None = None
    rmssd: float | None = None
    sdnn: float | None = None
    rr_coverage: float | None = None
    worn: float | None = None
    eda: float | None = None
    scr: float | None = None
    skin_temp: float | None = None
    motion: float | None = None

    def values(self) -> Iterator[tuple[str, float]]:
        """The measured fields that are there, as (name, value)."""
        for name in FIELDS:
            value = getattr(self, name)
            if value is not None:
                yield name, value


class SelfReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One answered prompt: two marks of 0 to 10, asked together, and at most one reason. Never inferred."""

    pseudonym: str
    at: int  # unix seconds
    safe: int
    happy: int
    reason: Reason | None = None


def valid_pseudonym(text: str) -> bool:
    """Whether the text has the form of a pseudonym: 26 characters of lower-case base32 (128 random bits)."""
    return _PSEUDONYM.fullmatch(text) is not None


def reading_fault(reading: Reading) -> str | None:
    """Why this reading cannot be a person's minute, as a short fixed reason, or None when it can."""
    if not valid_pseudonym(reading.pseudonym):
        return "pseudonym"
    if reading.minute % MINUTE_S or reading.minute <= 0:
        return "minute"
    empty = True
    for name, value in reading.values():
        empty = False
        field = FIELDS[name]
        if not field.low <= value <= field.high:  # also refuses NaN
            return f"range:{name}"
    return "empty" if empty else None


def report_fault(report: SelfReport) -> str | None:
    """Why this self-report cannot be an answer, as a short fixed reason, or None when it can."""
    if not valid_pseudonym(report.pseudonym):
        return "pseudonym"
    if report.at <= 0:
        return "time"
    for name, mark in (("safe", report.safe), ("happy", report.happy)):
        if not 0 <= mark <= 10:
            return f"range:{name}"
    return None
