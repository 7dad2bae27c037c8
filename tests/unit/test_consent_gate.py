"""The gate: what is not covered goes no further, and each drop has its reason."""

from __future__ import annotations

from contracts.consent import Cover, Purpose
from contracts.reading import Category, Reading, SelfReport
from gateway.consent_gate import admit

ANNA = "a" * 26
MINUTE = 1_762_502_940


def cover(*categories: Category, valid_from: int = 0) -> Cover:
    return Cover(
        pseudonym=ANNA,
        district="WK034403",
        categories=frozenset(categories),
        purposes={Purpose.DISTRICT_INDEX: categories},
        valid_from=valid_from,
    )


BOTH = Reading(pseudonym=ANNA, minute=MINUTE, hr=60.0, eda=2.0)
SKIN = Reading(pseudonym=ANNA, minute=MINUTE, eda=2.0)
REPORT = SelfReport(pseudonym=ANNA, at=MINUTE, safe=8, happy=7)


def test_a_reading_loses_the_fields_that_are_not_covered():
    kept = admit(cover(Category.HEART), [BOTH], [])
    assert kept.readings == [Reading(pseudonym=ANNA, minute=MINUTE, hr=60.0)]
    assert not kept.readings_dropped


def test_each_drop_has_one_reason():
    none = admit(None, [BOTH], [REPORT])
    assert (none.readings_dropped, none.reports_dropped) == ({"consent-missing": 1}, {"consent-missing": 1})
    heart = admit(cover(Category.HEART), [SKIN], [REPORT])
    assert (heart.readings_dropped, heart.reports_dropped) == ({"consent-category": 1}, {"consent-category": 1})
    later = admit(cover(*Category, valid_from=MINUTE + 60), [BOTH], [REPORT])
    assert (later.readings_dropped, later.reports_dropped) == ({"before-consent": 1}, {"before-consent": 1})
    assert none.readings == none.reports == heart.readings == heart.reports == later.readings == later.reports == []


def test_a_reading_under_another_pseudonym_is_not_covered():
    foreign = Reading(pseudonym="b" * 26, minute=MINUTE, hr=60.0)
    assert admit(cover(*Category), [foreign], []).readings_dropped == {"consent-missing": 1}


def test_what_is_covered_passes():
    kept = admit(cover(*Category), [BOTH], [REPORT])
    assert (kept.readings, kept.reports) == ([BOTH], [REPORT])
