"""Taking back a yes to some kinds, with what is stored of them erased: no more may go, and nothing be forgotten."""

from __future__ import annotations

import pytest

from api.app import Registry
from api.band_stops import BandStops
from api.ledger import LedgerRefusal, Refusal
from api.moves import Moves
from api.receipt_check import check
from api.receipts import Receipts
from api.records import Event
from api.renewals import Renewals
from api.tables import ADDRESSES, ERASURES
from contracts.consent import ConsentMessage, ConsentState, Purpose, band_key, band_token
from contracts.reading import Category
from contracts.wire import Erasure, Stop
from tests.api_support import BAND_KEY, ManualClock

pytestmark = pytest.mark.usefixtures("database")
BAND = band_token(band_key(BAND_KEY), "WP-000001")
ALL = {Purpose.DISTRICT_INDEX: tuple(Category), Purpose.RESEARCH_PROFILE: (Category.HEART,)}
LESS = {Purpose.DISTRICT_INDEX: (Category.HEART, Category.SELF_REPORT)}
KEPT = (Category.HEART, Category.SELF_REPORT)


@pytest.fixture
def person(registry: Registry, clock: ManualClock) -> str:
    code = registry.ledger.add_band("WP-000001")
    done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=ALL)
    with registry.engine.begin() as connection:
        connection.execute(ADDRESSES.insert().values(pseudonym=done.record.principal_id, sealed="x"))
    clock.time += 3_600
    return done.record.principal_id


def said(registry: Registry) -> ConsentMessage:
    ((_, message),) = registry.outbox.all_after("")
    return message


def asks(message: ConsentMessage) -> tuple[bool, tuple[Category, ...], int]:
    return message.erase, message.keep, message.erase_before


def told(registry: Registry, clock: ManualClock, person: str, readings: int = 5) -> bool:
    clock.time += 2
    done = Erasure(revision=said(registry).revision, readings=readings, reports=0, asked_at=0, erased_at=clock.time)
    return registry.ledger.record_erasure(person, done)


def test_a_narrower_choice_can_have_erased_what_it_leaves_out(registry: Registry, clock: ManualClock, person: str):
    at = clock.time
    record = registry.ledger.change(person, LESS, erase=True)
    assert record.stands
    assert said(registry).state is ConsentState.GIVEN
    assert asks(said(registry)) == (True, KEPT, at)
    with registry.engine.connect() as connection:
        assert connection.execute(ADDRESSES.select()).first() is not None  # who stays is reminded
    with pytest.raises(LedgerRefusal) as refusal:
        registry.ledger.change(person, ALL)
    assert refusal.value.reason is Refusal.ERASURE_OPEN
    assert told(registry, clock, person)
    (state,) = registry.ledger.erasures(person)
    assert (state.everything, state.readings) == (False, 5)
    assert state.kinds == (Category.SKIN, Category.MOTION)
    receipts = Receipts(registry.engine, clock=clock)
    receipt = receipts.last(person)
    assert receipt["erasure"]["readings"] == 5
    assert all(statement.holds for statement in check(receipt, engine=registry.engine, receipts=receipts))
    assert registry.ledger.verify() is None


def test_without_asking_or_with_nothing_left_out_nothing_is_erased(registry: Registry, person: str):
    registry.ledger.change(person, LESS)
    assert asks(said(registry)) == (False, (), 0)
    registry.ledger.change(person, ALL, erase=True)
    assert asks(said(registry)) == (False, (), 0)
    assert registry.ledger.erasures(person) == []


def test_a_kind_that_another_purpose_still_says_yes_to_stays(registry: Registry, person: str):
    registry.ledger.change(person, {Purpose.RESEARCH_PROFILE: (Category.HEART,)}, erase=True)
    assert asks(said(registry))[1] == (Category.HEART,)


def test_no_to_everything_with_erasure_is_stopping_with_erasure(registry: Registry, clock: ManualClock, person: str):
    record = registry.ledger.change(person, {}, erase=True)
    assert (record.event, record.erases_all) == (Event.WITHDRAWN, True)
    assert asks(said(registry)) == (True, (), 0)
    with registry.engine.connect() as connection:
        assert connection.execute(ADDRESSES.select()).first() is None
    assert told(registry, clock, person)
    assert registry.ledger.erasures(person)[0].everything


@pytest.mark.parametrize("how", ["page", "band", "expired"])
def test_what_ends_a_choice_that_asked_for_an_erasure_asks_for_it_again(
    registry: Registry, clock: ManualClock, person: str, how: str
):
    at = clock.time
    registry.ledger.change(person, LESS, erase=True)
    clock.time += 10
    match how:
        case "page":
            registry.ledger.withdraw(person, erase=False)
        case "band":
            stops = BandStops(registry.ledger, clock=clock)
            assert stops.heard(Stop(band=BAND, pressed_at=int(clock.time)))
        case "expired":
            clock.time += 400 * 86_400
            assert Renewals(registry.engine, clock=clock, notices=registry.notices).sweep() == 1
    assert said(registry).state is (ConsentState.LAPSED if how == "expired" else ConsentState.WITHDRAWN)
    assert asks(said(registry)) == (True, KEPT, at)
    receipts = Receipts(registry.engine, clock=clock)
    assert "erasure" not in receipts.last(person)  # it was asked for by the choice before
    assert told(registry, clock, person)
    assert [(state.everything, state.erased_at is not None) for state in registry.ledger.erasures(person)] == [
        (False, True)
    ]


def test_everything_can_be_erased_after_a_part_and_before_the_part_was_told(
    registry: Registry, clock: ManualClock, person: str
):
    registry.ledger.change(person, LESS, erase=True)
    registry.ledger.withdraw(person, erase=False)
    clock.time += 10
    record = registry.ledger.withdraw(person, erase=True)
    assert record.erases_all
    assert asks(said(registry)) == (True, (), 0)
    assert told(registry, clock, person, readings=9)
    part, whole = registry.ledger.erasures(person)
    assert (part.everything, part.readings, whole.everything, whole.readings) == (False, 0, True, 9)
    assert part.erased_at == whole.erased_at


def test_a_move_after_it_asks_for_nothing_more(registry: Registry, clock: ManualClock, person: str):
    registry.ledger.change(person, LESS, erase=True)
    moves = Moves(registry.ledger, clock=clock)
    with pytest.raises(LedgerRefusal):
        moves.to_district(person, "WK034404")
    told(registry, clock, person)
    moves.to_district(person, "WK034404")
    assert asks(said(registry)) == (False, (), 0)


def test_what_is_left_of_a_choice_goes_on_as_if_it_had_always_been_so(
    registry: Registry, clock: ManualClock, person: str
):
    """A band may still hold minutes of before: both choices said yes to them."""
    begun = said(registry).valid_from
    clock.time += 600
    registry.ledger.change(person, LESS)
    message = said(registry)
    assert (message.valid_from, message.choice_at) == (begun, clock.time)
    assert not message.ended_by(clock.time - 60)  # a press before this choice
    clock.time += 600
    registry.ledger.change(person, ALL)
    assert said(registry).valid_from == clock.time  # a kind is new: nothing of it from before


def test_a_part_that_is_erased_goes_on_from_the_choice(registry: Registry, clock: ManualClock, person: str):
    clock.time += 600
    registry.ledger.change(person, LESS, erase=True)
    assert said(registry).valid_from == clock.time


def test_nothing_goes_on_of_a_choice_that_ended(registry: Registry, clock: ManualClock, person: str):
    clock.time += 400 * 86_400  # nobody has said yet that it ended
    registry.ledger.change(person, LESS)
    assert said(registry).valid_from == clock.time


def test_no_receipt_says_erased_before_asked(registry: Registry, clock: ManualClock, person: str):
    clock.time += 0.4
    registry.ledger.change(person, LESS, erase=True)
    told(registry, clock, person)
    with registry.engine.begin() as connection:  # done in the very second
        connection.execute(ERASURES.update().values(erased_at=clock.time - 1.9))
    receipt = Receipts(registry.engine, clock=clock).last(person)
    assert receipt["erasure"]["erasedAt"] >= receipt["erasure"]["askedAt"]


def test_a_no_is_taken_while_an_erasure_is_under_way_and_asks_for_it_again(
    registry: Registry, clock: ManualClock, person: str
) -> None:
    at = clock.time
    registry.ledger.change(person, LESS, erase=True)
    clock.time += 10
    with pytest.raises(LedgerRefusal) as refusal:  # a yes to skin, a no to heart
        registry.ledger.change(person, {Purpose.DISTRICT_INDEX: (Category.SKIN, Category.SELF_REPORT)})
    assert refusal.value.reason is Refusal.ERASURE_OPEN
    assert said(registry).purposes == {Purpose.DISTRICT_INDEX: (Category.SELF_REPORT,)}
    assert asks(said(registry)) == (True, KEPT, at)
    with pytest.raises(LedgerRefusal):  # the rest back, with an erasure that has to wait
        registry.ledger.change(person, {}, erase=True)
    assert said(registry).state is ConsentState.WITHDRAWN
    assert asks(said(registry)) == (True, KEPT, at)
    assert told(registry, clock, person)
    assert [state.erased_at for state in registry.ledger.erasures(person)] == [clock.time]
    registry.ledger.change(person, {}, erase=True)
    assert registry.ledger.current(person).erases_all
    assert registry.ledger.verify() is None
