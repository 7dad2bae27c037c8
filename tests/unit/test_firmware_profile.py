"""The band's frames against the profile's own page: vectors, UUIDs, reasons; and what no frame can hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import profile
from firmware_sim.profile import Kind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "band-profile.md").read_text()

#: What the page's vectors mean, in the words of the encoders.
VECTORS: dict[str, Callable[[], bytes]] = {
    "Heart Rate Measurement": lambda: profile.heart_rate_measurement(77, rr=[790]),
    "Beat Timing": lambda: profile.beat_timing(1762502912, [64, 896]),
    "EDA": lambda: profile.eda(1762502912, 4, [1500, profile.EDA_UNKNOWN]),
    "Motion": lambda: profile.motion(1762502912, 4, [1000, 12]),
    "Self-report": lambda: profile.self_report(1762502912, safe=8, happy=6, reason=1 + profile.REASONS.index("noise")),
    "Temperature": lambda: profile.temperature(3198),
    "Stop": lambda: profile.stop(600, 42),
    "Current Time": lambda: profile.current_time(1762502912),
}


def page_vectors() -> dict[str, bytes]:
    rows = re.findall(r"^\| ([^|]+?) \| `([0-9a-f ]+)` \|", PAGE.split("## Vectors")[1], re.MULTILINE)
    return {name: bytes.fromhex(text) for name, text in rows}


def test_every_vector_of_the_page_is_checked():
    assert set(page_vectors()) == set(VECTORS)


@pytest.mark.parametrize("name", VECTORS)
def test_a_frame_is_what_the_page_says(name: str):
    assert VECTORS[name]() == page_vectors()[name]


def test_the_reasons_are_the_pages_in_order():
    listed = re.search(r"Reasons: ((?:.|\n)*?)\.\n", PAGE)
    assert listed is not None
    assert re.findall(r"\d+ ([a-z-]+)", listed.group(1)) == list(profile.REASONS)


def test_each_characteristic_has_the_pages_uuid_and_consent():
    rows = re.findall(
        r"^\|[^|]*\| [\w -]+ \| (?:0x)?`?(\w{4})`? \| [^|]*(?:notify|indicate) \| ([^|]+) \|",
        PAGE,
        re.MULTILINE,
    )
    kinds = {kind.value if len(kind.value) == 4 else kind.value[4:8]: kind for kind in Kind}
    assert {uuid.strip() for uuid, _ in rows} == set(kinds)
    assert {kinds[uuid] for uuid, consent in rows if consent.strip() != "none"} == profile.PERSONAL


def test_the_advertisement_names_services_and_nothing_else():
    data = profile.advertising_data()
    assert len(data) <= 31
    assert data.hex() == "0201060303" + "0d18" + "1107" + bytes.fromhex("b7a100016d5c4f2e9a3b57696a6b706f")[::-1].hex()


@pytest.mark.parametrize(
    "encode",
    [
        lambda: profile.heart_rate_measurement(-1),
        lambda: profile.heart_rate_measurement(0x10000),
        lambda: profile.heart_rate_measurement(60, rr=[800] * 10),
        lambda: profile.heart_rate_measurement(60, rr=[0x10000]),
        lambda: profile.beat_timing(0, [1024]),
        lambda: profile.beat_timing(0, [-1]),
        lambda: profile.beat_timing(-1, []),
        lambda: profile.beat_timing(0, [1] * 10),
        lambda: profile.eda(0, 4, []),
        lambda: profile.eda(0, 4, [0] * 101),
        lambda: profile.eda(0, 0, [1]),
        lambda: profile.eda(0, 33, [1]),
        lambda: profile.eda(0, 4, [0x10000]),
        lambda: profile.motion(0, 4, [1000]),
        lambda: profile.motion(0, 4, [1000, 1] * 51),
        lambda: profile.self_report(0, safe=11, happy=0),
        lambda: profile.self_report(0, safe=0, happy=-1),
        lambda: profile.self_report(0, safe=0, happy=0, reason=13),
        lambda: profile.temperature(0x8000),
        lambda: profile.battery_level(101),
        lambda: profile.serial_number(1_000_000),
    ],
)
def test_what_the_layout_cannot_hold_is_refused(encode: Callable[[], bytes]):
    with pytest.raises(ValueError):  # noqa: PT011 - what is said differs; that nothing is encoded matters
        encode()


@given(st.integers(0, 0xFFFF), st.lists(st.integers(0, 0xFFFF), max_size=9), st.booleans())
def test_a_heart_rate_measurement_reads_back(bpm: int, rr: list[int], contact: bool):
    data = profile.heart_rate_measurement(bpm, rr=rr, contact=contact)
    wide = data[0] & 1
    assert int.from_bytes(data[1 : 2 + wide], "little") == bpm
    assert data[0] & 0x06 == (0x06 if contact else 0x04)
    assert bool(data[0] & 0x10) == bool(rr)
    rest = data[2 + wide :]
    assert [int.from_bytes(rest[i : i + 2], "little") for i in range(0, len(rest), 2)] == rr
