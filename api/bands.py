"""The association's side of the bands: which ones are free, whose one is, and a band for the next wearer."""

from __future__ import annotations

import itertools

from sqlalchemy import delete, select, update

from api import chain, erasures, last_words
from api.accounts import Accounts
from api.ledger import Ledger, LedgerRefusal, Refusal, new_claim_code
from api.tables import (
    ADDRESSES,
    BANDS,
    CONSENT_OUTBOX,
    PROMPTS,
    RECOVERIES,
    WEB_SECRETS,
)
from contracts.consent import band_token


class Bands:
    """Bands by serial number. The registry knows them by keyed hash alone."""

    def __init__(self, ledger: Ledger, *, band_key: bytes) -> None:
        self._ledger = ledger
        self._engine = ledger.engine
        self._band_key = band_key

    def new_serials(self, count: int) -> list[str]:
        """The first serial numbers WP-000001, … that no band has."""
        with self._engine.connect() as connection:
            held = set(connection.scalars(select(BANDS.c.token)))
        every = (f"WP-{number:06}" for number in itertools.count(1))
        return list(itertools.islice((s for s in every if band_token(self._band_key, s) not in held), count))

    def wearer(self, serial: str) -> str | None:
        """Who wears the band of this serial number."""
        with self._engine.connect() as connection:
            return last_words.wearer(connection, band_token(self._band_key, serial))

    def release(self, serial: str) -> str:
        """Take a band from who stopped, for the next wearer; returns its new claim code, which is shown once.

        Raises LedgerRefusal: CLAIM while somebody wears it; ERASURE_OPEN while an erasure is under way or the broker
        has not heard of the withdrawal, for without a wearer the band has no message any more.
        """
        token, code = band_token(self._band_key, serial), new_claim_code()
        with self._engine.begin() as connection:
            chain.next_link(connection)
            pseudonym = last_words.wearer(connection, token)
            if pseudonym is None or last_words.current(connection, pseudonym).stands:
                raise LedgerRefusal(Refusal.CLAIM)
            waiting = select(CONSENT_OUTBOX.c.token).where(CONSENT_OUTBOX.c.token == token)
            if connection.scalar(waiting) is not None or erasures.under_way(connection, pseudonym):
                raise LedgerRefusal(Refusal.ERASURE_OPEN)
            sealed = self._ledger.claim_key(code)
            connection.execute(update(BANDS).where(BANDS.c.token == token).values(pseudonym=None, claim_hmac=sealed))
            Accounts.end_log_ins(connection, pseudonym)
            for table in (WEB_SECRETS, RECOVERIES, ADDRESSES, PROMPTS):
                connection.execute(delete(table).where(table.c.pseudonym == pseudonym))
        return code
