"""Consent as it travels: one retained message per band, and the mirror that gateways and workers keep of them.

Everything here fails closed: what is unknown, expired, withdrawn or older than what was seen covers nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from enum import StrEnum
from typing import Final, Literal

import msgspec

from contracts.faults import UsageFault
from contracts.reading import FIELDS, Category, Reading, SelfReport

#: The clocks of a gateway and of the API may differ by so much.
STOP_CLOCK_S: Final = 5
#: A mirror holds at most this many bands; a broker that sends more is not ours.
MIRROR_BANDS_MAX: Final = 1_000_000
BAND_KEY_BYTES_MIN: Final = 16


class Purpose(StrEnum):
    """What the data may be used for, each asked apart."""

    DISTRICT_INDEX = "district-index"
    RESEARCH_PROFILE = "research-profile"


class ConsentState(StrEnum):
    """What the last event in the ledger says of this band."""

    GIVEN = "given"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"  # ended by the notice's change or by time, not by the volunteer, who is asked again


class ConsentMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The retained message at `wijkpols/v1/consents/{band token}`. A withdrawal is said, never implied."""

    v: Literal[1] = 1
    revision: int  # rises with each event of this band, never reused
    state: ConsentState
    pseudonym: str
    district: str = ""  # where the volunteer is enrolled
    purposes: dict[Purpose, tuple[Category, ...]] = {}
    valid_from: int = 0  # unix seconds; nothing from before this choice is covered (a band may remember more)
    valid_until: int = 0  # unix seconds; consent ends after six months
    issued_at: int = 0  # unix seconds
    chosen_at: int = 0  # unix seconds of the choice itself, when that is not when the cover begins; 0: `valid_from`
    press: int = 0  # the number of the last press of the band's button that the ledger had before this; 0: none
    erase: bool = False  # erase what is stored, but for:
    keep: tuple[Category, ...] = ()  # these kinds
    erase_before: int = 0  # what is from this second (unix) on; 0: nothing

    @property
    def choice_at(self) -> int:
        """Unix seconds of the choice itself, which a move is not."""
        return self.chosen_at or self.valid_from

    def ended_by(self, pressed_at: float, press: int = 0) -> bool:
        """Whether the band's button, held until `pressed_at` (unix seconds), ends this choice: it came after it.

        One whose number the ledger had before this choice did not, whatever its age is said to be.
        """
        if self.state is not ConsentState.GIVEN or (press and press == self.press):
            return False
        return self.choice_at <= pressed_at + STOP_CLOCK_S


class Cover(msgspec.Struct, frozen=True, kw_only=True):
    """What one volunteer's consent covers now."""

    pseudonym: str
    district: str
    categories: frozenset[Category]  # over all purposes
    purposes: dict[Purpose, tuple[Category, ...]]
    valid_from: int  # unix seconds

    def keep(self, reading: Reading) -> Reading | None:
        """The reading without the fields that are not covered; None when nothing is left, or it is from before."""
        if reading.minute < self.valid_from:
            return None
        drop = {name: None for name, _ in reading.values() if FIELDS[name].category not in self.categories}
        if not drop:
            return reading
        kept = msgspec.structs.replace(reading, **drop)
        return kept if any(True for _ in kept.values()) else None

    def keeps(self, report: SelfReport) -> bool:
        """Whether a self-report is covered."""
        return Category.SELF_REPORT in self.categories and report.at >= self.valid_from


def new_pseudonym(entropy: bytes) -> str:
    """A pseudonym out of 16 random bytes (`secrets.token_bytes(16)`): never derived from a band or a person."""
    if len(entropy) != 16:
        raise ValueError("a pseudonym is made of 16 random bytes")
    return base64.b32encode(entropy).decode().rstrip("=").lower()


def band_key(text: str) -> bytes:
    """The installation's secret for naming bands, out of its hexadecimal form. Raises UsageFault, without the text."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < BAND_KEY_BYTES_MIN:
        raise UsageFault(
            "set WIJKPOLS_BAND_KEY to 32 or more hexadecimal digits ('openssl rand -hex 32'), "
            "the same at the API and at every gateway"
        )
    return key


def band_token(key: bytes, serial: str) -> str:
    """The name by which a band is known outside of the gateway: HMAC-SHA256 of its serial, 128 bits, base32.

    Keyed, so that who knows serials cannot list tokens (RFC 2104).
    """
    if len(key) < BAND_KEY_BYTES_MIN:
        raise ValueError(f"the band key must have {BAND_KEY_BYTES_MIN} bytes or more")
    digest = hmac.new(key, serial.encode(), hashlib.sha256).digest()[:16]
    return base64.b32encode(digest).decode().rstrip("=").lower()


def cover_of(message: ConsentMessage, now: float) -> Cover | None:
    """What a message covers at `now` (unix seconds); None when it is withdrawn, expired or empty."""
    if message.state is not ConsentState.GIVEN or now >= message.valid_until:
        return None
    categories = frozenset(c for chosen in message.purposes.values() for c in chosen)
    if not categories:
        return None
    return Cover(
        pseudonym=message.pseudonym,
        district=message.district,
        categories=categories,
        purposes=message.purposes,
        valid_from=message.valid_from,
    )


class ConsentMirror:
    """The newest consent of each band, as the retained messages told it. Not thread-safe: one owner."""

    def __init__(self, *, bands_max: int = MIRROR_BANDS_MAX) -> None:
        self._by_token: dict[str, ConsentMessage] = {}
        self._by_pseudonym: dict[str, ConsentMessage] = {}
        self._bands_max = bands_max

    def __len__(self) -> int:
        return len(self._by_token)

    def apply(self, token: str, message: ConsentMessage | None) -> bool:
        """Take a retained message in; None is a cleared one, which covers nothing. False: stale, nothing changed."""
        held = self._by_token.get(token)
        if message is None:
            self._by_token.pop(token, None)
            if held is not None:
                self._forget(held)
            return held is not None
        if held is not None and message.revision <= held.revision:
            return False
        if held is None and len(self._by_token) >= self._bands_max:
            raise OverflowError(f"more than {self._bands_max} bands in the consent topic")
        self._by_token[token] = message
        if held is not None and held.pseudonym != message.pseudonym:  # the band went to somebody else
            self._forget(held)
        other = self._by_pseudonym.get(message.pseudonym)
        # A volunteer with a new band: the newest word about the person counts, whichever band it came by.
        if other is None or other is held or message.issued_at >= other.issued_at:
            self._by_pseudonym[message.pseudonym] = message
        return True

    def _forget(self, message: ConsentMessage) -> None:
        if self._by_pseudonym.get(message.pseudonym) is message:
            del self._by_pseudonym[message.pseudonym]

    def message(self, token: str) -> ConsentMessage | None:
        """The newest message of a band."""
        return self._by_token.get(token)

    def whose(self, token: str) -> str:
        """Whose band this is, by its newest message; '' when nothing is known of it."""
        message = self._by_token.get(token)
        return "" if message is None else message.pseudonym

    def by_token(self, token: str, now: float) -> Cover | None:
        """What is covered for a band at `now` (unix seconds)."""
        message = self._by_token.get(token)
        return None if message is None else cover_of(message, now)

    def by_pseudonym(self, pseudonym: str, now: float) -> Cover | None:
        """What is covered for a pseudonym at `now` (unix seconds)."""
        message = self._by_pseudonym.get(pseudonym)
        return None if message is None else cover_of(message, now)
