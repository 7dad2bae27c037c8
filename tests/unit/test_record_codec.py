"""The gateway's reading of stored records: the page's bytes, what is impossible, and that nothing else escapes."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading import Reason
from gateway import gatt_codec, record_codec
from gateway.gatt_codec import MalformedFrame, SelfReportFrame
from gateway.record_codec import EndedClock, LogState, MeasurementRecord, RecordHeart, RecordSkin, ReportRecord

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "band-profile.md").read_text()
BYTES = {
    name: bytes.fromhex(text)
    for name, text in re.findall(
        r"^\| ([^|]+?) \| `([0-9a-f ]+)` \|",
        PAGE.split("### Bytes of stored records")[1].split("\n## ")[0],
        re.MULTILINE,
    )
}
MEANING = {
    "Measurement record": MeasurementRecord(
        boot=3,
        clock=5,
        seq=42,
        time=1762502912,
        seconds=1,
        heart=RecordHeart(contact=(True,), bpm=77.0, beats=((64, 790), (864, 800))),
        skin=RecordSkin(celsius=31.98, rate=4, nano_siemens=(1500, None, 1501, 1502)),
        motion=(1000, 12),
    ),
    "Heart alone": MeasurementRecord(
        boot=3,
        clock=5,
        seq=42,
        time=1762502912,
        seconds=2,
        heart=RecordHeart(contact=(True, False), bpm=None, beats=()),
    ),
    "Self-report record": ReportRecord(
        boot=3, clock=5, seq=43, report=SelfReportFrame(time=1762502912, safe=8, happy=6, reason=Reason.NOISE)
    ),
    "Log": LogState(
        log=1234567890,
        boot=3,
        clock=5,
        oldest=42,
        newest=43,
        overwritten=0,
        ended=(EndedClock(clock=4, was_set=True, began=1762415744, ended=1762502902, next=1762502912),),
    ),
}


def test_every_row_of_the_page_is_checked():
    assert set(BYTES) == set(MEANING)


@pytest.mark.parametrize("name", MEANING)
def test_the_bytes_of_the_page_mean_what_it_says(name: str):
    decode = record_codec.log_state if name == "Log" else record_codec.record
    assert decode(BYTES[name]) == MEANING[name]


def heart(entries: str, *, seconds: int = 10, contact: str = "ff 03", bpm: str = "ff ff") -> bytes:
    words = bytes.fromhex(entries)
    head = bytes.fromhex("01 01 03 00 05 00 2a 00 00 00 00 a9 0d 69") + bytes((seconds,))
    return head + bytes.fromhex(contact) + bytes.fromhex(bpm) + bytes((len(words) // 2,)) + words


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "truncated"),
        (b"\x03" + BYTES["Measurement record"][1:], "range"),  # a kind that is none
        (BYTES["Measurement record"][:-1], "truncated"),
        (BYTES["Measurement record"] + b"\0", "trailing-bytes"),
        (b"\x01\x0f" + BYTES["Measurement record"][2:], "range"),
        (BYTES["Measurement record"][:6] + bytes(4) + BYTES["Measurement record"][10:], "range"),  # number 0
        (BYTES["Measurement record"][:6] + b"\xff" * 4 + BYTES["Measurement record"][10:], "range"),  # and the last
        (b"\x02\x07" + BYTES["Self-report record"][2:], "range"),
        (heart("20 03"), "order"),  # an interval without a place
        (heart("40 80"), "order"),  # a place without an interval
        (heart("40 80 41 80 20 03"), "order"),  # two places
        (heart("40 80 20 03 40 80 20 03"), "order"),  # a beat before the one before it
        (heart("40 80 00 00"), "range"),  # an interval of nothing
        (heart("00 a8 20 03"), "range"),  # at 10240/1024 s
        (heart("ff a7 20 03 01 00"), "range"),  # the second one is
        (heart("", seconds=0), "range"),
        (heart("", seconds=11), "range"),
        (heart("", contact="00 04"), "range"),  # contact in an eleventh second
        (heart("40 80 20 03" * 33), "range"),
    ],
)
def test_an_impossible_record_is_rejected_with_its_reason(frame: bytes, reason: str):
    with pytest.raises(MalformedFrame) as caught:
        record_codec.record(frame)
    assert (caught.value.frame, caught.value.reason) == ("record", reason)
    assert reason in gatt_codec.REASONS


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        ("05 00 2a 00 00 00", record_codec.RacpCount(42)),
        ("06 00 01 06", record_codec.RacpResponse(1, 6)),
        ("06 00 01", None),
        ("06 01 01 06", None),
        ("04 00 01 06", None),
        ("05 00 2a 00", None),
        ("05 00 2a 00 00 00 00", None),
    ],
)
def test_an_answer_of_the_control_point_is_read_or_rejected(frame: str, answer: object):
    if answer is None:
        with pytest.raises(MalformedFrame):
            record_codec.racp_answer(bytes.fromhex(frame))
    else:
        assert record_codec.racp_answer(bytes.fromhex(frame)) == answer


def test_requests_are_those_of_the_page():
    seq = 0x01020304
    written = {
        "report from a number on": record_codec.report_from(seq),
        "delete up to a number": record_codec.delete_up_to(seq),
        "abort": record_codec.abort(),
    }
    for name, request in written.items():
        row = re.search(rf"^\| {name} \| `([0-9a-f ]+)`( seq)? \|", PAGE, re.MULTILINE)
        assert row is not None
        assert request == bytes.fromhex(row.group(1)) + (b"\x04\x03\x02\x01" if row.group(2) else b"")
    assert record_codec.count_from(seq) == bytes.fromhex("04 03 01 04 03 02 01")


@given(at=st.integers(0, 4_000_000_000), fraction=st.integers(0, 255))
def test_a_written_time_reads_back(at: int, fraction: int):
    assert gatt_codec.current_time(gatt_codec.current_time_at(at + fraction / 256)) == at + fraction / 256


@pytest.mark.parametrize("decoder", [record_codec.record, record_codec.log_state, record_codec.racp_answer])
@given(data=st.binary(max_size=600))
def test_any_bytes_are_a_value_or_malformed(decoder, data: bytes):
    with contextlib.suppress(MalformedFrame):
        decoder(data)


@given(name=st.sampled_from(sorted(MEANING)), at=st.integers(0, 60), value=st.integers(0, 255))
def test_a_garbled_record_is_a_value_or_malformed(name: str, at: int, value: int):
    data = bytearray(BYTES[name])
    data[at % len(data)] = value
    with contextlib.suppress(MalformedFrame):
        (record_codec.log_state if name == "Log" else record_codec.record)(data)
