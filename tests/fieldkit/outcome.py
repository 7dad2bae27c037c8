"""What came of a field: whether every minute arrived once and as measured, and how long a band was left unread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, NamedTuple

from contracts.reading import MINUTE_S, Category, Reading
from firmware_sim.physiology import Samples
from tests.fieldkit.bands import START, FieldBand
from tests.fieldkit.expected import fast_path
from tests.fieldkit.town import CountingTown

#: Between two readings of a band, and before its first one; its own clock.
UNREAD_S_MAX: Final = 7_200.0
TOLERANCES: Final = {
    "hr": 0.1, "rmssd": 1.0, "sdnn": 0.5, "rr_coverage": 0.01, "worn": 0.0, "eda": 0.001, "skin_temp": 0.02,
    "motion": 0.002,
}  # fmt: skip


class Outcome(NamedTuple):
    """What came of it all."""

    bands: int
    expected: int  # minutes of all wearers
    arrived: int
    missing: int
    surplus: int  # minutes that nobody measured
    doubles: int
    answers_wrong: int
    values_wrong: int  # of the minutes that were compared
    compared: int
    unread_s_max: float  # the longest time between two readings of a band
    redelivered: int
    grown_bytes: int  # of the process that holds all of it but the broker, after a quarter of the time
    faults: dict[str, int]
    turns: dict[str, int]

    @property
    def exact(self) -> bool:
        """Whether every minute and answer arrived, once and as measured."""
        wrong = self.missing + self.surplus + self.doubles + self.answers_wrong + self.values_wrong
        return self.expected > 0 and wrong == 0

    @property
    def fair(self) -> bool:
        """Whether every band was read at least once per two hours of its clock."""
        return self.unread_s_max <= UNREAD_S_MAX


def count(bands: Sequence[FieldBand], town: CountingTown, end: int) -> Counter[str]:
    """What the town got of what the bands measured from START to `end` (unix s), by the names in Outcome."""
    counts: Counter[str] = Counter()
    for band in bands:
        whole = band.source.samples(START, end)
        expected = fast_path(whole, band.pseudonym, band.categories)
        blurred = {
            minute
            for first, last in band.off
            for minute in range((first - 70) // MINUTE_S * MINUTE_S, last + 70, MINUTE_S)
        }
        if band.off:
            blurred |= unsure(whole, band.categories)
        wanted = {one.minute for one in expected} - blurred
        got = town.minutes_of(band.pseudonym) - blurred
        counts.update(expected=len(wanted), arrived=len(got), missing=len(wanted - got), surplus=len(got - wanted))
        if not band.off:
            counts.update(_judge(band, town, expected, end))
    return counts


def unsure(whole: Samples, categories: Collection[Category]) -> set[int]:
    """The minutes that a second more or less decides about, as that in which a band is taken off.

    A clock that was set, as after a loss of power, is right to a second: it is told in whole seconds. Of one day of
    forty people with a heart rate this is a single minute.
    """
    there = _minutes(whole, categories)
    first, last = whole.start, whole.end - MINUTE_S
    late, early = (replace(whole, start=whole.start + by, beat_t=whole.beat_t + by, reports=()) for by in (1, -1))
    late_there = _minutes(late.cut(first + MINUTE_S, whole.end), categories)
    early_there = _minutes(early.cut(first, last), categories)
    return ((there ^ late_there) - {first}) | ((there ^ early_there) - {last})


def unread_s_max(bands: Sequence[FieldBand], seconds: int, now_s: float) -> float:
    """The longest time that a band was left unread, of those that began while it measured: `seconds` from 0 on."""
    return max(
        after - before
        for band in bands
        for before, after in pairwise([0.0, *band.emptied_at, *([] if band.done else [now_s])])
        if before < seconds
    )


def _minutes(samples: Samples, categories: Collection[Category]) -> set[int]:
    return {one.minute for one in fast_path(samples, "", categories)}


def _judge(band: FieldBand, town: CountingTown, expected: list[Reading], end: int) -> Counter[str]:
    """Answers, and for a watched band the values: what one lost record of ten seconds would change."""
    judged: Counter[str] = Counter()
    if Category.SELF_REPORT in band.categories:
        given = Counter(answer.at for answer in band.source.samples(START, end).reports)
        judged["answers_wrong"] = (given - town.answers_of(band.pseudonym)).total()
    got = town.watched.get(band.pseudonym, {})
    for one in expected:
        if one.minute in got:
            judged["compared"] += 1
            judged["values_wrong"] += not _same(got[one.minute], one)
    return judged


def _same(got: Reading, wanted: Reading) -> bool:
    for name, tolerance in TOLERANCES.items():
        here, there = getattr(got, name), getattr(wanted, name)
        if (here is None) != (there is None) or (here is not None and abs(here - there) > tolerance + 1e-9):
            return False
    return True
