"""Whose turn it is: fair, bounded, and never the same band in vain again and again."""

from __future__ import annotations

from gateway.rotation import BANDS_MAX, Rotation
from gateway.session import Ended


def test_no_more_bands_than_slots_are_read_at_once():
    rotation = Rotation(slots=2)
    for address in "ABC":
        rotation.heard(address, 0)
    assert [rotation.next(0), rotation.next(0), rotation.next(0)] == ["A", "B", None]
    rotation.ended("A", Ended.LOST, 1)
    assert rotation.next(1) == "C"


def test_the_longest_unread_goes_first():
    rotation = Rotation(slots=1)
    for address in "AB":
        rotation.heard(address, 0)
    assert rotation.next(0) == "A"
    rotation.ended("A", Ended.LOST, 1)
    assert rotation.next(10) == "B"
    rotation.ended("B", Ended.LOST, 20)
    assert rotation.next(25) == "A"


def test_a_band_that_is_not_heard_any_more_is_not_tried():
    rotation = Rotation(slots=1)
    rotation.heard("A", 0)
    assert rotation.next(31) is None


def test_without_consent_a_band_waits_until_one_comes():
    rotation = Rotation(slots=1)
    rotation.heard("A", 0)
    rotation.next(0)
    rotation.ended("A", Ended.NO_CONSENT, 0)
    rotation.heard("A", 20)
    assert rotation.next(20) is None
    assert rotation.counts(20) == (1, 0, 1)
    rotation.may_try_again()
    assert rotation.next(20) == "A"
    assert rotation.counts(20) == (1, 1, 0)


def test_without_consent_a_band_is_asked_again_after_a_minute():
    rotation = Rotation(slots=1)
    rotation.heard("A", 0)
    rotation.next(0)
    rotation.ended("A", Ended.NO_CONSENT, 0)
    rotation.heard("A", 60)
    assert rotation.next(60) == "A"


def test_a_band_that_cannot_be_connected_waits_twice_as_long_each_time():
    rotation, now, waits = Rotation(slots=1), 0.0, []
    for _ in range(10):
        rotation.heard("A", now)
        assert rotation.next(now) == "A"
        rotation.ended("A", None, now)
        asked = now
        while rotation.next(now) is None:
            now += 1
            rotation.heard("A", now)
        rotation.ended("A", Ended.LOST, now) if len(waits) == 8 else rotation.ended("A", None, now)
        waits.append(now - asked)
        now += 301
    assert waits[0] == 2
    assert max(waits[:9]) <= 300
    assert waits[9] == 2  # it was read in between


def test_the_addresses_that_it_knows_are_bounded():
    rotation = Rotation(slots=1)
    rotation.heard("kept", 0)
    assert rotation.next(0) == "kept"
    for number in range(BANDS_MAX + 10):
        rotation.heard(str(number), number)
    assert len(rotation._bands) == BANDS_MAX
    rotation.ended("kept", Ended.LOST, 0)
