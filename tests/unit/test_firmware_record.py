"""The band's stored records against the profile's page; what is cut for want of consent; beats within 4/1024 s."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from firmware_sim import record
from firmware_sim.physiology import Answer, Samples
from firmware_sim.profile import REASONS
from firmware_sim.record import EndedClock, Stamp
from firmware_sim.synthetic import Person

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "band-profile.md").read_text()
AT = 1762502912
STAMP = Stamp(boot=3, clock=5, seq=42)


def bytes_of_the_page() -> dict[str, bytes]:
    rows = PAGE.split("### Bytes of stored records")[1].split("\n## ")[0]
    return {
        name: bytes.fromhex(text) for name, text in re.findall(r"^\| ([^|]+?) \| `([0-9a-f ]+)` \|", rows, re.MULTILINE)
    }


def seconds(n: int, **changed: object) -> Samples:
    fields: dict[str, object] = {
        "start": AT,
        "seconds": n,
        "hr": np.full(n, np.nan, np.float32),
        "beat_t": np.empty(0),
        "rr": np.empty(0, np.float32),
        "eda": np.full(4 * n, np.nan, np.float32),
        "temp": np.full(n, 31.98, np.float32),
        "acc_mean": np.ones(4 * n, np.float32),
        "acc_sd": np.full(4 * n, 0.012, np.float32),
        "motion_rate": 4,
        "worn": np.ones(n, np.bool_),
    }
    return Samples(**{**fields, **changed})  # type: ignore[arg-type]


def whole() -> bytes:
    one = seconds(
        1,
        hr=np.array([77], np.float32),
        beat_t=AT + np.array([64, 864]) / 1024,
        rr=np.array([790, 800], np.float32) / 1024,
        eda=np.array([1.5, np.nan, 1.501, 1.502], np.float32),
    )
    return record.measurement(one, STAMP)


def heart_alone() -> bytes | None:
    two = seconds(2, hr=np.array([np.nan, 80], np.float32), worn=np.array([True, False]))
    return record.covered(record.measurement(two, STAMP), record.HEART | record.ANSWER)


def log() -> bytes:
    ended = EndedClock(number=4, set_by_others=True, began=1762415744, ended=1762502902, next=AT)
    return record.log_state(log=1234567890, boot=3, clock=5, oldest=42, newest=43, overwritten=0, ended=[ended])


MADE: dict[str, Callable[[], bytes | None]] = {
    "Measurement record": whole,
    "Heart alone": heart_alone,
    "Self-report record": lambda: record.self_report(
        Answer(AT, 8, 6, 1 + REASONS.index("noise")), STAMP._replace(seq=43)
    ),
    "Log": log,
}


def test_every_row_of_the_page_is_checked():
    assert set(bytes_of_the_page()) == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_the_bytes_are_those_of_the_page(name: str):
    assert MADE[name]() == bytes_of_the_page()[name]


def test_a_record_of_ten_seconds_fits_a_notification_and_is_about_130_bytes():
    person = Person(5, 1, "WK034403")
    sizes = [
        len(record.measurement(person.samples(AT + 10 * i, AT + 10 * i + 10), STAMP._replace(seq=i + 1)))
        for i in range(60)
    ]
    assert max(sizes) <= record.RECORD_BYTES_MAX
    assert 120 <= np.median(sizes) <= 140


def test_the_busiest_record_still_fits():
    at = AT + (np.arange(90) * 113) / 1024
    busiest = seconds(10, beat_t=at, rr=np.full(90, 0.5, np.float32))  # each needs a place of its own
    assert len(record.measurement(busiest, STAMP)) <= record.RECORD_BYTES_MAX


def beats_of(encoded: bytes) -> list[tuple[int, int]]:
    n = encoded[19]
    beats: list[tuple[int, int]] = []
    place = None
    for entry in struct.unpack_from(f"<{n}H", encoded, 20):
        if entry & 0x8000:
            place = entry & 0x7FFF
        else:
            beats.append((beats[-1][0] + entry if place is None else place, entry))
            place = None
    return beats


def test_beats_come_back_within_4_ticks_also_after_a_gap():
    at = np.array([300, 1100, 1905, 5000, 5803, 6610])
    rr = np.array([800, 800, 800, 803, 803, 803], np.float32) / 1024
    encoded = record.measurement(seconds(10, beat_t=AT + at / 1024, rr=rr), STAMP)
    beats = beats_of(encoded)
    assert [interval for _, interval in beats] == [800, 800, 800, 803, 803, 803]
    assert max(abs(end - true) for (end, _), true in zip(beats, at, strict=True)) <= 4
    assert encoded[19] == 6 + 3  # places: the first, the one 5 ticks off, the one after the gap


@pytest.mark.parametrize("contents", range(16))
def test_what_is_not_covered_is_not_in_the_bytes(contents: int):
    full = whole()
    cut = record.covered(full, contents)
    if not contents & 7:
        assert cut is None
        return
    assert cut is not None
    assert cut[1] == contents & 7
    heart, skin, motion = full[15:26], full[26:37], full[37:]
    parts = [part for bit, part in ((1, heart), (2, skin), (4, motion)) if contents & bit]
    assert cut[15:] == b"".join(parts)
    answer = record.self_report(Answer(AT, 8, 6), STAMP)
    assert record.covered(answer, contents) == (answer if contents & 8 else None)


@pytest.mark.parametrize("n", [11, 20])
def test_a_record_longer_than_ten_seconds_is_refused(n: int):
    with pytest.raises(ValueError, match="10 seconds"):
        record.measurement(seconds(n), STAMP)


def test_a_record_holds_the_sections_of_the_sensors_that_ran():
    samples = Person(5, 3, "WK034403").samples(1_762_502_880, 1_762_502_890)
    whole = record.measurement(samples, Stamp(1, 1, 1))
    for sensors in range(1, 8):
        part = record.measurement(samples, Stamp(1, 1, 1), sensors=sensors)
        assert part == record.covered(whole, sensors)
        for contents in range(8):
            assert record.covered(part, contents) == record.covered(whole, contents & sensors)
