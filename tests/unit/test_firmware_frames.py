"""Signals into frames: nothing is lost, nothing is made up, and it does not matter in which parts they come."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import profile
from firmware_sim.frames import PART_S, Frame, FrameEncoder
from firmware_sim.physiology import Answer, Samples
from firmware_sim.profile import Kind
from firmware_sim.synthetic import Person

START = 1_762_502_912
WIDE = 244


def still(seconds: int = 10, start: int = START, **changes: object) -> Samples:
    """A quiet wearer: 60 beats/min, a beat at each half second."""
    fields: dict[str, object] = {
        "start": start,
        "seconds": seconds,
        "hr": np.full(seconds, 60, np.float32),
        "beat_t": start + np.arange(seconds) + 0.5,
        "rr": np.ones(seconds, np.float32),
        "eda": np.arange(4 * seconds, dtype=np.float32) / 1000,
        "temp": np.full(seconds, 31.98, np.float32),
        "acc_mean": np.ones(4 * seconds, np.float32),
        "acc_sd": np.full(4 * seconds, 0.012, np.float32),
        "motion_rate": 4,
        "worn": np.ones(seconds, np.bool_),
    }
    return Samples(**{**fields, **changes})


def frames_of(samples: Samples, *, payload_bytes: int = WIDE, final: bool = True) -> list[Frame]:
    encoder = FrameEncoder(samples)
    return [
        frame
        for tick in range(samples.start + 1, samples.end + 1)
        for frame in encoder.at(tick, payload_bytes=payload_bytes, final=final and tick == samples.end)
    ]


def eda_samples(frames: list[Frame]) -> list[tuple[float, int]]:
    found = []
    for kind, value in frames:
        if kind is Kind.EDA:
            time, rate, n = struct.unpack_from("<IBB", value)
            found += [(time + i / rate, ns) for i, ns in enumerate(struct.unpack_from(f"<{n}H", value, 6))]
    return found


def beats(frames: list[Frame]) -> list[tuple[float, int]]:
    """As the profile tells a reader to: Beat Timing, then a Heart Rate Measurement with as many intervals."""
    found, times = [], []
    for kind, value in frames:
        if kind is Kind.BEAT_TIMING:
            time, n = struct.unpack_from("<IB", value)
            times = [time + offset / 1024 for offset in struct.unpack_from(f"<{n}H", value, 5)]
        elif kind is Kind.HEART_RATE:
            assert not value[0] & 1
            rr = struct.unpack_from(f"<{(len(value) - 2) // 2}H", value, 2)
            assert len(rr) == len(times)
            found += list(zip(times, rr, strict=True))
    return found


def test_a_tick_keeps_the_profiles_order():
    samples = still(reports=(Answer(START + 7, 8, 6, 3),))  # the tick at START + 8 ends in 0
    assert (START + 8) % 10 == 0
    kinds = [kind for kind, _ in FrameEncoder(samples).at(START + 8, payload_bytes=WIDE)]
    assert kinds == [
        Kind.BEAT_TIMING,
        Kind.HEART_RATE,
        Kind.TEMPERATURE,
        Kind.CURRENT_TIME,
        Kind.EDA,
        Kind.MOTION,
        Kind.SELF_REPORT,
    ]


def test_every_beat_and_every_eda_sample_is_in_a_frame_once():
    samples = Person(3, 7, "WK034403").samples(START, START + 3600)
    frames = frames_of(samples)
    assert beats(frames) == list(
        zip(samples.beat_t.tolist(), np.rint(samples.rr * 1024).astype(int).tolist(), strict=True)
    )
    wanted = np.where(np.isfinite(samples.eda), np.rint(samples.eda.astype(float) * 1000), profile.EDA_UNKNOWN)
    found = eda_samples(frames)
    assert [t for t, _ in found] == (START + np.arange(4 * 3600) / 4).tolist()
    assert np.abs(np.array([ns for _, ns in found]) - wanted).max() <= 1


@given(st.integers(0, 59), st.integers(11, 120), st.data())
def test_the_parts_in_which_a_span_is_encoded_do_not_show(offset: int, seconds: int, data: st.DataObject):
    start = START + offset
    samples = Person(3, 7, "WK034403").samples(start, start + seconds)
    cut = data.draw(st.integers(start // PART_S + 1, (start + seconds - 1) // PART_S)) * PART_S
    parts = frames_of(samples.cut(start, cut), final=False) + frames_of(samples.cut(cut, samples.end))
    assert parts == frames_of(samples)


@pytest.mark.parametrize("payload_bytes", [20, 21, 40, 97, 244, 514])
def test_a_small_mtu_holds_every_frame_and_loses_no_eda(payload_bytes: int):
    samples = still(30)
    frames = frames_of(samples, payload_bytes=payload_bytes)
    assert max(len(value) for _, value in frames) <= payload_bytes
    assert eda_samples(frames) == eda_samples(frames_of(samples))


def test_motion_that_does_not_fit_is_pooled_over_its_second():
    mean = np.tile(np.float32([0.9, 1.1, 0.9, 1.1]), 5)
    samples = still(5, acc_mean=mean, acc_sd=np.full(20, 0.03, np.float32))
    pooled = [struct.unpack("<IBBHH", value) for kind, value in frames_of(samples, payload_bytes=20)
              if kind is Kind.MOTION for value in [value[:10]]]  # fmt: skip
    assert all(rate == 1 and mean_mg == 1000 and sd_mg == 104 for _, rate, _, mean_mg, sd_mg in pooled)


def test_a_span_that_ends_early_sends_what_is_left():
    frames = frames_of(still(7))  # begins 2 s into its five seconds, ends 4 s into the next
    assert len(eda_samples(frames)) == 28
    assert [struct.unpack_from("<IBB", value) for kind, value in frames if kind is Kind.MOTION] == [
        (START, 4, 12),
        (START + 3, 4, 16),
    ]


def test_off_the_wrist_the_flags_say_so():
    samples = still(
        3, worn=np.zeros(3, np.bool_), hr=np.full(3, np.nan, np.float32), beat_t=np.empty(0), rr=still(3).rr[:0]
    )
    sent = [value for kind, value in frames_of(samples) if kind is Kind.HEART_RATE]
    assert sent == [b"\x04\x00"] * 3


def test_without_a_rate_or_a_beat_there_is_no_heart_rate_measurement():
    samples = still(3, hr=np.full(3, np.nan, np.float32), beat_t=np.empty(0), rr=still(3).rr[:0])
    kinds = [kind for kind, _ in frames_of(samples)]
    assert Kind.HEART_RATE not in kinds
    assert kinds.count(Kind.BEAT_TIMING) == 3


def test_what_a_frame_cannot_hold_is_bounded_or_unknown():
    eda = np.float32([-1, 0, 65.534, 65.535, 70, np.nan, np.inf, 1])
    samples = still(2, eda=eda, temp=np.float32([np.nan] * 2))
    assert [ns for _, ns in eda_samples(frames_of(samples))] == [0, 0, 65534, 65535, 65535, 65535, 65535, 1000]
    early = still(10, temp=np.full(10, np.nan, np.float32))
    assert (Kind.TEMPERATURE, b"\x00\x80") in frames_of(early)


def test_beats_beyond_nine_in_a_second_are_left_out_of_both_frames():
    samples = still(1, beat_t=START + np.arange(12) / 12, rr=np.full(12, 1 / 12, np.float32))
    assert len(beats(frames_of(samples))) == 9


def test_arrays_of_wrong_lengths_are_refused():
    with pytest.raises(ValueError, match="eda"):
        still(10, eda=np.zeros(39, np.float32))
