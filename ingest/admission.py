"""Which readings may be kept: pure, and fast enough not to be the narrow place (bench/ingest.py).

A refusal has a short fixed reason, never a value. Consent is asked first: about whom nothing is known, or about whom
a withdrawal is known, nothing else is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from contracts.consent import Cover
from contracts.ports import StoredReading, StoredReport
from contracts.reading import (
    FIELDS,
    MINUTE_S,
    RETENTION_DAYS,
    Category,
    Reading,
    SelfReport,
    reading_fault,
    report_fault,
    valid_pseudonym,
)
from contracts.wire import ReadingsMessage

#: A clock may be this far ahead of ours, in seconds.
SKEW_S_MAX: Final = 600
RETENTION_S: Final = RETENTION_DAYS * 86_400

NO_CONSENT: Final = "no-consent"
CONSENT_CATEGORY: Final = "consent-category"
BEFORE_CONSENT: Final = "before-consent"
CLOCK_AHEAD: Final = "clock-ahead"
TOO_OLD: Final = "too-old"
PSEUDONYM: Final = "pseudonym"

_BOUNDS: Final = tuple((field.low, field.high) for field in FIELDS.values())
_VALUES: Final = attrgetter(*FIELDS)


class Heard(NamedTuple):
    """A message and the district in which it was heard, as its topic says."""

    district: str
    message: ReadingsMessage


class Admitted(NamedTuple):
    """What may be stored, and what may not, counted by reason."""

    readings: list[StoredReading]
    reports: list[StoredReport]
    readings_rejected: Counter[str]  # reason -> readings
    reports_rejected: Counter[str]  # reason -> reports
    fields_stripped: int  # left out of readings that were kept, for want of consent to their category


class _Rule(NamedTuple):
    """A cover, worked out for many readings of one person."""

    valid_from: int
    strip: dict[str, None]  # the fields that are not covered, as a change to a reading
    report: bool


def pseudonyms(heard: Iterable[Heard]) -> set[str]:
    """Everybody whose consent these messages need."""
    return {item.pseudonym for _, message in heard for items in (message.readings, message.reports) for item in items}


def admit(heard: Iterable[Heard], covers: Mapping[str, Cover], now: float) -> Admitted:
    """Judge each reading and report by `covers` (pseudonym -> what is consented to now) at `now` (unix seconds)."""
    rules = {pseudonym: _rule(cover) for pseudonym, cover in covers.items()}
    readings: list[StoredReading] = []
    reports: list[StoredReport] = []
    readings_rejected: Counter[str] = Counter()
    reports_rejected: Counter[str] = Counter()
    stripped = 0
    for district, message in heard:
        for reading in message.readings:
            rule = rules.get(reading.pseudonym)
            reason = _reading_reason(reading, rule, now)
            kept: Reading | None = reading
            if reason is None and rule is not None and rule.strip:
                kept, without = _strip(reading, rule.strip)
                stripped += without
            if reason is not None:
                readings_rejected[reason] += 1
            elif kept is None:
                readings_rejected[CONSENT_CATEGORY] += 1
            else:
                readings.append(StoredReading(district, kept))
        for report in message.reports:
            reason = _report_reason(report, rules.get(report.pseudonym), now)
            if reason is None:
                reports.append(StoredReport(district, report))
            else:
                reports_rejected[reason] += 1
    return Admitted(readings, reports, readings_rejected, reports_rejected, stripped)


def _rule(cover: Cover) -> _Rule:
    return _Rule(
        valid_from=cover.valid_from,
        strip={name: None for name, field in FIELDS.items() if field.category not in cover.categories},
        report=Category.SELF_REPORT in cover.categories,
    )


def _reading_reason(reading: Reading, rule: _Rule | None, now: float) -> str | None:
    """None when it may be kept, but for its categories."""
    minute = reading.minute
    if rule is None:
        return _unknown(reading.pseudonym)
    if minute % MINUTE_S or minute <= 0:
        return reading_fault(reading)
    if minute > now + SKEW_S_MAX:
        return CLOCK_AHEAD
    if minute < now - RETENTION_S:
        return TOO_OLD
    if minute < rule.valid_from:
        return BEFORE_CONSENT
    empty = True
    for value, (low, high) in zip(_VALUES(reading), _BOUNDS, strict=True):
        if value is not None:
            empty = False
            if not low <= value <= high:  # also refuses NaN
                return reading_fault(reading)
    return reading_fault(reading) if empty else None


def _report_reason(report: SelfReport, rule: _Rule | None, now: float) -> str | None:
    if rule is None:
        return _unknown(report.pseudonym)
    fault = report_fault(report)
    if fault is not None:
        return fault
    if report.at > now + SKEW_S_MAX:
        return CLOCK_AHEAD
    if report.at < now - RETENTION_S:
        return TOO_OLD
    if report.at < rule.valid_from:
        return BEFORE_CONSENT
    return None if rule.report else CONSENT_CATEGORY


def _unknown(pseudonym: str) -> str:
    return NO_CONSENT if valid_pseudonym(pseudonym) else PSEUDONYM


def _strip(reading: Reading, strip: dict[str, None]) -> tuple[Reading | None, int]:
    """The reading without these fields, and how many of them it had; None when nothing is left."""
    present = [name for name, _ in reading.values()]
    without = sum(name in strip for name in present)
    if without == len(present):
        return None, 0
    return (msgspec.structs.replace(reading, **strip) if without else reading), without
