"""Admission against the contracts' own, slower words: reading_fault, report_fault, Cover.keep and Cover.keeps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.consent import Cover
from contracts.ports import StoredReading, StoredReport
from contracts.reading import (
    FIELDS,
    RETENTION_DAYS,
    Category,
    Reading,
    Reason,
    SelfReport,
    reading_fault,
    report_fault,
)
from contracts.wire import ReadingsMessage
from ingest.admission import Heard, admit, pseudonyms
from tests.ingestkit.people import OVERVECHT, WEST, pseudonym

NOW = 1_800_000_000
MINUTE = NOW // 60 * 60


def cover(number: int = 1, categories: frozenset[Category] = frozenset(Category), valid_from: int = 0) -> Cover:
    return Cover(pseudonym=pseudonym(number), district=WEST, categories=categories, purposes={}, valid_from=valid_from)


def covers(*given_covers: Cover) -> dict[str, Cover]:
    return {each.pseudonym: each for each in given_covers}


def a_reading(number: int = 1, minute: int = MINUTE - 600, **fields: float) -> Reading:
    return Reading(pseudonym=pseudonym(number), minute=minute, **(fields or {"hr": 60.0}))


def a_report(number: int = 1, at: int = NOW - 5, safe: int = 8, happy: int = 7) -> SelfReport:
    return SelfReport(pseudonym=pseudonym(number), at=at, safe=safe, happy=happy)


def judge(*items: Reading | SelfReport, by: dict[str, Cover], district: str = WEST, now: float = NOW):
    message = ReadingsMessage(
        seq=1,
        readings=tuple(item for item in items if isinstance(item, Reading)),
        reports=tuple(item for item in items if isinstance(item, SelfReport)),
    )
    return admit([Heard(district, message)], by, now)


values = st.one_of(
    st.none(), st.floats(-10, 1100), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0, 25.0, 240.0])
)
readings = st.builds(
    Reading,
    pseudonym=st.sampled_from([pseudonym(1), pseudonym(2), "x", "A" * 26, ""]),
    minute=st.one_of(
        st.integers(-(2**40), 2**40),
        st.integers(-40 * 1440, 30).map(lambda minutes: MINUTE + 60 * minutes),
        st.sampled_from([0, MINUTE + 600, MINUTE + 660, NOW]),
    ),
    **dict.fromkeys(FIELDS, values),
)
reports = st.builds(
    SelfReport,
    pseudonym=st.sampled_from([pseudonym(1), pseudonym(2), "x"]),
    at=st.one_of(st.integers(-10, 2**40), st.integers(NOW - 40 * 86_400, NOW + 1000)),
    safe=st.integers(-2, 12),
    happy=st.integers(-2, 12),
    reason=st.one_of(st.none(), st.sampled_from(list(Reason))),
)
some_covers = st.builds(
    cover,
    st.just(1),
    st.frozensets(st.sampled_from(list(Category)), min_size=1),
    st.sampled_from([0, MINUTE - 6000, MINUTE - 600, MINUTE + 60]),
)


def in_time(seconds: int) -> bool:
    return NOW - RETENTION_DAYS * 86_400 <= seconds <= NOW + 600


@given(readings, some_covers)
def test_a_reading_is_kept_just_when_the_contracts_say_so(reading: Reading, one: Cover):
    found = judge(reading, by=covers(one))
    fine = reading.pseudonym == one.pseudonym and reading_fault(reading) is None and in_time(reading.minute)
    expected = one.keep(reading) if fine else None
    assert found.readings == ([] if expected is None else [StoredReading(WEST, expected)])
    assert found.readings_rejected.total() + len(found.readings) == 1


@given(reports, some_covers)
def test_a_report_is_kept_just_when_the_contracts_say_so(report: SelfReport, one: Cover):
    found = judge(report, by=covers(one))
    fine = report.pseudonym == one.pseudonym and report_fault(report) is None and in_time(report.at)
    assert found.reports == ([StoredReport(WEST, report)] if fine and one.keeps(report) else [])
    assert found.reports_rejected.total() + len(found.reports) == 1


@given(st.lists(readings, max_size=20), st.lists(reports, max_size=5), some_covers)
def test_every_item_is_kept_or_counted(items: list[Reading], answers: list[SelfReport], one: Cover):
    found = judge(*items, *answers, by=covers(one))
    assert len(found.readings) + found.readings_rejected.total() == len(items)
    assert len(found.reports) + found.reports_rejected.total() == len(answers)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (a_reading(2), "no-consent"),
        (Reading(pseudonym="nobody", minute=MINUTE, hr=60.0), "pseudonym"),
        (a_reading(minute=MINUTE - 1), "minute"),
        (a_reading(minute=0), "minute"),
        (a_reading(minute=MINUTE + 660), "clock-ahead"),
        (a_reading(minute=MINUTE - 36 * 86_400), "too-old"),
        (a_reading(minute=MINUTE - 7200), "before-consent"),
        (a_reading(hr=241.0), "range:hr"),
        (a_reading(hr=math.nan), "range:hr"),
        (Reading(pseudonym=pseudonym(1), minute=MINUTE), "empty"),
        (a_reading(eda=1.0), "consent-category"),
    ],
)
def test_a_refused_reading_has_its_reason(item: Reading, reason: str):
    by = covers(cover(categories=frozenset({Category.HEART}), valid_from=MINUTE - 3600))
    assert judge(item, by=by).readings_rejected == {reason: 1}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (a_report(2), "no-consent"),
        (a_report(at=NOW + 601), "clock-ahead"),
        (a_report(at=NOW - 36 * 86_400), "too-old"),
        (a_report(at=NOW - 7200), "before-consent"),
        (a_report(at=0), "time"),
        (a_report(safe=11), "range:safe"),
        (a_report(happy=-1), "range:happy"),
    ],
)
def test_a_refused_report_has_its_reason(item: SelfReport, reason: str):
    assert judge(item, by=covers(cover(valid_from=NOW - 3600))).reports_rejected == {reason: 1}


def test_a_report_without_its_category_is_refused():
    found = judge(a_report(), by=covers(cover(categories=frozenset({Category.HEART}))))
    assert found.reports_rejected == {"consent-category": 1}


def test_fields_without_consent_are_stripped_and_counted():
    by = covers(cover(categories=frozenset({Category.SKIN})))
    found = judge(a_reading(hr=60.0, worn=1.0, eda=2.0), by=by)
    assert found.readings == [StoredReading(WEST, a_reading(eda=2.0))]
    assert (found.fields_stripped, found.readings_rejected) == (2, {})


def test_nobody_is_covered_by_another_ones_consent():
    found = judge(a_reading(1), a_reading(2), a_report(2), by=covers(cover(1)))
    assert [stored.reading.pseudonym for stored in found.readings] == [pseudonym(1)]
    assert (found.readings_rejected, found.reports_rejected) == ({"no-consent": 1}, {"no-consent": 1})


def test_the_district_is_that_of_the_topic():
    assert judge(a_reading(), by=covers(cover()), district=OVERVECHT).readings[0].district == OVERVECHT


def test_everybody_in_a_message_is_asked_for():
    heard = [Heard(WEST, ReadingsMessage(seq=1, readings=(a_reading(1), a_reading(2)), reports=(a_report(3),)))]
    assert pseudonyms(heard) == {pseudonym(1), pseudonym(2), pseudonym(3)}
