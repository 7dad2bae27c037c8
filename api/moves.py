"""A volunteer who moves house, or goes on with another band: pseudonym and history stay.

Both are a new record from now on, with the same choice and the same end: nobody is renewed by moving. A band that was
left is told withdrawn under nobody's name, so that whoever finds it measures nothing, and its old code opens nothing.
"""

from __future__ import annotations

import math
import uuid
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from api import chain, erasures, last_words, pacing
from api.ledger import Ledger, LedgerRefusal, Refusal, new_claim_code
from api.records import ConsentRecord
from api.tables import BANDS, CONSENT_OUTBOX, RETIRED_BANDS
from contracts.ports import Clock

_LEFT: Final = "no longer worn"


class Moves:
    """Moves of volunteers who are logged in. Safe for threads: each call is one transaction of the ledger."""

    def __init__(self, ledger: Ledger, *, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def to_district(self, pseudonym: str, district: str) -> ConsentRecord:
        """Another district of enrolment, for whoever takes part. Raises LedgerRefusal."""
        if not self._ledger.known_district(district):
            raise LedgerRefusal(Refusal.DISTRICT)
        with self._ledger.engine.begin() as connection:
            link = chain.next_link(connection)
            current = self._current(connection, pseudonym)
            if not current.stands:
                raise LedgerRefusal(Refusal.STOPPED)
            if current.district == district:
                return current
            if (free_from := pacing.free_from(connection, pseudonym)) > self._clock.now():
                raise LedgerRefusal(Refusal.TOO_OFTEN, free_from=free_from)
            # No choice: a stop by the band that comes late still counts.
            record = self._again(current, district=district, chosen_at=current.chosen_at or current.valid_from)
            last_words.write(connection, link, record)
        return record

    def to_band(self, pseudonym: str, claim_code: str) -> ConsentRecord:
        """On with the band of this claim code, which waits for somebody; the bands worn until now are left.

        The new code is the one to log in with. Raises LedgerRefusal: CLAIM, or ERASURE_OPEN while an erasure is under
        way, for its message goes by the old band.
        """
        mine = (BANDS.c.claim_hmac == self._ledger.claim_key(claim_code)) & BANDS.c.pseudonym.is_(None)
        with self._ledger.engine.begin() as connection:
            link = chain.next_link(connection)
            current = self._current(connection, pseudonym)
            token = connection.scalar(select(BANDS.c.token).where(mine))
            if token is None:
                raise LedgerRefusal(Refusal.CLAIM)
            left = list(connection.scalars(select(BANDS.c.token).where(BANDS.c.pseudonym == pseudonym)))
            connection.execute(delete(RETIRED_BANDS).where(RETIRED_BANDS.c.token == token))
            connection.execute(update(BANDS).where(BANDS.c.token == token).values(pseudonym=pseudonym))
            for old in left:
                unknown = self._ledger.claim_key(f"{_LEFT} {new_claim_code()}")
                connection.execute(update(BANDS).where(BANDS.c.token == old).values(pseudonym=None, claim_hmac=unknown))
                connection.execute(insert(RETIRED_BANDS).values(token=old, revision=link.seq))
                connection.execute(delete(CONSENT_OUTBOX).where(CONSENT_OUTBOX.c.token == old))
                connection.execute(insert(CONSENT_OUTBOX).values(token=old, revision=link.seq))
            record = self._again(current)
            last_words.write(connection, link, record)
        return record

    def _current(self, connection: Connection, pseudonym: str) -> ConsentRecord:
        if erasures.under_way(connection, pseudonym):
            raise LedgerRefusal(Refusal.ERASURE_OPEN)
        return last_words.current(connection, pseudonym)

    def _again(self, current: ConsentRecord, **changes: str | int) -> ConsentRecord:
        # From now on: another band may remember somebody else's minutes, another district others' windows.
        at = max(math.ceil(self._clock.now()), current.at)
        until = current.valid_until if current.stands else at
        return msgspec.structs.replace(
            current,
            record_id=str(uuid.uuid4()),
            at=at,
            valid_from=at,
            valid_until=until,
            erase=False,
            keep=(),
            erase_before=0,
            **{"chosen_at": 0, **changes},
        )
