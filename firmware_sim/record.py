"""The stored records of the band's profile ("Stored records"), byte by byte. Pure; no I/O.

Held against the page's own vectors by `tests/unit/test_firmware_record.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from firmware_sim import profile
from firmware_sim.physiology import EDA_HZ, Answer, Samples

RECORD_S: Final = 10
RECORD_BYTES_MAX: Final = 244  # one notification at an MTU of 247
MEASUREMENT, SELF_REPORT = 1, 2
#: Bits of `contents`, and of Record Contents.
HEART, SKIN, MOTION, ANSWER = 0x01, 0x02, 0x04, 0x08
CONTENTS_ALL: Final = HEART | SKIN | MOTION | ANSWER
ENTRIES_MAX: Final = 64
CLOCKS_MAX: Final = 14

_HEADER: Final = struct.Struct("<BBHHII")
_PLACE: Final = 0x8000
_TICKS_PER_S: Final = 1024
_CHAIN_TICKS_MAX: Final = 4  # a chain of intervals may be so far off its beats before they get a new place
_UNKNOWN: Final = 0xFFFF


class Stamp(NamedTuple):
    """What a record says of where it stands: the boot count, the clock's number, its own number."""

    boot: int
    clock: int
    seq: int


class EndedClock(NamedTuple):
    """A clock of the band that has ended; see the profile, "The log"."""

    number: int
    set_by_others: bool
    began: int  # unix seconds by itself, as are the next two
    ended: int
    next: int | None  # what was written at that moment; None when power was lost

    def encoded(self) -> bytes:
        """Its 15 bytes."""
        how = int(self.set_by_others) | int(self.next is not None) << 1
        return struct.pack("<HBIII", self.number & 0xFFFF, how, self.began, self.ended, self.next or 0)


def measurement(samples: Samples, stamp: Stamp, sensors: int = HEART | SKIN | MOTION) -> bytes:
    """A measurement record of 1 to 10 seconds, of the sensors that ran; `samples.start` is the band's own time.

    Raises ValueError.
    """
    if not 1 <= samples.seconds <= RECORD_S:
        raise ValueError(f"a record spans 1 to {RECORD_S} seconds, not {samples.seconds}")
    sections = ((HEART, _heart), (SKIN, _skin), (MOTION, _motion))
    header = _header(MEASUREMENT, sensors, stamp, samples.start) + bytes((samples.seconds,))
    return header + b"".join(make(samples) for bit, make in sections if sensors & bit)


def self_report(answer: Answer, stamp: Stamp) -> bytes:
    """A self-report record."""
    report = profile.self_report(answer.at, safe=answer.safe, happy=answer.happy, reason=answer.reason)
    return _header(SELF_REPORT, ANSWER, stamp, answer.at) + report[4:]


def seq_of(record: bytes) -> int:
    """The sequence number of an encoded record."""
    return int.from_bytes(record[6:10], "little")


def end_of(record: bytes) -> int:
    """The first second after an encoded record, by the band's own clock."""
    time = int.from_bytes(record[10:14], "little")
    return time + record[14] if record[0] == MEASUREMENT else time


def covered(record: bytes, contents: int) -> bytes | None:
    """The record with the sections of `contents` alone; None when nothing of it may be sent."""
    kept = record[1] & contents
    if record[0] == SELF_REPORT:
        return record if kept else None
    if not kept:
        return None
    heart_end = 15 + 5 + 2 * record[19] if record[1] & HEART else 15
    skin_end = len(record) - 4 if record[1] & MOTION else len(record)
    sections = ((HEART, 15, heart_end), (SKIN, heart_end, skin_end), (MOTION, skin_end, len(record)))
    return b"".join((record[:1], bytes((kept,)), record[2:15], *(record[a:b] for bit, a, b in sections if kept & bit)))


def log_state(
    *, log: int, boot: int, clock: int, oldest: int, newest: int, overwritten: int, ended: Sequence[EndedClock]
) -> bytes:
    """The value of Log."""
    head = struct.pack("<IHHIII", log, boot & 0xFFFF, clock & 0xFFFF, oldest, newest, min(overwritten, 0xFFFF_FFFF))
    return head + b"".join(one.encoded() for one in ended[-CLOCKS_MAX:])


def _header(kind: int, contents: int, stamp: Stamp, time: int) -> bytes:
    return _HEADER.pack(kind, contents, stamp.boot & 0xFFFF, stamp.clock & 0xFFFF, stamp.seq, time)


def _heart(samples: Samples) -> bytes:
    contact = sum(1 << i for i, worn in enumerate(samples.worn.tolist()) if worn)
    known = samples.hr[np.isfinite(samples.hr) & samples.worn]
    bpm = min(round(float(known.mean()) * 10), _UNKNOWN - 1) if known.size else _UNKNOWN
    ticks = np.floor(samples.beat_t * _TICKS_PER_S).astype(np.int64) - _TICKS_PER_S * samples.start
    rr = np.clip(np.rint(samples.rr * np.float32(_TICKS_PER_S)), 1, _PLACE - 1).astype(np.int64)
    entries = _entries(zip(ticks.tolist(), rr.tolist(), strict=True), before=_TICKS_PER_S * samples.seconds)
    return struct.pack(f"<HHB{len(entries)}H", contact, bpm, len(entries), *entries)


def _entries(beats: Iterable[tuple[int, int]], *, before: int) -> list[int]:
    """Beats (end in 1/1024 s after the record's start, interval) as places and intervals; all end before `before`."""
    entries: list[int] = []
    chain: int | None = None  # where the chain of intervals has come to
    for end, rr in beats:
        if chain is not None and end <= chain:
            continue  # two beats in one tick
        at = end if chain is None else chain + rr
        chained = chain is not None and abs(at - end) <= _CHAIN_TICKS_MAX and at < before
        new = [rr] if chained else [_PLACE | end, rr]
        if len(entries) + len(new) > ENTRIES_MAX:
            break  # no heart does that
        entries += new
        chain = at if chained else end
    return entries


def _skin(samples: Samples) -> bytes:
    last = float(samples.temp[-1])
    hundredths = round(min(max(last, -300), 300) * 100) if np.isfinite(last) else profile.TEMPERATURE_UNKNOWN
    ns = np.rint(np.where(np.isfinite(samples.eda), samples.eda, 1e3) * 1000)
    eda = np.where(ns < _UNKNOWN, np.maximum(ns, 0), _UNKNOWN).astype(np.int64).tolist()
    return struct.pack(f"<hB{len(eda)}H", hundredths, EDA_HZ, *eda)


def _motion(samples: Samples) -> bytes:
    """Mean and SD of the whole record, pooled from its samples (the law of total variance)."""
    mean, sd = samples.acc_mean.astype(np.float64), samples.acc_sd.astype(np.float64)
    pooled = (mean.mean(), np.sqrt((sd**2).mean() + mean.var()))
    return struct.pack("<HH", *(round(min(max(float(v) * 1000, 0), _UNKNOWN)) for v in pooled))
