"""Who a connected band is, and whether that is proven: by a bond, or a new one with a band that is enrolled.

A plain heart-rate strap has no bond and proves nothing; so it can never pass for a Wijkpols band. An enrolled band that
has no bond yet gets one when it lets us, with its wearer's button held (docs/adr/0007-security-of-the-link.md). A band
that we know by another identity gets one only when a person asked for it, and when the identity is the same.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from contracts.consent import band_token
from contracts.ports import Clock
from gateway import gatt_codec as codec
from gateway import profile
from gateway.bonds import FAILED, MISSING, OTHER, Bond, BondBook, Pairing
from gateway.gatt_codec import MalformedFrame
from gateway.link import LinkLost, Peripheral, Refused

_log = logging.getLogger(__name__)
#: The serial of a Wijkpols band.
OWN_SERIAL: Final = re.compile(r"WP-\d{6}")


class NotRecognised(Exception):
    """Nothing may be read of this band; `reason` is one of those below."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


NO_SERIAL: Final = "no-serial"
NO_CONSENT: Final = "no-consent"
NOT_PAIRED: Final = "not-paired"


class Recognised(NamedTuple):
    """Who a band is: its token, and the identity address of the bond that proves it; a plain strap has none."""

    token: str
    identity: str | None = None


class Recognition:
    """Recognises bands. `covered(token)` is whether a wearer consents; `note(reason)` counts why a band is refused."""

    def __init__(
        self,
        *,
        book: BondBook,
        key: bytes,
        pairing: Pairing,
        clock: Clock,
        covered: Callable[[str], bool],
        note: Callable[[str], None],
    ) -> None:
        self._book = book
        self._key = key
        self._pairing = pairing
        self._clock = clock
        self._covered = covered
        self._note = note

    async def who(self, band: Peripheral) -> Recognised:
        """Who a connected band is. Raises NotRecognised and LinkLost."""
        if not band.has(profile.SERIAL):
            raise NotRecognised(NO_SERIAL)
        identity = await band.secured()
        try:
            serial = await self._serial(band)
        except Refused:
            raise NotRecognised(NOT_PAIRED) from None
        token = band_token(self._key, serial)
        if not any(band.has(uuid) for uuid in profile.OWN):
            if OWN_SERIAL.fullmatch(serial):
                self._refuse(MISSING)
            return Recognised(token)
        if identity is not None:
            self._known(identity, token)
            return Recognised(token, identity)
        if not self._covered(token):
            raise NotRecognised(NO_CONSENT)
        return Recognised(token, await self._bond(band, serial, token))

    def _known(self, identity: str, token: str) -> None:
        """Whether the bond that encrypts the link is this band's."""
        # Without one it is BlueZ's alone, by somebody's hand: that proves nothing, and Link removes it.
        bond = self._book.of(identity)
        if bond is None or bond.token != token:
            self._refuse(MISSING if bond is None and self._book.of_token(token) is None else OTHER)

    async def _bond(self, band: Peripheral, serial: str, token: str) -> str:
        """Bond with a band that is not bonded, if that may be; its identity."""
        known = self._book.of_token(token)
        asked = self._book.may_renew(token, self._clock.now())
        if not asked and known is not None:
            self._refuse(OTHER)
        if not asked and self._pairing is Pairing.ORDERED:
            self._refuse(MISSING)
        try:
            paired = await band.pair()
        except LinkLost:
            self._note(FAILED)
            raise
        # Over the encrypted link once more: what was read before could have been said by anybody in between.
        if await self._serial(band) != serial or (known is not None and known.identity != paired.identity):
            self._refuse(OTHER)
        now = self._clock.now()
        self._book.add(Bond(identity=paired.identity, token=token, paired_at=now, keys=paired.keys))
        _log.info("bonded with a band; %d in all", len(self._book))
        return paired.identity

    async def _serial(self, band: Peripheral) -> str:
        try:
            return codec.serial_number(await band.read(profile.SERIAL))
        except MalformedFrame as bad:
            self._note(f"{bad.frame}:{bad.reason}")
            raise NotRecognised(NO_SERIAL) from None

    def _refuse(self, reason: str) -> None:
        self._note(reason)
        raise NotRecognised(NOT_PAIRED)
