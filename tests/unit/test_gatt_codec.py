"""The codec: the profile's byte vectors, frames that real straps sent, and that nothing but MalformedFrame escapes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading import Reason
from gateway import gatt_codec as codec
from gateway.gatt_codec import HeartRate, MalformedFrame

DECODERS = (
    codec.heart_rate_measurement,
    codec.beat_timing,
    codec.eda,
    codec.motion,
    codec.self_report,
    codec.temperature,
    codec.current_time,
    codec.battery_level,
    codec.serial_number,
    codec.stop,
)


@pytest.fixture(scope="module")
def vectors() -> list[dict[str, object]]:
    """Heart rate frames of real straps and of other projects' tests."""
    file = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "heart_rate_measurement.json"
    if not file.is_file():
        pytest.fail("this test needs ../shared/vectors/heart_rate_measurement.json beside the project", pytrace=False)
    found: list[dict[str, object]] = json.loads(file.read_text())
    return found


def test_every_recorded_heart_rate_frame_is_read_or_rejected_as_it_should(vectors):
    assert len(vectors) >= 32
    for vector in vectors:
        data = bytes.fromhex(vector["hex"])
        if vector["kind"].endswith(("_malformed", "_truncated")):
            with pytest.raises(MalformedFrame) as caught:
                codec.heart_rate_measurement(data)
            assert caught.value.reason == "truncated", vector
        else:
            assert codec.heart_rate_measurement(data) == HeartRate(
                bpm=vector["hr"],
                rr_1024=tuple(vector["rr_raw_1024"]),
                contact=vector["contact"],
                energy_kj=vector["energy_kj"],
            ), vector


def hexed(decoder, text: str):
    return decoder(bytes.fromhex(text))


def test_the_vectors_of_the_profile_decode():
    assert hexed(codec.heart_rate_measurement, "16 4d 16 03") == HeartRate(bpm=77, rr_1024=(790,), contact=True)
    assert hexed(codec.beat_timing, "00 a9 0d 69 02 40 00 80 03") == codec.BeatTiming(
        time=1762502912, offsets_1024=(64, 896)
    )
    assert hexed(codec.eda, "00 a9 0d 69 04 02 dc 05 ff ff") == codec.Eda(
        time=1762502912, rate=4, nano_siemens=(1500, None)
    )
    assert hexed(codec.motion, "00 a9 0d 69 04 01 e8 03 0c 00") == codec.Motion(
        time=1762502912, rate=4, mean_mg=(1000,), sd_mg=(12,)
    )
    assert hexed(codec.self_report, "00 a9 0d 69 08 06 03") == codec.SelfReportFrame(
        time=1762502912, safe=8, happy=6, reason=Reason.NOISE
    )
    assert hexed(codec.temperature, "7e 0c") == 31.98
    assert hexed(codec.current_time, "e9 07 0b 07 08 08 20 05 00 00") == 1762502912.0


@pytest.mark.parametrize(
    ("frame", "meaning"),
    [
        ("00 3c", HeartRate(bpm=60)),
        ("01 3c 01", HeartRate(bpm=316)),
        ("06 3c", HeartRate(bpm=60, contact=True)),
        ("04 3c", HeartRate(bpm=60, contact=False)),
        ("02 3c", HeartRate(bpm=60, contact=None)),  # contact without "supported" is unknown
        ("18 3c e8 03 00 04", HeartRate(bpm=60, energy_kj=1000, rr_1024=(1024,))),  # energy precedes RR
        ("10 3c", HeartRate(bpm=60)),  # the RR flag without an interval
        ("e0 3c", HeartRate(bpm=60)),  # reserved bits
        ("00 00", HeartRate(bpm=0)),
    ],
)
def test_a_heart_rate_frame_is_read_by_its_flags(frame, meaning):
    assert hexed(codec.heart_rate_measurement, frame) == meaning


@pytest.mark.parametrize(
    ("decoder", "frame", "reason"),
    [
        (codec.heart_rate_measurement, "", "truncated"),
        (codec.heart_rate_measurement, "01 3c", "truncated"),
        (codec.heart_rate_measurement, "08 3c 01", "truncated"),
        (codec.heart_rate_measurement, "10 3c b1 03 de", "truncated"),
        (codec.heart_rate_measurement, "00 3c 01", "trailing-bytes"),
        (codec.heart_rate_measurement, "10 3c" + "00 04" * 256, "too-long"),
        (codec.beat_timing, "00 a9 0d 69 02 40 00 80", "truncated"),
        (codec.beat_timing, "00 a9 0d 69 0a" + "00 00" * 10, "range"),
        (codec.beat_timing, "00 a9 0d 69 01 00 04", "range"),
        (codec.beat_timing, "00 a9 0d 69 02 40 00 40 00", "order"),
        (codec.eda, "00 a9 0d 69 00 01 dc 05", "range"),
        (codec.eda, "00 a9 0d 69 21 01 dc 05", "range"),
        (codec.eda, "00 a9 0d 69 04 00", "range"),
        (codec.eda, "00 a9 0d 69 04 01 dc 05 00", "trailing-bytes"),
        (codec.motion, "00 a9 0d 69 04 33" + "00" * 204, "range"),
        (codec.motion, "00 a9 0d 69 04 01 e8 03", "truncated"),
        (codec.self_report, "00 a9 0d 69 0b 06 03", "range"),
        (codec.self_report, "00 a9 0d 69 08 0b 03", "range"),
        (codec.self_report, "00 a9 0d 69 08 06 0d", "range"),
        (codec.temperature, "01 80", "range"),
        (codec.current_time, "e9 07 02 1e 08 08 20 05 00 00", "range"),  # 30 February
        (codec.current_time, "00 00 00 00 08 08 20 00 00 00", "range"),  # a date that the band does not know
        (codec.current_time, "e9 07 0b 07 08 08 20 01 00 00", "range"),  # not a Monday
        (codec.battery_level, "65", "range"),
        (codec.serial_number, "", "text"),
        (codec.serial_number, "57 50 ff", "text"),
        (codec.serial_number, "57" * 65, "text"),
    ],
)
def test_an_impossible_frame_is_rejected_with_its_reason(decoder, frame, reason):
    with pytest.raises(MalformedFrame) as caught:
        hexed(decoder, frame)
    assert caught.value.reason == reason
    assert reason in codec.REASONS
    assert str(caught.value) == f"{caught.value.frame}: {reason}"


def test_an_unknown_temperature_is_none():
    assert hexed(codec.temperature, "00 80") is None
    assert hexed(codec.temperature, "18 fc") == -10.0


def test_a_serial_number_loses_the_nuls_at_its_end():
    assert codec.serial_number(b"WP-000001\0\0") == "WP-000001"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer_is_taken(kind):
    assert codec.heart_rate_measurement(kind(bytes.fromhex("164d1603"))).rr_1024 == (790,)


@pytest.mark.parametrize("decoder", DECODERS)
@given(data=st.binary(max_size=600))
def test_any_bytes_are_a_value_or_malformed(decoder, data):
    with contextlib.suppress(MalformedFrame):
        decoder(data)


@given(
    bpm=st.integers(0, 0xFFFF),
    rr=st.lists(st.integers(0, 0xFFFF), max_size=9),
    contact=st.sampled_from([None, True, False]),
    energy=st.one_of(st.none(), st.integers(0, 0xFFFF)),
    reserved=st.integers(0, 7),
)
def test_what_a_band_encodes_comes_back(bpm, rr, contact, energy, reserved):
    flags = reserved << 5 | (bpm > 255) | {None: 0, False: 4, True: 6}[contact]
    flags |= (energy is not None) << 3 | bool(rr) << 4
    frame = bytes([flags]) + bpm.to_bytes(2 if bpm > 255 else 1, "little")
    frame += b"" if energy is None else energy.to_bytes(2, "little")
    frame += b"".join(interval.to_bytes(2, "little") for interval in rr)
    assert codec.heart_rate_measurement(frame) == HeartRate(
        bpm=bpm, rr_1024=tuple(rr), contact=contact, energy_kj=energy
    )
