"""What a page shows of an area's newest week: the reasons given, and calm by hours of the day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from api.schemas import rounded
from api.sources import ReleaseSource
from contracts.release import ProfileBlock, ReasonCount

#: The newest week is looked for in so many seconds.
_RECENT_S: Final = 8 * 7 * 86_400
#: The ends of a profile's scale, in points.
SCALE: Final = 10.0

_Weekly = TypeVar("_Weekly", ReasonCount, ProfileBlock)


class Bar(NamedTuple):
    """A figure with its margin on a scale, in percent of the width."""

    low: float
    middle: float
    high: float


class ReasonRow(NamedTuple):
    """A reason of the newest week."""

    told: ReasonCount
    bar: Bar | None  # None when it is withheld


class HourRow(NamedTuple):
    """Three hours of the newest week."""

    block: ProfileBlock
    value: float  # rounded
    margin: float
    bar: Bar


def newest_reasons(source: ReleaseSource, code: str, *, now: float) -> list[ReasonRow]:
    """The reasons of a district's newest week in the order of the public list; none when there is no week yet."""
    counts = _newest(source.reasons(districts=(code,), start=int(now) - _RECENT_S))
    most = max((count.people + (count.margin or 0) for count in counts if count.people is not None), default=1.0)

    def bar(count: ReasonCount) -> Bar | None:
        return None if count.people is None else _bar(count.people, count.margin or 0.0, 0.0, most)

    return [ReasonRow(count, bar(count)) for count in counts]


def newest_hours(source: ReleaseSource, code: str, *, now: float) -> tuple[ProfileBlock | None, list[HourRow]]:
    """A district's newest week by hours: one block of it, and its rows; no rows when the week is withheld."""
    blocks = _newest(source.profiles(districts=(code,), start=int(now) - _RECENT_S))
    rows = [
        HourRow(block, rounded(block.value) or 0.0, rounded(block.margin) or 0.0,
                _bar(block.value, block.margin or 0.0, -SCALE, SCALE))
        for block in sorted(blocks, key=lambda block: block.from_hour)
        if block.value is not None
    ]  # fmt: skip
    return (blocks[0] if blocks else None), rows


def _newest(figures: Sequence[_Weekly]) -> list[_Weekly]:
    last = max(((one.end, one.method) for one in figures), default=None)
    return [one for one in figures if (one.end, one.method) == last]


def _bar(value: float, margin: float, low: float, high: float) -> Bar:
    def place(at: float) -> float:
        return round(100 * (min(max(at, low), high) - low) / (high - low), 1)

    return Bar(place(value - margin), place(value), place(value + margin))
