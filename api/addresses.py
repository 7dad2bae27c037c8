"""E-mail addresses, for who wants a reminder before consent ends: optional, encrypted at rest, used for nothing else.

Encryption is Fernet's (AES-128-CBC with HMAC-SHA256, library `cryptography`). The keys are lines of a file beside the
registry, newest first; who steals the database alone has no address. Without a file no address is asked for.
"""

from __future__ import annotations

import email.errors
import os
from email.headerregistry import Address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Engine, delete, insert, select, update

from api.records import ConsentRecord, parse
from api.tables import ADDRESSES, CONSENT_EVENTS, VOLUNTEERS
from contracts.ports import UsageFault

ADDRESS_LETTERS_MAX: Final = 254  # RFC 5321
_KEYS_KEPT: Final = 2  # what was sealed while a key was changed can still be read


class Known(NamedTuple):
    """Somebody who left an address: the last choice, and for which end of consent a reminder went out."""

    record: ConsentRecord
    reminded_for: int | None  # unix seconds


class Addresses:
    """The addresses in the registry. `key_file` None: this installation keeps none. Safe for threads."""

    def __init__(self, engine: Engine, *, key_file: Path | None) -> None:
        self._engine = engine
        self._key_file = key_file

    @property
    def possible(self) -> bool:
        """Whether this installation keeps addresses."""
        return self._key_file is not None

    def keep(self, pseudonym: str, address: str) -> None:
        """Keep an address in the place of the one before. Raises UsageFault when the key file is not right."""
        sealed = self._keys().encrypt(address.encode()).decode()
        with self._engine.begin() as connection:
            connection.execute(delete(ADDRESSES).where(ADDRESSES.c.pseudonym == pseudonym))
            connection.execute(insert(ADDRESSES).values(pseudonym=pseudonym, sealed=sealed))

    def of(self, pseudonym: str) -> str | None:
        """The address of one volunteer. Raises UsageFault when no key of the file opens it."""
        with self._engine.connect() as connection:
            sealed = connection.scalar(select(ADDRESSES.c.sealed).where(ADDRESSES.c.pseudonym == pseudonym))
        if sealed is None or not self.possible:
            return None
        try:
            return self._keys().decrypt(sealed).decode()
        except InvalidToken:
            raise UsageFault(
                "WIJKPOLS_EMAIL_KEY_FILE has no key for an address that is kept: restore the key"
            ) from None

    def forget(self, pseudonym: str) -> None:
        """Forget an address. Repeatable."""
        with self._engine.begin() as connection:
            connection.execute(delete(ADDRESSES).where(ADDRESSES.c.pseudonym == pseudonym))

    def known(self) -> list[Known]:
        """Everybody who left an address."""
        query = (
            select(CONSENT_EVENTS.c.body, ADDRESSES.c.reminded_for)
            .join(VOLUNTEERS, VOLUNTEERS.c.last_event == CONSENT_EVENTS.c.seq)
            .join(ADDRESSES, ADDRESSES.c.pseudonym == VOLUNTEERS.c.pseudonym)
            .order_by(ADDRESSES.c.pseudonym)
        )
        with self._engine.connect() as connection:
            found = [(parse(row.body), row.reminded_for) for row in connection.execute(query)]
        return [Known(record, reminded) for record, reminded in found if isinstance(record, ConsentRecord)]

    def mark_reminded(self, pseudonym: str, valid_until: int) -> None:
        """The reminder for this end of consent (unix seconds) went out."""
        with self._engine.begin() as connection:
            mine = ADDRESSES.c.pseudonym == pseudonym
            connection.execute(update(ADDRESSES).where(mine).values(reminded_for=valid_until))

    def change_key(self) -> int:
        """Make a new key, and seal every address with it; how many those were. The key before it stays in the file.

        The new key is in the file before anything is sealed with it, so that a crash in between loses nothing.
        """
        if self._key_file is None:
            raise UsageFault("set WIJKPOLS_EMAIL_KEY_FILE to the file that shall hold the keys")
        lines = _lines(self._key_file) if self._key_file.exists() else []
        _write(self._key_file, [Fernet.generate_key().decode(), *lines])
        keys = self._keys()
        with self._engine.begin() as connection:
            held = connection.execute(select(ADDRESSES.c.pseudonym, ADDRESSES.c.sealed)).all()
            for row in held:
                again = update(ADDRESSES).where(
                    ADDRESSES.c.pseudonym == row.pseudonym, ADDRESSES.c.sealed == row.sealed
                )
                connection.execute(again.values(sealed=keys.rotate(row.sealed).decode()))
        _write(self._key_file, _lines(self._key_file)[:_KEYS_KEPT])
        return len(held)

    def _keys(self) -> MultiFernet:
        """Read each time: another process may have changed the key."""
        if self._key_file is None:
            raise UsageFault("set WIJKPOLS_EMAIL_KEY_FILE to the file that holds the keys")
        try:
            return MultiFernet([Fernet(line) for line in _lines(self._key_file)])
        except ValueError:
            raise UsageFault(
                "WIJKPOLS_EMAIL_KEY_FILE holds no keys: 'wijkpols volunteers email-key' makes one"
            ) from None


def valid_address(text: str) -> bool:
    """Whether this is one plain address that a letter can be sent to, and nothing that could become a header."""
    if not (text.isascii() and text.isprintable() and len(text) <= ADDRESS_LETTERS_MAX):
        return False
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, email.errors.MessageError):
        return False
    return address.addr_spec == text and "." in address.domain and not set(' "<>,;:()[]\\') & set(text)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        raise UsageFault("WIJKPOLS_EMAIL_KEY_FILE cannot be read: 'wijkpols volunteers email-key' makes one") from None


def _write(path: Path, lines: list[str]) -> None:
    """In one step, for its owner's eyes only."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as fault:
        raise UsageFault(f"WIJKPOLS_EMAIL_KEY_FILE cannot be written: {fault.strerror}") from None
