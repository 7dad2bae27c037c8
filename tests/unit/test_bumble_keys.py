"""The keys of a new bond wait for the band behind it to be recognised; then its addresses are known for its own."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from bumble import crypto, hci
from bumble.keys import PairingKeys
from hypothesis import given
from hypothesis import strategies as st

from gateway import bumble_keys
from gateway.bonds import Bond, BondBook
from gateway.bumble_keys import FRESH_MAX, BumbleKeys, Resolver


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


# -- whose an address is ----------------------------------------------------------------------------------------------


def irk(number: int) -> bytes:
    return bytes([number]) * 16


def identity(number: int) -> str:
    return f"F0:00:00:00:00:{number:02X}"


def bond(number: int, *, key: int | None = None) -> Bond:
    """Of band `number`, with the key that is its own or another's."""
    keys = PairingKeys(
        address_type=hci.AddressType.RANDOM_DEVICE,
        ltk=PairingKeys.Key(bytes(16)),
        irk=PairingKeys.Key(irk(number if key is None else key)),
    )
    return Bond(identity=identity(number), token=f"token {number}", paired_at=0.0, keys=keys.to_dict())


def address(number: int) -> hci.Address:
    """A new one of band `number`, as it shows it on the air."""
    return hci.Address.generate_private_address(irk(number))


def whose(resolver: Resolver, heard: hci.Address) -> str | None:
    found = resolver.resolve(heard)
    return None if found is None else str(found)


@pytest.fixture
def asked(monkeypatch) -> Counter[bytes]:
    """How often each key was asked for an address; Bumble answers as ever."""
    count: Counter[bytes] = Counter()
    ah = crypto.ah

    def counting(key: bytes, prand: bytes) -> bytes:
        count[key] += 1
        return ah(key, prand)

    monkeypatch.setattr(crypto, "ah", counting)
    return count


def test_an_address_that_was_nobodys_is_the_new_bonds():
    book = BondBook()
    resolver, heard = Resolver(book), address(1)
    book.add(bond(2))
    assert whose(resolver, heard) is None
    book.add(bond(1))
    assert whose(resolver, heard) == identity(1)


def test_a_new_bond_is_asked_of_nobodys_addresses_alone_and_no_other_key_again(asked):
    book = BondBook()
    for number in range(10):
        book.add(bond(number))
    resolver = Resolver(book)
    strangers = [address(number) for number in range(100, 105)]
    for heard in (*strangers, address(3)):
        resolver.resolve(heard)
    asked.clear()
    book.add(bond(99))
    for heard in strangers * 2:
        assert whose(resolver, heard) is None
    assert asked == {irk(99): len(strangers)}


def test_a_bond_that_is_gone_takes_its_own_addresses_along_and_no_others(asked):
    book = BondBook()
    for number in (1, 2):
        book.add(bond(number))
    resolver, first, second = Resolver(book), address(1), address(2)
    assert (whose(resolver, first), whose(resolver, second)) == (identity(1), identity(2))
    asked.clear()
    book.remove("token 1")
    assert (whose(resolver, first), whose(resolver, second)) == (None, identity(2))
    assert asked == {irk(2): 1}
    assert not resolver.can_resolve_to(hci.Address(identity(1)))
    assert resolver.can_resolve_to(hci.Address(identity(2)))


def test_a_bond_whose_keys_are_dropped_is_nobody_until_it_has_others():
    book = BondBook()
    book.add(bond(1))
    resolver, heard = Resolver(book), address(1)
    assert whose(resolver, heard) == identity(1)
    book.drop_keys(identity(1))
    assert whose(resolver, heard) is None
    book.add(bond(1))
    assert whose(resolver, heard) == identity(1)


def test_a_band_that_is_bonded_anew_with_another_key_is_known_by_that_one_alone():
    book = BondBook()
    book.add(bond(1, key=1))
    resolver, old, new = Resolver(book), address(1), address(9)
    assert (whose(resolver, old), whose(resolver, new)) == (identity(1), None)
    book.add(bond(1, key=9))
    assert (whose(resolver, old), whose(resolver, new)) == (None, identity(1))


def test_of_two_bonds_with_one_key_the_other_is_left_when_one_is_gone():
    book = BondBook()
    book.add(bond(1, key=7))
    book.add(bond(2, key=7))
    resolver, heard = Resolver(book), address(7)
    assert whose(resolver, heard) == identity(1)
    book.remove("token 1")
    assert whose(resolver, heard) == identity(2)


def test_a_bond_without_a_key_for_addresses_is_no_fault():
    book = BondBook()
    book.add(Bond(identity=identity(1), token="a", paired_at=0.0, keys=keys_of(1).to_dict()))
    book.add(Bond(identity=identity(2), token="b", paired_at=0.0))
    assert whose(Resolver(book), address(1)) is None


def test_addresses_that_are_remembered_are_bounded_and_the_oldest_give_way(asked, monkeypatch):
    monkeypatch.setattr(bumble_keys, "RESOLVED_MAX", 3)
    book = BondBook()
    book.add(bond(1))
    resolver = Resolver(book)
    addresses = [address(number) for number in (1, 5, 6, 7)]
    assert [whose(resolver, heard) for heard in addresses] == [identity(1), None, None, None]
    asked.clear()
    for heard in addresses[1:]:
        resolver.resolve(heard)
    assert asked == {}
    assert whose(resolver, addresses[0]) == identity(1)
    assert asked == {irk(1): 1}


changes = st.tuples(st.sampled_from(["add", "remove", "drop", "hear"]), st.integers(0, 5), st.integers(0, 5))


@given(st.lists(changes, max_size=40))
def test_whatever_comes_and_goes_an_address_is_whose_the_bonds_of_now_say(steps):
    book = BondBook()
    resolver = Resolver(book)
    heard = [address(number) for number in range(6)]
    for what, number, key in steps:
        if what == "add":
            book.add(bond(number, key=key))
        elif what == "remove":
            book.remove(f"token {number}")
        elif what == "drop":
            book.drop_keys(identity(number))
        else:
            resolver.resolve(heard[key])
    for number, one in enumerate(heard):
        has_it = {bond.identity for bond in book if bond.keys and bond.keys["irk"]["value"] == irk(number).hex()}
        assert whose(resolver, one) in (has_it or {None})
