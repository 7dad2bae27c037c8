"""Bytes of a band's memory -> values, after `docs/reference/band-profile.md`, "Stored records".

As in `gatt_codec`, every decoder takes any bytes, and returns a frozen value or raises `MalformedFrame`.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from gateway.gatt_codec import TICKS_PER_S, Body, Bytes, MalformedFrame, SelfReportFrame, answer_at

RECORD_S_MAX: Final = 10
ENTRIES_MAX: Final = 64
#: The last sequence number: what is asked for next must be a number too.
SEQ_MAX: Final = 0xFFFF_FFFE
_PLACE: Final = 0x8000
_MEASUREMENT, _SELF_REPORT = 1, 2
#: Bits of `contents`, and of Record Contents.
HEART, SKIN, MOTION, ANSWER = 0x01, 0x02, 0x04, 0x08

# Record Access Control Point: op codes, operators and response codes of the Glucose Service 1.0.1, 3.5.
_REPORT, _DELETE, _ABORT, _COUNT, _COUNT_RESPONSE, _RESPONSE = 1, 2, 3, 4, 5, 6
_UP_TO, _FROM, _SEQUENCE_NUMBER = 2, 3, 1
REPORT_RECORDS: Final = _REPORT
DELETE_RECORDS: Final = _DELETE
ABORT: Final = _ABORT
SUCCESS, NO_RECORDS_FOUND = 0x01, 0x06


class RecordHeart(msgspec.Struct, frozen=True, kw_only=True):
    """The heart section of a measurement record."""

    contact: tuple[bool, ...]  # [seconds]
    bpm: float | None  # the record's mean
    beats: tuple[tuple[int, int], ...]  # (end after the record's time, interval), 1/1024 s; the ends rise


class RecordSkin(msgspec.Struct, frozen=True, kw_only=True):
    """The skin section of a measurement record."""

    celsius: float | None  # in the last second
    rate: int  # EDA samples per second
    nano_siemens: tuple[int | None, ...]  # [rate * seconds]; None: unknown, or above 65.534 µS


class MeasurementRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Up to ten seconds of one wearer."""

    boot: int
    clock: int
    seq: int
    time: int  # unix seconds by the band's own clock
    seconds: int
    heart: RecordHeart | None = None
    skin: RecordSkin | None = None
    motion: tuple[int, int] | None = None  # mean and standard deviation, mg


class ReportRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One answered prompt."""

    boot: int
    clock: int
    seq: int
    report: SelfReportFrame  # its time by the band's own clock


class EndedClock(msgspec.Struct, frozen=True, kw_only=True):
    """A clock of the band that has ended."""

    clock: int
    was_set: bool  # it began right; or else with a loss of power
    began: int  # unix seconds by itself, as are the next two
    ended: int
    next: int | None  # what was written when it ended; None when power was lost


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a band's memory."""

    log: int
    boot: int
    clock: int
    oldest: int
    newest: int
    overwritten: int
    ended: tuple[EndedClock, ...]


class RacpCount(msgspec.Struct, frozen=True):
    """How many records a band says that it has."""

    records: int


class RacpResponse(msgspec.Struct, frozen=True):
    """How a procedure ended."""

    request: int
    code: int


def record(data: Bytes) -> MeasurementRecord | ReportRecord:
    """Record, Wijkpols `0006`."""
    body = Body("record", data)
    kind, contents, boot, clock, seq, time = body.take("<BBHHII")
    body.within(kind, _MEASUREMENT, _SELF_REPORT)
    body.within(seq, 1, SEQ_MAX)
    if kind == _SELF_REPORT:
        body.within(contents, ANSWER, ANSWER)
        return ReportRecord(boot=boot, clock=clock, seq=seq, report=answer_at(time, body))
    body.within(contents, 0, HEART | SKIN | MOTION)
    (seconds,) = body.take("<B")
    body.within(seconds, 1, RECORD_S_MAX)
    heart = _heart(body, seconds) if contents & HEART else None
    skin = _skin(body, seconds) if contents & SKIN else None
    motion: tuple[int, int] | None = None
    if contents & MOTION:
        mean, sd = body.take("<HH")
        motion = mean, sd
    body.end()
    return MeasurementRecord(
        boot=boot, clock=clock, seq=seq, time=time, seconds=seconds, heart=heart, skin=skin, motion=motion
    )


def log_state(data: Bytes) -> LogState:
    """Log, Wijkpols `0007`."""
    body = Body("log", data)
    log, boot, clock, oldest, newest, overwritten = body.take("<IHHIII")
    body.within(oldest, 0, newest)
    ended = []
    while body.left:
        number, how, began, ended_at, after = body.take("<HBIII")
        body.within(how, 0, 3)
        body.within(ended_at, began, 0xFFFF_FFFF)
        ended.append(
            EndedClock(
                clock=number, was_set=bool(how & 1), began=began, ended=ended_at, next=after if how & 2 else None
            )
        )
    return LogState(
        log=log, boot=boot, clock=clock, oldest=oldest, newest=newest, overwritten=overwritten, ended=tuple(ended)
    )


def racp_answer(data: Bytes) -> RacpCount | RacpResponse:
    """What a band indicates on its Record Access Control Point."""
    body = Body("racp", data)
    op, operator = body.take("<BB")
    body.within(op, _COUNT_RESPONSE, _RESPONSE)
    body.within(operator, 0, 0)
    if op == _COUNT_RESPONSE:
        (records,) = body.take("<I")
        body.end()
        return RacpCount(records)
    request, code = body.take("<BB")
    body.end()
    return RacpResponse(request, code)


def count_from(seq: int) -> bytes:
    """Ask how many records there are from this number on."""
    return struct.pack("<BBBI", _COUNT, _FROM, _SEQUENCE_NUMBER, seq)


def report_from(seq: int) -> bytes:
    """Ask for the records from this number on."""
    return struct.pack("<BBBI", _REPORT, _FROM, _SEQUENCE_NUMBER, seq)


def delete_up_to(seq: int) -> bytes:
    """Tell that the records up to this number are safe."""
    return struct.pack("<BBBI", _DELETE, _UP_TO, _SEQUENCE_NUMBER, seq)


def abort() -> bytes:
    """End a running report."""
    return bytes((_ABORT, 0))


def _heart(body: Body, seconds: int) -> RecordHeart:
    contact, tenths, n = body.take("<HHB")
    body.within(contact, 0, (1 << seconds) - 1)
    body.within(n, 0, ENTRIES_MAX)
    return RecordHeart(
        contact=tuple(bool(contact >> i & 1) for i in range(seconds)),
        bpm=None if tenths == 0xFFFF else tenths / 10,
        beats=tuple(_beats(body.take(f"<{n}H"), TICKS_PER_S * seconds)),
    )


def _beats(entries: tuple[int, ...], before: int) -> list[tuple[int, int]]:
    beats: list[tuple[int, int]] = []
    place: int | None = None
    for entry in entries:
        if entry >= _PLACE:
            if place is not None:
                raise MalformedFrame("record", "order")
            place = entry - _PLACE
            continue
        if place is None and not beats:
            raise MalformedFrame("record", "order")  # an interval without a place
        end = beats[-1][0] + entry if place is None else place
        if end >= before or entry == 0:
            raise MalformedFrame("record", "range")
        if beats and end <= beats[-1][0]:
            raise MalformedFrame("record", "order")
        beats.append((end, entry))
        place = None
    if place is not None:
        raise MalformedFrame("record", "order")
    return beats


def _skin(body: Body, seconds: int) -> RecordSkin:
    hundredths, rate = body.take("<hB")
    body.within(rate, 1, 4)
    samples = body.take(f"<{rate * seconds}H")
    if hundredths != -0x8000:
        body.within(hundredths, -27315, 0x7FFF)
    return RecordSkin(
        celsius=None if hundredths == -0x8000 else hundredths / 100.0,
        rate=rate,
        nano_siemens=tuple(None if s == 0xFFFF else s for s in samples),
    )
