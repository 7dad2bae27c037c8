"""The gateway's bonds as Bumble asks for them: a new one is kept only after the band behind it was recognised."""

from __future__ import annotations

from typing import Any, Final

from bumble import hci
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.host import Host
from bumble.keys import KeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.smp import AddressResolver

from gateway.bonds import Bond, BondBook

#: Keys of pairings that ended and whose bands are not recognised yet: more than a radio has slots.
FRESH_MAX: Final = 128
#: Addresses whose identity is remembered; bands change theirs, so the oldest give way.
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


class Resolver(AddressResolver):
    """Whose an address on the air is, by the bonds that the book holds now. Each address is asked of each key once.

    It follows the book by itself: a bond may come and go by another radio of this gateway. A new bond is asked of the
    addresses alone that were nobody's; one that is gone takes those along that were its own, and they are asked anew.
    """

    def __init__(self, book: BondBook) -> None:
        super().__init__([])
        self._book = book
        self._revision = -1
        self._bonds: dict[str, Bond] = {}  # those followed so far, by identity
        self._keys: dict[str, tuple[bytes, hci.Address]] = {}  # of those that have one
        self._known: dict[hci.Address, hci.Address | None] = {}

    def can_resolve_to(self, address: hci.Address) -> bool:
        """Whether this is the identity of a bond."""
        self._follow()
        return super().can_resolve_to(address)

    def resolve(self, address: hci.Address) -> hci.Address | None:
        """The identity behind a resolvable private address; None when it is nobody's that we know."""
        self._follow()
        if address not in self._known:
            while len(self._known) >= RESOLVED_MAX:
                del self._known[next(iter(self._known))]
            self._known[address] = super().resolve(address)
        return self._known[address]

    def _follow(self) -> None:
        if self._revision == self._book.revision:
            return
        self._revision = self._book.revision
        before, self._bonds = self._bonds, {bond.identity: bond for bond in self._book}
        gone = {identity for identity, bond in before.items() if self._bonds.get(identity) is not bond}
        for identity in gone & self._keys.keys():
            del self._keys[identity]
        if gone:
            self._known = {a: found for a, found in self._known.items() if found is None or str(found) not in gone}
        new = {
            identity: key
            for identity, bond in self._bonds.items()
            if before.get(identity) is not bond and (key := _resolving_key(bond)) is not None
        }
        self._keys |= new
        self.resolving_keys = list(self._keys.values())
        by_the_new = AddressResolver(list(new.values()))
        self._known |= {a: by_the_new.resolve(a) for a, found in self._known.items() if found is None}


def _resolving_key(bond: Bond) -> tuple[bytes, hci.Address] | None:
    """The key of the addresses of a bond's band, and its identity, as Bumble's resolver takes them."""
    keys = None if bond.keys is None else PairingKeys.from_dict(bond.keys)
    if keys is None or keys.irk is None:
        return None
    kind = hci.Address.RANDOM_DEVICE_ADDRESS if keys.address_type is None else keys.address_type
    return keys.irk.value, hci.Address(bond.identity, kind)


class BondedDevice(Device):
    """Bumble's device; the bonds are the book's, and its resolver follows them."""

    def __init__(self, *, keys: BumbleKeys, resolver: Resolver, config: DeviceConfiguration, host: Host) -> None:
        super().__init__(config=config, host=host)
        self.keystore = keys
        self.address_resolver = resolver
        self.pairing_config_factory = pairing

    async def refresh_resolving_list(self) -> None:
        """Bumble would read all bonds anew after each pairing."""
