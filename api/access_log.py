"""Who looked at what, and why: public, without the person who was looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from sqlalchemy import Engine, and_, func, insert, select, update

from api.tables import ACCESS_LOG
from contracts.consent import Purpose
from contracts.ports import Clock

Role = Literal["volunteer", "staff", "analytics"]


class PublicEntry(NamedTuple):
    """How often a role asked a dataset for a purpose on a day."""

    day: str  # ISO date, UTC
    role: str
    purpose: str
    dataset: str
    times: int


class OwnEntry(NamedTuple):
    """How often somebody's own data was read by a role for a purpose on a day."""

    day: str
    role: str
    purpose: str
    dataset: str
    times: int


class AccessLog:
    """The access log in the registry. It is written before the data is given."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def record(self, *, role: Role, purpose: str, dataset: str, pseudonym: str | None = None) -> None:
        """Write down one access. `pseudonym` is whose data it was; only that volunteer sees it.

        A day's accesses of one kind are one row with a count, so that nobody fills the log by reloading a page.
        """
        row = {"day": self._today(), "role": role, "purpose": purpose, "dataset": dataset, "pseudonym": pseudonym}
        same = and_(*(ACCESS_LOG.c[name] == value for name, value in row.items()))  # None: IS NULL, by the index
        # Two processes may both make the first row: then one of them counts on, and readers add up.
        counted = select(func.min(ACCESS_LOG.c.id)).where(same).scalar_subquery()
        with self._engine.begin() as connection:
            again = update(ACCESS_LOG).where(ACCESS_LOG.c.id == counted).values(times=ACCESS_LOG.c.times + 1)
            if connection.execute(again).rowcount == 0:
                connection.execute(insert(ACCESS_LOG).values(row))

    def record_analytics(self, purpose: Purpose) -> None:
        """Analytics is about to read what everybody said yes to for a purpose: one line a day, not counted."""
        today = self._today()
        mine = (ACCESS_LOG.c.day == today) & (ACCESS_LOG.c.role == "analytics")
        query = select(ACCESS_LOG.c.id).where(mine, ACCESS_LOG.c.purpose == purpose.value).limit(1)
        with self._engine.connect() as connection:
            written = connection.scalar(query) is not None
        if not written:
            self.record(role="analytics", purpose=purpose.value, dataset="readings")

    def public(self, *, limit: int) -> list[PublicEntry]:
        """The newest days first."""
        what = (ACCESS_LOG.c.day, ACCESS_LOG.c.role, ACCESS_LOG.c.purpose, ACCESS_LOG.c.dataset)
        query = (
            select(*what, func.sum(ACCESS_LOG.c.times))
            .group_by(*what)
            .order_by(ACCESS_LOG.c.day.desc(), *what[1:])
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [PublicEntry(*row) for row in connection.execute(query)]

    def own(self, pseudonym: str) -> list[OwnEntry]:
        """When this volunteer's data was read, oldest day first, with all the days on which analytics ran.

        Analytics reads everybody's at once. Whether somebody was covered on such a day, the own choices say.
        """
        what = (ACCESS_LOG.c.day, ACCESS_LOG.c.role, ACCESS_LOG.c.purpose, ACCESS_LOG.c.dataset)
        query = select(*what, func.sum(ACCESS_LOG.c.times)).group_by(*what)
        whose = (ACCESS_LOG.c.pseudonym == pseudonym) | (ACCESS_LOG.c.role == "analytics")
        query = query.where(whose).order_by(func.min(ACCESS_LOG.c.id))
        with self._engine.connect() as connection:
            return [OwnEntry(*row) for row in connection.execute(query)]

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).date().isoformat()
