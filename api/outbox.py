"""What the broker must hear: the current message of each band, and which of them it has not acknowledged yet.

The ledger puts a row into the outbox in the same transaction as the choice, so that a crash in between is made good.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Engine, delete, select

from api.records import ConsentRecord, message_of, parse
from api.tables import BANDS, CONSENT_EVENTS, CONSENT_OUTBOX, RETIRED_BANDS, VOLUNTEERS
from contracts.consent import ConsentMessage, ConsentState

_LOG = logging.getLogger(__name__)
_NOBODY: Final = "a" * 26
#: A band's token and its message.
Addressed = tuple[str, ConsentMessage]


class ConsentOutbox:
    """The consent messages of bands that somebody wears, in the order of their tokens. Safe for threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def message_for(self, token: str) -> ConsentMessage | None:
        """What the retained message of a band must say; None when nobody wears it."""
        return next((message for _, message in self._messages(BANDS.c.token == token, 1)), None)

    def all_after(self, token: str, *, limit: int = 500) -> list[Addressed]:
        """The messages of the bands whose tokens come after this one."""
        return self._messages(BANDS.c.token > token, limit)

    def unsent(self, *, limit: int = 500) -> list[Addressed]:
        """The messages that the broker has not acknowledged yet."""
        return self._messages(BANDS.c.token.in_(select(CONSENT_OUTBOX.c.token)), limit)

    def empty(self) -> bool:
        """Whether the broker has heard everything."""
        with self._engine.connect() as connection:
            return connection.scalar(select(CONSENT_OUTBOX.c.token).limit(1)) is None

    def mark_sent(self, sent: list[tuple[str, int]]) -> None:
        """The broker has these (token, revision); a newer choice stays in the outbox."""
        if not sent:
            return
        with self._engine.begin() as connection:
            for token, revision in sent:
                heard = (CONSENT_OUTBOX.c.token == token) & (CONSENT_OUTBOX.c.revision <= revision)
                connection.execute(delete(CONSENT_OUTBOX).where(heard))

    def _messages(self, which: ColumnElement[bool], limit: int) -> list[Addressed]:
        query = (
            select(
                BANDS.c.token, BANDS.c.pseudonym, CONSENT_EVENTS.c.seq, CONSENT_EVENTS.c.body, RETIRED_BANDS.c.revision
            )
            .outerjoin(VOLUNTEERS, VOLUNTEERS.c.pseudonym == BANDS.c.pseudonym)
            .outerjoin(CONSENT_EVENTS, CONSENT_EVENTS.c.seq == VOLUNTEERS.c.last_event)
            .outerjoin(RETIRED_BANDS, RETIRED_BANDS.c.token == BANDS.c.token)
            .where(which, BANDS.c.pseudonym.is_not(None) | RETIRED_BANDS.c.token.is_not(None))
            .order_by(BANDS.c.token)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        found = []
        for row in rows:
            if row.pseudonym is None:
                found.append((row.token, left_behind(row.revision)))
                continue
            try:
                found.append((row.token, message_out_of(row.seq, row.body)))
            except (LookupError, msgspec.DecodeError):  # one spoilt event must not hold up others' withdrawals
                _LOG.error("event %d of the consent ledger cannot be read: run 'wijkpols consent verify'", row.seq)
        return found


def left_behind(revision: int) -> ConsentMessage:
    """The message of a band whose wearer went on with another one. It names nobody: the wearer goes on."""
    return ConsentMessage(revision=revision, state=ConsentState.WITHDRAWN, pseudonym=_NOBODY)


def message_out_of(seq: int, body: str) -> ConsentMessage:
    """The message of an event in the ledger; its place is the revision, which therefore rises and is never reused."""
    record = parse(body)
    if isinstance(record, ConsentRecord):
        return message_of(record, seq)
    raise LookupError("a volunteer's last word is not a choice: run 'wijkpols consent verify'")
