"""A way back for who lost leaflet, password and recovery words, and still has the band: a sheet that staff prints.

Nobody can tell such a person from a thief. So the sheet opens nothing for three days, and in those days whoever is
logged in sees it on the own page and can make it worthless with one tap. The old code and password work until then.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Engine, delete, insert, select, update

from api.accounts import Accounts, Prepared
from api.ledger import Ledger, new_claim_code
from api.tables import BANDS, RECOVERIES, WEB_SECRETS
from contracts.ports import Clock

WAIT_S: Final = 3 * 86_400
USABLE_S: Final = 14 * 86_400


class Sheet(NamedTuple):
    """What is printed, once."""

    code: str
    words: str
    usable_from: int  # unix seconds
    usable_until: int  # unix seconds


class Recoveries:
    """The sheets that were printed and not used yet. Safe for threads."""

    def __init__(self, engine: Engine, *, clock: Clock, accounts: Accounts, ledger: Ledger) -> None:
        self._engine = engine
        self._clock = clock
        self._accounts = accounts
        self._ledger = ledger

    def print_for(self, pseudonym: str) -> Sheet:
        """A new sheet, in the place of one from before."""
        code, (words, kept) = new_claim_code(), self._accounts.new_words()
        begin = int(self._clock.now()) + WAIT_S
        sheet = Sheet(code, words, begin, begin + USABLE_S)
        row = {"pseudonym": pseudonym, "claim_hmac": self._ledger.claim_key(code), "words": kept}
        with self._engine.begin() as connection:
            connection.execute(delete(RECOVERIES).where(RECOVERIES.c.pseudonym == pseudonym))
            connection.execute(insert(RECOVERIES).values(usable_from=begin, usable_until=sheet.usable_until, **row))
        return sheet

    def waiting(self, pseudonym: str) -> int | None:
        """From when (unix seconds) a sheet for this volunteer works; None when there is none."""
        usable = (RECOVERIES.c.pseudonym == pseudonym) & (RECOVERIES.c.usable_until > self._clock.now())
        with self._engine.connect() as connection:
            return connection.scalar(select(RECOVERIES.c.usable_from).where(usable))

    def known_code(self, claim_code: str) -> bool:
        """Whether a sheet has this claim code, usable now or not."""
        sealed = self._ledger.claim_key(claim_code)
        with self._engine.connect() as connection:
            found = select(RECOVERIES.c.pseudonym).where(RECOVERIES.c.claim_hmac == sealed)
            return connection.scalar(found) is not None

    def refuse(self, pseudonym: str) -> None:
        """Make a sheet worthless. Repeatable."""
        with self._engine.begin() as connection:
            connection.execute(delete(RECOVERIES).where(RECOVERIES.c.pseudonym == pseudonym))

    def redeem(self, code: str, words: str, secret: str) -> tuple[str, Prepared] | None:
        """Use a sheet: its code becomes the band's, and all log-ins end. None unless code, words and time are right."""
        now, sealed = self._clock.now(), self._ledger.claim_key(code)
        usable = (RECOVERIES.c.claim_hmac == sealed) & (RECOVERIES.c.usable_from <= now)
        with self._engine.connect() as connection:
            query = select(RECOVERIES).where(usable, RECOVERIES.c.usable_until > now)
            row = connection.execute(query).one_or_none()
        prepared = self._accounts.prepare(secret)  # in any case, so that a code that is nobody's takes as long
        if not self._accounts.right_words(None if row is None else row.words, words) or row is None:
            return None
        with self._engine.begin() as connection:
            mine = RECOVERIES.c.pseudonym == row.pseudonym
            if connection.execute(delete(RECOVERIES).where(mine, RECOVERIES.c.claim_hmac == sealed)).rowcount != 1:
                return None  # used twice at one time, or refused just now
            self._accounts.end_log_ins(connection, row.pseudonym)
            connection.execute(delete(WEB_SECRETS).where(WEB_SECRETS.c.pseudonym == row.pseudonym))
            self._accounts.write(connection, row.pseudonym, prepared)
            worn = BANDS.c.pseudonym == row.pseudonym
            connection.execute(update(BANDS).where(worn).values(claim_hmac=sealed))
        return str(row.pseudonym), prepared
