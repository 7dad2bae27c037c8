"""The gateway's bonds as Bumble asks for them: a new one is kept only after the band behind it was recognised."""

from __future__ import annotations

from typing import Any, Final

from bumble import hci
from bumble.device import Connection
from bumble.keys import KeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate

from gateway.bonds import BondBook

#: Keys of pairings that ended and whose bands are not recognised yet: more than a radio has slots.
FRESH_MAX: Final = 128
#: Addresses whose identity is remembered; bands change theirs, so now and then all are forgotten.
RESOLVED_MAX: Final = 10_000


class BumbleKeys(KeyStore):
    """Names are identity addresses as text."""

    def __init__(self, book: BondBook) -> None:
        self._book = book
        self._fresh: dict[str, dict[str, Any]] = {}

    async def get(self, name: str) -> PairingKeys | None:
        """The keys of a bond."""
        bond = self._book.of(name)
        return None if bond is None or bond.keys is None else PairingKeys.from_dict(bond.keys)

    async def get_all(self) -> list[tuple[str, PairingKeys]]:
        """The keys of all bonds."""
        return [(one.identity, PairingKeys.from_dict(one.keys)) for one in self._book if one.keys is not None]

    async def update(self, name: str, keys: PairingKeys) -> None:
        """A pairing ended. A bond that there is stays as it is: who claims its identity does not replace it."""
        self._fresh.pop(name, None)
        bond = self._book.of(name)
        if keys.ltk is not None and (bond is None or bond.keys is None):
            while len(self._fresh) >= FRESH_MAX:  # of bands that were lost before they were recognised
                del self._fresh[next(iter(self._fresh))]
            self._fresh[name] = keys.to_dict()

    def take(self, name: str) -> dict[str, Any] | None:
        """The keys of the pairing that ended just now; None when it gave no bond of Secure Connections."""
        return self._fresh.pop(name, None)


def pairing(_connection: Connection) -> PairingConfig:
    """How the gateway pairs: it has no display either, and lets no band begin."""
    return PairingConfig(
        sc=True,
        mitm=False,
        bonding=True,
        delegate=_Delegate(PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT),
        identity_address_type=PairingConfig.AddressType.RANDOM,
    )


class _Delegate(PairingDelegate):
    async def accept(self) -> bool:
        return False


class Resolver:
    """The identity behind an address on the air; each address is looked up once."""

    def __init__(self) -> None:
        self._known: dict[hci.Address, str | None] = {}

    def clear(self) -> None:
        """The bonds are others now."""
        self._known.clear()

    def identity(self, address: hci.Address, resolve: Any) -> str | None:
        """None when it is nobody's that we know. `resolve`: Bumble's resolver of now."""
        if address not in self._known:
            if len(self._known) >= RESOLVED_MAX:
                self._known.clear()
            found = resolve.resolve(address) if resolve is not None and address.is_resolvable else None
            self._known[address] = None if found is None else str(found)
        return self._known[address]
