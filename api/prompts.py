"""When the page asks the two questions by itself: at random moments within the hours that a volunteer chose.

The chosen hours are cut into as many equal parts as there are questions a day, and each has its moment anywhere in its
part: spread, and not to be foreseen. The moments of a day follow from a seed and the day alone; time is passed in.
"""

from __future__ import annotations

import random
import secrets
from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, delete, insert, select, update

from api.tables import PROMPTS
from contracts.ports import TIMEZONE, Clock

PER_DAY_MAX: Final = 6
#: A question that was not answered so long is not asked any more: an answer is about a moment.
OPEN_S: Final = 3600


class Schedule(NamedTuple):
    """How often somebody wants to be asked, between which hours of the local day (first included, last not)."""

    per_day: int
    first_hour: int
    last_hour: int

    @property
    def fits(self) -> bool:
        """Whether this can be kept: 1 to PER_DAY_MAX questions, with at least an hour for each."""
        hours = self.last_hour - self.first_hour
        return (
            1 <= self.per_day <= PER_DAY_MAX and self.first_hour >= 0 and self.last_hour <= 24 and hours >= self.per_day
        )


class Prompts:
    """The schedules in the registry. Safe for threads."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def of(self, pseudonym: str) -> Schedule | None:
        """What somebody chose; None for never."""
        with self._engine.connect() as connection:
            row = connection.execute(select(PROMPTS).where(PROMPTS.c.pseudonym == pseudonym)).one_or_none()
        return None if row is None else Schedule(row.per_day, row.first_hour, row.last_hour)

    def choose(self, pseudonym: str, schedule: Schedule | None) -> None:
        """Keep a schedule, with moments of its own; None is never."""
        with self._engine.begin() as connection:
            connection.execute(delete(PROMPTS).where(PROMPTS.c.pseudonym == pseudonym))
            if schedule is not None:
                row = {"pseudonym": pseudonym, "seed": secrets.token_hex(16), **schedule._asdict()}
                connection.execute(insert(PROMPTS).values(row))

    def due(self, pseudonym: str) -> int | None:
        """The moment (unix seconds) of the question that is open now, if there is one."""
        now = self._clock.now()
        with self._engine.connect() as connection:
            row = connection.execute(select(PROMPTS).where(PROMPTS.c.pseudonym == pseudonym)).one_or_none()
        if row is None:
            return None
        schedule, today = Schedule(row.per_day, row.first_hour, row.last_hour), _local(now).date()
        open_ones = [m for m in moments(schedule, row.seed, today) if m <= now < m + OPEN_S]
        return next((m for m in open_ones[-1:] if row.answered_at is None or row.answered_at < m), None)

    def answered(self, pseudonym: str) -> None:
        """Somebody answered now, asked or not."""
        now = int(self._clock.now())
        with self._engine.begin() as connection:
            mine = PROMPTS.c.pseudonym == pseudonym
            connection.execute(update(PROMPTS).where(mine).values(answered_at=now))


def moments(schedule: Schedule, seed: str, day: date) -> list[int]:
    """The moments of a local day, unix seconds, in order."""
    chance = random.Random(f"{seed} {day.isoformat()}")  # noqa: S311  (not to be foreseen by a person; no secret)
    begin, end = (_instant(day, hour) for hour in (schedule.first_hour, schedule.last_hour))
    part = (end - begin) / schedule.per_day
    return [int(begin + (number + chance.random()) * part) for number in range(schedule.per_day)]


def _instant(day: date, hour: int) -> float:
    day, hour = (day + timedelta(days=1), 0) if hour == 24 else (day, hour)
    return datetime.combine(day, time(hour), ZoneInfo(TIMEZONE)).timestamp()


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, ZoneInfo(TIMEZONE))
