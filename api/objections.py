"""What volunteers object to, and what the municipality answered (GDPR art. 21 and 12(3)).

An objection is one of a few subjects and a date: no free text, for that would hold names. Who reads one sees no
pseudonym; the answer appears on the volunteer's own page.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Engine, func, insert, select, update

from api.tables import OBJECTIONS
from contracts.ports import Clock

ANSWER_LETTERS_MAX: Final = 500
#: Days within which the law wants an answer (a month, GDPR art. 12(3)).
ANSWER_DAYS: Final = 30
_OPEN_MAX: Final = 10  # of one volunteer


class Subject(StrEnum):
    """What an objection can be about."""

    FIGURE = "figure"
    RESEARCH = "research"
    LOOK = "look"
    TREATMENT = "treatment"


class Objection(NamedTuple):
    """One objection; `answered_at` is None until the municipality has answered."""

    number: int
    subject: Subject
    made_at: int  # unix seconds
    answered_at: int | None
    answer: str


class Objections:
    """The objections in the registry. Safe for threads."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def make(self, pseudonym: str, subject: Subject) -> bool:
        """Keep an objection; False when too many of this volunteer wait for an answer."""
        waiting = (OBJECTIONS.c.pseudonym == pseudonym) & OBJECTIONS.c.answered_at.is_(None)
        with self._engine.begin() as connection:
            if (connection.scalar(select(func.count()).select_from(OBJECTIONS).where(waiting)) or 0) >= _OPEN_MAX:
                return False
            now = int(self._clock.now())
            connection.execute(insert(OBJECTIONS).values(pseudonym=pseudonym, subject=subject.value, made_at=now))
        return True

    def of(self, pseudonym: str) -> list[Objection]:
        """One volunteer's, oldest first."""
        return self._found(OBJECTIONS.c.pseudonym == pseudonym)

    def waiting(self) -> list[Objection]:
        """Everybody's that wait for an answer, oldest first."""
        return self._found(OBJECTIONS.c.answered_at.is_(None))

    def answer(self, number: int, text: str) -> str | None:
        """Answer one, once; whose it was, for the access log. None when no such one waits."""
        open_one = (OBJECTIONS.c.id == number) & OBJECTIONS.c.answered_at.is_(None)
        answered = update(OBJECTIONS).where(open_one).values(answered_at=int(self._clock.now()), answer=text)
        with self._engine.begin() as connection:
            whose: str | None = connection.scalar(answered.returning(OBJECTIONS.c.pseudonym))
        return whose

    def _found(self, which: ColumnElement[bool]) -> list[Objection]:
        query = select(OBJECTIONS).where(which).order_by(OBJECTIONS.c.id)
        with self._engine.connect() as connection:
            return [
                Objection(row.id, Subject(row.subject), row.made_at, row.answered_at, row.answer or "")
                for row in connection.execute(query)
            ]
