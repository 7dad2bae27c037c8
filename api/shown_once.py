"""A recovery code is shown until its owner has written it down, for a quarter of an hour at most, to one log-in alone.

A page that answers a form cannot be loaded again, and a code that was seen once may not have been seen. So it is kept
until then, sealed: Fernet of the library `cryptography`, by a key that HKDF derives from the session's token. The
registry has that token's hash alone, so that nobody reads a code there; the row goes with the session.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Engine, delete, insert, select

from api.accounts import session_hash
from api.tables import WEB_SHOWN_ONCE
from contracts.ports import Clock

SHOWN_S: Final = 900


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written down."""

    words: str  # the recovery code
    code: str = ""  # the claim code of who just began; empty for who has it already
    until: int  # unix seconds


class ShownOnce:
    """The recovery codes that are still shown, at most one for each session. Safe for threads."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def keep(self, token: str, *, words: str, code: str = "") -> None:
        """Show this to the session of this token from now on."""
        now = int(self._clock.now())
        shown = Shown(words=words, code=code, until=now + SHOWN_S)
        sealed = _box(token).encrypt_at_time(msgspec.json.encode(shown), now).decode()
        row = {"session": session_hash(token), "sealed": sealed, "until": shown.until}
        with self._engine.begin() as connection:
            connection.execute(delete(WEB_SHOWN_ONCE).where(WEB_SHOWN_ONCE.c.until <= now))
            connection.execute(insert(WEB_SHOWN_ONCE).values(row))

    def of(self, token: str) -> Shown | None:
        """What this session is still shown. None when it is written down, too late, or not this session's."""
        now = int(self._clock.now())
        mine = (WEB_SHOWN_ONCE.c.session == session_hash(token)) & (WEB_SHOWN_ONCE.c.until > now)
        with self._engine.connect() as connection:
            sealed = connection.scalar(select(WEB_SHOWN_ONCE.c.sealed).where(mine))
        if sealed is None:
            return None
        try:
            return msgspec.json.decode(_box(token).decrypt_at_time(sealed, SHOWN_S, now), type=Shown)
        except (InvalidToken, msgspec.DecodeError):  # of another session, or changed: it is not shown
            return None

    def forget(self, token: str) -> None:
        """It is written down: from now on nobody is shown it. Repeatable."""
        with self._engine.begin() as connection:
            connection.execute(delete(WEB_SHOWN_ONCE).where(WEB_SHOWN_ONCE.c.session == session_hash(token)))


def _box(token: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"wijkpols shown once 1").derive(token.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
