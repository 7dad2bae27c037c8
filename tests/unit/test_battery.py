"""The battery is drained by what the band does, as the profile's page says, and sensors stop in its order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firmware_sim import battery
from firmware_sim.battery import Battery
from firmware_sim.record import CONTENTS_ALL, HEART, MOTION, SKIN

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "band-profile.md").read_text()
ALL = HEART | SKIN | MOTION


def told(what: str) -> float:
    found = re.search(rf"^\| {re.escape(what)} \| ([\d.]+)", PAGE, re.MULTILINE)
    assert found is not None, what
    return float(found[1])


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("capacity", battery.CAPACITY),
        ("sleep, with clock and memory", battery.SLEEP),
        ("heart sensor", battery.SENSORS[HEART]),
        ("skin sensors", battery.SENSORS[SKIN]),
        ("motion sensor", battery.SENSORS[MOTION]),
        ("advertising", battery.ADVERTISING_EVENT),
        ("connection", battery.CONNECTED),
        ("packet of 251 bytes", battery.PACKET),
        ("stored record", battery.RECORD),
        ("charger", battery.CHARGER),
        ("heart stops at", battery.STOPS[HEART]),
        ("skin stops at", battery.STOPS[SKIN]),
        ("motion stops at", battery.STOPS[MOTION]),
    ],
)
def test_the_page_and_the_code_agree(what: str, value: float):
    assert told(what) == value


def hours(advertising_ms: float) -> int:
    """Until the band is empty, if its sensors went on to the end."""
    full, passed = Battery(), 0
    while full.level:
        full.spend(3600, sensors=ALL, advertising_ms=advertising_ms)
        passed += 1
    return passed


def test_a_band_lasts_as_long_as_the_page_says():
    text = re.search(r"lasts (\d+) hours, (\d+)\s+hours", PAGE)
    assert text is not None
    assert (hours(100), hours(1000)) == (int(text[1]) + 1, int(text[2]) + 1)  # counted in whole hours begun


def test_being_read_costs_what_the_page_says():
    text = re.sub(r"\s+", " ", PAGE)
    for minutes, packets, seconds, microamperes in (("ten minutes", 150, 5, 4), ("minute", 100, 4, 26)):
        assert re.search(rf"each {minutes}, with {packets} packets and {seconds} s[^,]*, {microamperes} µA", text)
        every_s = 600 if minutes == "ten minutes" else 60
        assert round((packets * battery.PACKET + seconds * battery.CONNECTED) / every_s) == microamperes


def test_sensors_stop_in_the_order_of_what_they_take_and_come_back_on_the_charger():
    seen = []
    low = Battery(charge=20)
    while low.level:
        if not seen or seen[-1] != low.sensors:
            seen.append(low.sensors)
        low.spend(600, sensors=low.sensors, advertising_ms=1000)
    assert seen == [ALL, SKIN | MOTION, MOTION, 0]
    low.charge(3600)
    assert low.level == 50
    assert low.sensors == ALL == CONTENTS_ALL & ~0x08


def test_an_empty_one_stays_empty_and_a_full_one_full():
    empty = Battery(charge=0)
    empty.spend(1000, sensors=ALL)
    assert (empty.level, empty.sensors) == (0, 0)
    full = Battery()
    full.charge(1000)
    assert full.level == 100
    with pytest.raises(ValueError, match="percent"):
        Battery(charge=101)
