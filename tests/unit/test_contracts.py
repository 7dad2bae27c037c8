"""The wire formats and consent: invalid values are refused, and what is unknown covers nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import wire
from contracts.consent import (
    ConsentMessage,
    ConsentMirror,
    ConsentState,
    Purpose,
    band_token,
    new_pseudonym,
)
from contracts.district import UTRECHT, DistrictFault, districts_from_geojson
from contracts.reading import Category, Reading, SelfReport, reading_fault, report_fault

PSEUDONYM = new_pseudonym(bytes(range(16)))
TOKEN = band_token(b"k" * 16, "WP-000001")
NOW = 1_800_000_000


def given_consent(**changes: object) -> ConsentMessage:
    fields: dict[str, object] = {
        "revision": 1,
        "state": ConsentState.GIVEN,
        "pseudonym": PSEUDONYM,
        "district": "WK034403",
        "purposes": {Purpose.DISTRICT_INDEX: (Category.HEART,)},
        "valid_until": NOW + 100,
        "issued_at": NOW,
    }
    return ConsentMessage(**{**fields, **changes})


def test_messages_survive_the_wire():
    message = wire.ReadingsMessage(
        seq=7,
        readings=(Reading(pseudonym=PSEUDONYM, minute=NOW - NOW % 60, hr=61.5),),
        reports=(SelfReport(pseudonym=PSEUDONYM, at=NOW, safe=8, happy=7),),
    )
    assert wire.decode_readings(wire.encode(message)) == message
    assert wire.decode_consent(wire.encode(given_consent())) == given_consent()


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_malformed(payload: bytes):
    for decode in (wire.decode_readings, wire.decode_consent, wire.decode_status, wire.decode_erasure):
        with contextlib.suppress(wire.Malformed):
            decode(payload)


def test_a_malformed_text_holds_no_value():
    with pytest.raises(wire.Malformed) as caught:
        wire.decode_readings(b'{"v":1,"seq":1,"readings":[{"pseudonym":"secret","minute":"x","hr":61}]}')
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "topic",
    ["wijkpols/v1/readings/WK034403", "wijkpols/v1/readings/WK03440/gw", "wijkpols/v1/readings/WK034403/GW", "x/#"],
)
def test_a_foreign_topic_is_malformed(topic: str):
    with pytest.raises(wire.Malformed):
        wire.parse_readings_topic(topic)


def test_topics_come_back_as_they_went():
    assert wire.parse_readings_topic(wire.readings_topic("WK034403", "gw-1")) == ("WK034403", "gw-1")
    assert wire.last_part(wire.consent_topic(TOKEN)) == TOKEN


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"hr": 300.0}, "range:hr"),
        ({"hr": float("nan")}, "range:hr"),
        ({"minute": NOW - NOW % 60 + 1}, "minute"),
        ({"pseudonym": "somebody"}, "pseudonym"),
        ({"hr": None}, "empty"),
    ],
)
def test_an_impossible_minute_is_named(changes: dict[str, object], fault: str | None):
    fields = {"pseudonym": PSEUDONYM, "minute": NOW - NOW % 60, "hr": 60.0, **changes}
    assert reading_fault(Reading(**fields)) == fault


def test_a_mark_outside_the_scale_is_named():
    assert report_fault(SelfReport(pseudonym=PSEUDONYM, at=NOW, safe=11, happy=5)) == "range:safe"
    assert report_fault(SelfReport(pseudonym=PSEUDONYM, at=NOW, safe=10, happy=0)) is None


def test_unknown_expired_withdrawn_and_stale_cover_nothing():
    mirror = ConsentMirror()
    assert mirror.by_token(TOKEN, NOW) is None
    mirror.apply(TOKEN, given_consent(revision=2))
    assert mirror.by_token(TOKEN, NOW) is not None
    assert mirror.by_token(TOKEN, NOW + 100) is None
    mirror.apply(TOKEN, given_consent(revision=3, state=ConsentState.WITHDRAWN))
    assert mirror.by_pseudonym(PSEUDONYM, NOW) is None
    assert not mirror.apply(TOKEN, given_consent(revision=2))
    assert mirror.by_token(TOKEN, NOW) is None


def test_a_cleared_message_covers_nothing():
    mirror = ConsentMirror()
    mirror.apply(TOKEN, given_consent())
    mirror.apply(TOKEN, None)
    assert mirror.by_token(TOKEN, NOW) is None
    assert mirror.by_pseudonym(PSEUDONYM, NOW) is None


def test_a_band_that_went_to_somebody_else_no_longer_covers_the_one_before():
    mirror = ConsentMirror()
    mirror.apply(TOKEN, given_consent())
    other = new_pseudonym(bytes(16))
    mirror.apply(TOKEN, given_consent(revision=2, pseudonym=other))
    assert mirror.by_pseudonym(PSEUDONYM, NOW) is None
    assert mirror.by_pseudonym(other, NOW) is not None


def test_a_mirror_is_bounded():
    mirror = ConsentMirror(bands_max=1)
    mirror.apply(TOKEN, given_consent())
    with pytest.raises(OverflowError):
        mirror.apply("a" * 26, given_consent())


def test_a_cover_keeps_only_its_categories():
    mirror = ConsentMirror()
    mirror.apply(TOKEN, given_consent())
    cover = mirror.by_token(TOKEN, NOW)
    assert cover is not None
    both = Reading(pseudonym=PSEUDONYM, minute=60, hr=60.0, eda=1.0)
    assert cover.keep(both) == Reading(pseudonym=PSEUDONYM, minute=60, hr=60.0)
    assert cover.keep(Reading(pseudonym=PSEUDONYM, minute=60, eda=1.0)) is None


def test_nothing_from_before_the_choice_is_covered():
    mirror = ConsentMirror()
    mirror.apply(TOKEN, given_consent(valid_from=600, purposes={Purpose.DISTRICT_INDEX: tuple(Category)}))
    cover = mirror.by_token(TOKEN, NOW)
    assert cover is not None
    assert cover.keep(Reading(pseudonym=PSEUDONYM, minute=540, hr=60.0)) is None
    assert cover.keep(Reading(pseudonym=PSEUDONYM, minute=600, hr=60.0)) is not None
    assert not cover.keeps(SelfReport(pseudonym=PSEUDONYM, at=599, safe=8, happy=7))
    assert cover.keeps(SelfReport(pseudonym=PSEUDONYM, at=600, safe=8, happy=7))


def test_a_band_token_needs_a_key_worth_the_name():
    with pytest.raises(ValueError, match="16 bytes"):
        band_token(b"short", "WP-000001")


def test_utrecht_has_ten_districts_each_on_a_tile_of_its_own():
    assert len({d.code for d in UTRECHT}) == len({d.tile for d in UTRECHT}) == 10


SQUARE = [[[5.0, 52.0], [5.1, 52.0], [5.1, 52.1], [5.0, 52.0]]]


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"type": "FeatureCollection", "features": []},
        {"type": "FeatureCollection", "features": [{"properties": {"naam": "x"}}]},
        {"type": "FeatureCollection", "features": [{"properties": {"code": "WK1", "naam": "x"}, "geometry": None}]},
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "properties": {"code": "WK034401", "naam": "x"},
                    "geometry": {"type": "Polygon", "coordinates": [[[500, 1]] * 4]},
                }
            ],
        },
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "properties": {"code": "WK034401", "naam": "x"},
                    "geometry": {"type": "Polygon", "coordinates": SQUARE},
                }
            ]
            * 2,
        },
    ],
)
def test_a_geojson_that_cannot_be_drawn_says_why(document: object):
    with pytest.raises(DistrictFault):
        districts_from_geojson(document, boundary_year=2024)
