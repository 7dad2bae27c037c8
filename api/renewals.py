"""Consent that no longer stands: the notice changed, or six months went by. Said in the ledger, and so to everybody.

A consent that ended covers nothing in any case (`valid_until`). One to an older notice does until it is ended here;
this runs before the API publishes anything, and each minute after.
"""

from __future__ import annotations

import math
import uuid
from typing import Final

import msgspec
from sqlalchemy import Engine, insert, select

from api import chain, last_words
from api.notices import LANGUAGES, Notices
from api.records import ConsentRecord, Event, parse
from api.tables import CONSENT_EVENTS, META, VOLUNTEERS
from contracts.ports import Clock, Fault

#: The volunteer's pages remind from so many days before the end on.
REMINDER_DAYS: Final = 30


class Renewals:
    """Ends what must be renewed first. Safe for threads; several processes may do it at once."""

    def __init__(self, engine: Engine, *, clock: Clock, notices: Notices) -> None:
        self._engine = engine
        self._clock = clock
        self._notices = notices

    def hold_texts(self) -> None:
        """See that each version is still the text that it was. Raises Fault when it was edited under its old name."""
        known = {(n.language, n.version): n.sha256 for n in map(self._notices.of, LANGUAGES)}
        with self._engine.begin() as connection:
            for (language, version), sha256 in known.items():
                name = f"notice {language} {version}"
                held = connection.scalar(select(META.c.value).where(META.c.name == name))
                if held is None:
                    connection.execute(insert(META).values(name=name, value=sha256))
                elif held != sha256:
                    raise Fault(
                        f"the notice {language}.md was edited and is still called version {version}: give it a new "
                        "version, and name the old one behind 'holds:' if nothing changed for people"
                    )

    def sweep(self) -> int:
        """End every consent that no longer stands; how many those were."""
        return sum(self._end(pseudonym) for pseudonym in self._outdated())

    def why(self, record: ConsentRecord) -> Event | None:
        """What became of a consent that stands no longer; None while it does."""
        if not record.stands:
            return None
        if record.notice.version not in self._notices.holding:
            return Event.INVALIDATED
        return Event.EXPIRED if self._clock.now() >= record.valid_until else None

    def days_left(self, record: ConsentRecord) -> int | None:
        """Whole days until a standing consent ends, when it is time to say so."""
        left = (record.valid_until - self._clock.now()) / 86_400
        return math.ceil(left) if record.stands and left <= REMINDER_DAYS else None

    def _outdated(self) -> list[str]:
        query = select(CONSENT_EVENTS.c.body).join(VOLUNTEERS, VOLUNTEERS.c.last_event == CONSENT_EVENTS.c.seq)
        with self._engine.connect() as connection:
            found = []
            for body in connection.scalars(query):
                try:
                    record = parse(body)
                except msgspec.DecodeError:
                    continue  # a spoilt event covers nothing; `consent verify` says where it is
                if isinstance(record, ConsentRecord) and self.why(record) is not None:
                    found.append(record.principal_id)
        return found

    def _end(self, pseudonym: str) -> bool:
        with self._engine.begin() as connection:
            link = chain.next_link(connection)
            record = last_words.current(connection, pseudonym)
            event = self.why(record)
            if event is None:  # another process was first, or the volunteer was
                return False
            at = max(math.ceil(self._clock.now()), record.at)
            ended = msgspec.structs.replace(
                record, record_id=str(uuid.uuid4()), event=event, at=at, purposes={}, valid_from=at, valid_until=at
            )
            last_words.write(connection, link, ended)
        return True
