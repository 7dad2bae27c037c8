"""Moving house and going on with another band: pseudonym and history stay, the old band is nobody's."""

from __future__ import annotations

from itertools import permutations

import pytest

from api.app import Registry
from api.ledger import LedgerRefusal, Refusal
from api.moves import Moves
from api.receipt_check import check
from api.receipts import Receipts
from api.records import Event
from contracts.consent import ConsentMirror, ConsentState, Purpose, band_key, band_token
from contracts.wire import Erasure
from tests.api_support import BAND_KEY, CHOICES, ManualClock

pytestmark = pytest.mark.usefixtures("database")
OLD, NEW = (band_token(band_key(BAND_KEY), serial) for serial in ("WP-000001", "WP-000002"))


@pytest.fixture
def moves(registry: Registry, clock: ManualClock) -> Moves:
    return Moves(registry.ledger, clock=clock)


def enrolled(registry: Registry, code: str) -> str:
    done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    return done.record.principal_id


def refused(call: object, *args: str) -> Refusal:
    with pytest.raises(LedgerRefusal) as refusal:
        call(*args)  # type: ignore[operator]
    return refusal.value.reason


def test_a_move_holds_from_now_and_renews_nothing(registry: Registry, moves: Moves, clock: ManualClock) -> None:
    person = enrolled(registry, registry.ledger.add_band("WP-000001"))
    before = registry.ledger.current(person)
    clock.time += 86_400
    after = moves.to_district(person, "WK034404")
    assert registry.ledger.current(person) == after
    assert (after.district, after.event, after.purposes) == ("WK034404", Event.GIVEN, before.purposes)
    assert (after.valid_from, after.valid_until) == (clock.time, before.valid_until)
    assert after.record_id != before.record_id
    cover = registry.ledger.covered(Purpose.DISTRICT_INDEX, clock.time + 1)[person]
    assert cover.district == "WK034404"
    receipts = Receipts(registry.engine, clock=clock)
    assert all(s.holds for s in check(receipts.last(person), engine=registry.engine, receipts=receipts))


def test_who_stopped_or_is_being_erased_does_not_move(registry: Registry, moves: Moves) -> None:
    person = enrolled(registry, registry.ledger.add_band("WP-000001"))
    assert refused(moves.to_district, person, "WK999999") is Refusal.DISTRICT
    registry.ledger.withdraw(person, erase=False)
    assert refused(moves.to_district, person, "WK034404") is Refusal.STOPPED
    registry.ledger.withdraw(person, erase=True)
    assert refused(moves.to_district, person, "WK034404") is Refusal.ERASURE_OPEN
    assert refused(moves.to_band, person, registry.ledger.add_band("WP-000002")) is Refusal.ERASURE_OPEN


def test_with_a_new_band_the_person_goes_on_and_the_old_band_measures_nobody(
    registry: Registry, moves: Moves, clock: ManualClock
) -> None:
    code = registry.ledger.add_band("WP-000001")
    person = enrolled(registry, code)
    ((_, first),) = registry.outbox.unsent()
    new_code = registry.ledger.add_band("WP-000002")
    clock.time += 60
    after = moves.to_band(person, new_code)
    assert (after.principal_id, after.valid_from) == (person, clock.time)  # the new band may remember others' minutes
    messages = dict(registry.outbox.unsent())
    assert set(messages) == {OLD, NEW} == set(dict(registry.outbox.all_after("")))
    assert messages[OLD].state is ConsentState.WITHDRAWN
    assert messages[OLD].pseudonym != person
    assert messages[OLD].revision > first.revision
    assert registry.ledger.wearer_of(code) is None
    assert registry.ledger.wearer_of(new_code) == person
    assert not registry.ledger.claimable(code)
    for order in permutations((OLD, NEW)):  # in whichever order the broker tells them
        mirror = ConsentMirror()
        mirror.apply(OLD, first)
        for token in order:
            assert mirror.apply(token, messages[token])
        assert mirror.by_token(OLD, clock.time + 1) is None
        cover = mirror.by_pseudonym(person, clock.time + 1)
        assert cover is not None
        assert mirror.by_token(NEW, clock.time + 1) == cover
    assert registry.ledger.verify() is None


def test_a_band_that_was_left_and_found_goes_to_the_next_wearer(registry: Registry, moves: Moves) -> None:
    person = enrolled(registry, registry.ledger.add_band("WP-000001"))
    moves.to_band(person, registry.ledger.add_band("WP-000002"))
    left = dict(registry.outbox.unsent())[OLD]
    next_one = enrolled(registry, registry.ledger.add_band("WP-000001"))
    message = dict(registry.outbox.unsent())[OLD]
    assert (message.state, message.pseudonym) == (ConsentState.GIVEN, next_one)
    assert message.revision > left.revision
    moves.to_band(next_one, registry.ledger.add_band("WP-000003"))
    moves.to_band(person, registry.ledger.add_band("WP-000001"))  # and back to the first one, in the end
    assert dict(registry.outbox.unsent())[OLD].pseudonym == person


def test_a_band_that_somebody_wears_or_nobody_knows_is_refused(registry: Registry, moves: Moves) -> None:
    one, two = registry.ledger.add_band("WP-000001"), registry.ledger.add_band("WP-000002")
    person, _ = enrolled(registry, one), enrolled(registry, two)
    before = registry.ledger.current(person)
    for code in (one, two, "AAAA-BBBB-CCCC-DDDD", ""):
        assert refused(moves.to_band, person, code) is Refusal.CLAIM
    assert registry.ledger.current(person) == before


def test_who_stopped_changes_bands_without_taking_part_again(registry: Registry, moves: Moves) -> None:
    person = enrolled(registry, registry.ledger.add_band("WP-000001"))
    asked = registry.ledger.withdraw(person, erase=True)
    (state,) = registry.ledger.erasures(person)
    done = Erasure(revision=state.revision, readings=1, reports=0, asked_at=asked.at, erased_at=asked.at + 1)
    assert registry.ledger.record_erasure(person, done)
    record = moves.to_band(person, registry.ledger.add_band("WP-000002"))
    assert (record.event, record.erase) == (Event.WITHDRAWN, False)  # nothing is asked to be erased twice
    assert {m.state for _, m in registry.outbox.unsent()} == {ConsentState.WITHDRAWN}
