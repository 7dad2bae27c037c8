"""Which days the demonstration plays: whole local days that end last midnight, the same for two runs on one day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from contracts.ports import TIMEZONE

ZONE: Final = ZoneInfo(TIMEZONE)
#: Raw readings are kept 35 days; what is played must still be inside when the last day is.
DAYS_MAX: Final = 33
_REPLAY_HOUR: Final = time(10, 0)
#: After the played evenings have ended, so that no minute of a band is both played and heard.
_RADIO_HOUR: Final = time(23, 0)


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """The days that are played, and when what comes over the radio took place on the bands' clocks."""

    first: date
    until: date  # exclusive: today
    replay_start: int  # unix seconds, a whole minute
    radio_start: int  # unix seconds, a whole minute

    @property
    def start(self) -> int:
        """Unix seconds of the first local midnight."""
        return midnight(self.first)

    @property
    def days(self) -> list[date]:
        """Each day that is played."""
        return [self.first + timedelta(days=i) for i in range((self.until - self.first).days)]


def timeline(now: float, days: int, *, replay: bool) -> Timeline:
    """The timeline of a demonstration that starts at `now` (unix seconds).

    Recordings are placed on the Sunday of the last complete ISO week, at 10:00, so that a daily and a weekly window
    can both hold them; the days played then reach back to that week's Monday at least.
    """
    today = datetime.fromtimestamp(now, ZONE).date()
    sunday = today - timedelta(days=today.isoweekday())
    if replay:
        days = max(days, (today - sunday).days + 6)
    first = today - timedelta(days=days)
    return Timeline(
        first=first,
        until=today,
        replay_start=_at(sunday, _REPLAY_HOUR),
        radio_start=_at(today - timedelta(days=1), _RADIO_HOUR),
    )


def midnight(day: date) -> int:
    """Unix seconds of the local midnight with which a day begins."""
    return _at(day, time(0, 0))


def _at(day: date, hour: time) -> int:
    return int(datetime.combine(day, hour, ZONE).astimezone(UTC).timestamp())
