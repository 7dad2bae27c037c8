"""Logging in to the volunteer's pages: the claim code of the band, and a secret that the volunteer chose.

Neither needs a name or an e-mail address. A lost device is no loss: code and secret work on any other. A lost secret is
made good with the code and the recovery words that were shown once. Kept are scrypt hashes (RFC 7914) and hashes of
session tokens.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import unicodedata
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, delete, insert, select, update

from api.tables import BEARER_TOKENS, PASSKEYS, WEB_SECRETS, WEB_SESSIONS
from contracts.ports import Clock

SECRET_LETTERS_MIN: Final = 8
SECRET_LETTERS_MAX: Final = 200
SESSION_S: Final = 12 * 3600
_SESSIONS_MAX: Final = 10  # of one volunteer; the oldest ends
_AT_ONCE: Final = 2  # hashes: each takes 16 MiB and a processor
_LETTERS_DISTINCT_MIN: Final = 4


class Cost(NamedTuple):
    """What one hash costs (OWASP Password Storage Cheat Sheet: N=2^14, r=8, p=5)."""

    n: int = 2**14
    r: int = 8
    p: int = 5


class Prepared(NamedTuple):
    """A chosen secret, hashed, and the recovery words that are shown once."""

    secret: str
    recovery: str
    words: str


class Accounts:
    """Secrets and sessions of the volunteers' pages. Safe for threads."""

    def __init__(self, engine: Engine, *, clock: Clock, cost: Cost | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._cost = cost or Cost()
        self._hashing = threading.BoundedSemaphore(_AT_ONCE)
        # Checked when there is no such volunteer, so that an unknown code takes as long as a known one.
        self._nobody = self._encoded(secrets.token_bytes(16), secrets.token_bytes(32))

    def prepare(self, secret: str) -> Prepared:
        """Hash a secret, outside of any transaction: it takes a while."""
        words, recovery = self.new_words()
        return Prepared(self._hash(_plain(secret)), recovery, words)

    @staticmethod
    def write(connection: Connection, pseudonym: str, prepared: Prepared) -> None:
        """Keep a secret in the transaction of an enrolment."""
        connection.execute(
            insert(WEB_SECRETS).values(pseudonym=pseudonym, secret=prepared.secret, recovery=prepared.recovery)
        )

    @staticmethod
    def end_log_ins(connection: Connection, pseudonym: str) -> None:
        """End all that opens somebody's data without a secret: sessions, passkeys, and the token of the API."""
        for table in (WEB_SESSIONS, PASSKEYS, BEARER_TOKENS):
            connection.execute(delete(table).where(table.c.pseudonym == pseudonym))

    def log_in(self, pseudonym: str | None, secret: str) -> str | None:
        """A session's token when the secret is right; `pseudonym` is None when the claim code is nobody's."""
        kept = self._kept(pseudonym)
        right = self._right(kept[0], _plain(secret))
        return self.open(pseudonym) if right and pseudonym is not None else None

    def recover(self, pseudonym: str | None, words: str, secret: str) -> Prepared | None:
        """Put a new secret in the place of a lost one; all sessions end. None when the words are not right."""
        kept = self._kept(pseudonym)
        right, prepared = self._right(kept[1], _letters(words)), self.prepare(secret)
        if not right or pseudonym is None:
            return None
        with self._engine.begin() as connection:
            # The old hash in the condition: recovery words work once, also when they come twice at one time.
            changed = connection.execute(
                update(WEB_SECRETS)
                .where(WEB_SECRETS.c.pseudonym == pseudonym, WEB_SECRETS.c.recovery == kept[1])
                .values(secret=prepared.secret, recovery=prepared.recovery)
            )
            self.end_log_ins(connection, pseudonym)  # who needs recovery words may have lost more than a password
        return prepared if changed.rowcount else None

    def renew_words(self, pseudonym: str, secret: str) -> Prepared | None:
        """Other recovery words for who knows the secret. None when it is not right."""
        kept = self._kept(pseudonym)
        if not self._right(kept[0], _plain(secret)):
            return None
        words, recovery = self.new_words()
        with self._engine.begin() as connection:
            mine = WEB_SECRETS.c.pseudonym == pseudonym
            connection.execute(update(WEB_SECRETS).where(mine).values(recovery=recovery))
        return Prepared(kept[0], recovery, words)

    def new_words(self) -> tuple[str, str]:
        """Recovery words, and what is kept of them."""
        words = recovery_words()
        return words, self._hash(_letters(words))

    def right_words(self, kept: str | None, words: str) -> bool:
        """Whether these are the words of which `kept` was kept. With None it takes as long, and is False."""
        return self._right(kept or self._nobody, _letters(words)) and kept is not None

    # Sessions

    def open(self, pseudonym: str) -> str:
        """A new session's token, kept as a hash."""
        token, now = secrets.token_urlsafe(32), int(self._clock.now())
        with self._engine.begin() as connection:
            connection.execute(
                insert(WEB_SESSIONS).values(hash=session_hash(token), pseudonym=pseudonym, expires_at=now + SESSION_S)
            )
            connection.execute(delete(WEB_SESSIONS).where(WEB_SESSIONS.c.expires_at <= now))
            mine = select(WEB_SESSIONS.c.hash).where(WEB_SESSIONS.c.pseudonym == pseudonym)
            newest = list(connection.scalars(mine.order_by(WEB_SESSIONS.c.expires_at.desc())))
            surplus = [found for found in newest[_SESSIONS_MAX:] if found != session_hash(token)]
            connection.execute(delete(WEB_SESSIONS).where(WEB_SESSIONS.c.hash.in_(surplus)))
        return token

    def pseudonym_of(self, token: str) -> str | None:
        """Whose session this is, while it lasts."""
        query = select(WEB_SESSIONS.c.pseudonym).where(
            WEB_SESSIONS.c.hash == session_hash(token), WEB_SESSIONS.c.expires_at > int(self._clock.now())
        )
        with self._engine.connect() as connection:
            return connection.scalar(query)

    def close(self, token: str) -> None:
        """End a session. Repeatable."""
        with self._engine.begin() as connection:
            connection.execute(delete(WEB_SESSIONS).where(WEB_SESSIONS.c.hash == session_hash(token)))

    def close_others(self, pseudonym: str, token: str) -> None:
        """End all of this volunteer's sessions but this one: another device of theirs may be somebody else's now."""
        others = (WEB_SESSIONS.c.pseudonym == pseudonym) & (WEB_SESSIONS.c.hash != session_hash(token))
        with self._engine.begin() as connection:
            connection.execute(delete(WEB_SESSIONS).where(others))

    # Inside

    def _kept(self, pseudonym: str | None) -> tuple[str, str]:
        query = select(WEB_SECRETS.c.secret, WEB_SECRETS.c.recovery).where(WEB_SECRETS.c.pseudonym == (pseudonym or ""))
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return (self._nobody, self._nobody) if row is None else (row.secret, row.recovery)

    def _hash(self, text: str) -> str:
        salt = secrets.token_bytes(16)
        return self._encoded(salt, self._digest(text, salt, self._cost))

    def _right(self, encoded: str, text: str) -> bool:
        kind, n, r, p, salt, digest = encoded.split("$")
        found = self._digest(text, base64.b64decode(salt), Cost(int(n), int(r), int(p)))
        return kind == "scrypt" and hmac.compare_digest(found, base64.b64decode(digest))

    def _digest(self, text: str, salt: bytes, cost: Cost) -> bytes:
        with self._hashing:
            return hashlib.scrypt(
                text.encode(), salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=256 * cost.n * cost.r, dklen=32
            )

    def _encoded(self, salt: bytes, digest: bytes) -> str:
        parts = (base64.b64encode(salt).decode(), base64.b64encode(digest).decode())
        return "$".join(("scrypt", *map(str, self._cost), *parts))


def csrf_of(token: str) -> str:
    """What a form of this session must carry; it tells nothing of the session's token."""
    return hmac.new(token.encode(), b"wijkpols form 1", hashlib.sha256).hexdigest()


def fit_secret(secret: str) -> bool:
    """Whether a secret may be chosen: long enough, and no letter all over again (NIST SP 800-63B: no other rules)."""
    plain = _plain(secret)
    return SECRET_LETTERS_MIN <= len(plain) <= SECRET_LETTERS_MAX and len(set(plain)) >= _LETTERS_DISTINCT_MIN


def recovery_words() -> str:
    """100 random bits in five groups of four letters and digits, none of which look alike."""
    letters = base64.b32encode(secrets.token_bytes(15)).decode()[:20]
    return "-".join(letters[i : i + 4] for i in range(0, 20, 4))


def _plain(secret: str) -> str:
    return unicodedata.normalize("NFKC", secret).strip()


def _letters(words: str) -> str:
    return words.upper().translate(str.maketrans("018", "OIB", "- "))


def session_hash(token: str) -> str:
    """What is kept of a session's token."""
    return hashlib.sha256(token.encode()).hexdigest()
