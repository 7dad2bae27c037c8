"""The keys of a new bond wait for the band behind it to be recognised."""

from __future__ import annotations

import asyncio

from bumble.keys import PairingKeys

from gateway.bonds import Bond, BondBook
from gateway.bumble_keys import FRESH_MAX, BumbleKeys


def keys_of(byte: int) -> PairingKeys:
    return PairingKeys(ltk=PairingKeys.Key(bytes([byte]) * 16))


def test_bands_that_pair_at_the_same_time_each_get_their_own_keys():
    keys = BumbleKeys(BondBook())
    for byte, name in ((1, "A"), (2, "B")):
        asyncio.run(keys.update(name, keys_of(byte)))
    assert keys.take("A") == keys_of(1).to_dict()
    assert keys.take("B") == keys_of(2).to_dict()
    assert keys.take("A") is None


def test_a_bond_that_there_is_is_not_replaced_by_who_claims_its_identity():
    book = BondBook()
    book.add(Bond(identity="A", token="token", paired_at=0.0, keys=keys_of(1).to_dict()))
    keys = BumbleKeys(book)
    asyncio.run(keys.update("A", keys_of(2)))
    assert keys.take("A") is None
    kept = asyncio.run(keys.get("A"))
    assert kept is not None
    assert kept.to_dict() == keys_of(1).to_dict()


def test_a_pairing_that_gave_no_keys_leaves_none_of_an_earlier_one():
    keys = BumbleKeys(BondBook())
    asyncio.run(keys.update("A", keys_of(1)))
    asyncio.run(keys.update("A", PairingKeys()))
    assert keys.take("A") is None


def test_the_keys_of_bands_that_were_never_recognised_are_bounded():
    keys = BumbleKeys(BondBook())
    for number in range(FRESH_MAX + 10):
        asyncio.run(keys.update(str(number), keys_of(1)))
    kept = [number for number in range(FRESH_MAX + 10) if keys.take(str(number)) is not None]
    assert kept == list(range(10, FRESH_MAX + 10))
