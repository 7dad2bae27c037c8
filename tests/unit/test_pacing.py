"""A hostile volunteer does not fill the ledger, and no bound ever stands before a no."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.ledger import Ledger, LedgerRefusal, Refusal
from api.moves import Moves
from api.pacing import PER_HOUR_MAX
from api.records import ConsentRecord, Event, Purposes, chosen
from contracts import wire
from contracts.consent import STOP_CLOCK_S, Purpose
from contracts.reading import Category
from tests.api_support import ManualClock, registry_for

HEART, SKIN, MOTION = Category.HEART, Category.SKIN, Category.MOTION
#: A whole set of yeses can be taken back one by one.
STEPS = len(Purpose) * len(Category)

pytestmark = pytest.mark.usefixtures("database")


def yes(*kinds: Category) -> Purposes:
    return {Purpose.DISTRICT_INDEX: kinds}


class Person:
    """A volunteer who says yes to heart."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.clock = clock
        self.ledger: Ledger = registry_for(folder, clock=clock).ledger
        code = self.ledger.add_band("WP-000001")
        done = self.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=yes(HEART))
        self.pseudonym = done.record.principal_id

    def choose(self, choices: Purposes, *, erase: bool = False) -> LedgerRefusal | None:
        try:
            self.ledger.change(self.pseudonym, choices, erase=erase)
        except LedgerRefusal as refusal:
            return refusal
        return None

    def spend(self) -> None:
        """As many changes as an hour has, ending at heart and skin."""
        for number in range(self.events(), PER_HOUR_MAX):
            assert self.choose(yes(*((HEART, SKIN) if number % 2 else (SKIN, MOTION)))) is None
        assert self.current().purposes == yes(HEART, SKIN)

    def current(self) -> ConsentRecord:
        return self.ledger.current(self.pseudonym)

    def events(self) -> int:
        return len(self.ledger.history(self.pseudonym))

    def erased(self) -> None:
        """The store is done with what it was asked for."""
        done = wire.Erasure(revision=10**9, readings=0, reports=0, asked_at=0, erased_at=self.clock.time)
        self.ledger.record_erasure(self.pseudonym, done)


@pytest.fixture
def person(tmp_path: Path, clock: ManualClock) -> Person:
    return Person(tmp_path, clock)


def test_a_form_that_is_sent_twice_adds_nothing_and_the_same_yes_later_is_a_newer_word(person: Person) -> None:
    for _ in range(3):
        assert person.choose(yes(HEART)) is None
    assert person.events() == 1
    person.clock.time += STOP_CLOCK_S + 1
    before = person.current().valid_until
    assert person.choose(yes(HEART)) is None
    assert (person.events(), person.current().valid_until > before) == (2, True)


def test_no_again_adds_nothing_and_an_erasure_again_neither(person: Person) -> None:
    for _ in range(3):
        assert person.choose({}) is None
    assert person.events() == 2
    for _ in range(3):
        assert person.choose({}, erase=True) is None
        person.erased()
    assert person.events() == 4  # the no, the erasure, its receipt
    assert person.current().erases_all


def test_a_further_yes_waits_for_an_hour_and_is_told_until_when(person: Person) -> None:
    first = person.clock.time
    person.spend()
    refusal = person.choose(yes(HEART, SKIN, MOTION))
    assert refusal is not None
    assert (refusal.reason, refusal.free_from) == (Refusal.TOO_OFTEN, first + 3600)
    assert person.events() == PER_HOUR_MAX
    person.clock.time = first + 3599
    assert person.choose(yes(HEART, SKIN, MOTION)) is not None
    person.clock.time = first + 3600
    assert person.choose(yes(HEART, SKIN, MOTION)) is None
    assert person.current().purposes == yes(HEART, SKIN, MOTION)


def test_a_no_is_taken_at_once_whatever_was_done_before(person: Person) -> None:
    person.spend()
    assert person.choose(yes(SKIN)) is None
    assert person.current().purposes == yes(SKIN)
    assert person.choose({}) is None
    assert person.current().event is Event.WITHDRAWN
    assert person.choose(yes(SKIN)) is not None
    person.ledger.withdraw(person.pseudonym, erase=True)
    assert person.current().erases_all


def test_of_a_choice_that_is_too_much_the_no_is_taken_all_the_same(person: Person) -> None:
    person.spend()
    refusal = person.choose(yes(SKIN, MOTION), erase=True)
    assert refusal is not None
    record = person.current()
    assert record.purposes == yes(SKIN)  # heart is out, motion is not in
    assert set(record.keep) == {SKIN, MOTION}  # what was wished for is not erased
    person.erased()
    refusal = person.choose(yes(MOTION))
    assert refusal is not None
    assert person.current().event is Event.WITHDRAWN


def test_districts_cannot_be_changed_without_end_either(person: Person, clock: ManualClock) -> None:
    moves = Moves(person.ledger, clock=clock)
    for _ in range(3):
        moves.to_district(person.pseudonym, "WK034403")
    assert person.events() == 1
    for number in range(1, PER_HOUR_MAX):
        moves.to_district(person.pseudonym, ("WK034403", "WK034401")[number % 2])
    with pytest.raises(LedgerRefusal) as refusal:
        moves.to_district(person.pseudonym, "WK034404")
    assert refusal.value.reason is Refusal.TOO_OFTEN
    assert person.choose({}) is None


_CHOICES = st.fixed_dictionaries({p: st.lists(st.sampled_from(Category), unique=True).map(tuple) for p in Purpose})
_DEED = st.tuples(_CHOICES, st.booleans(), st.sampled_from([0, 1, 60, 600]))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(deeds=st.lists(_DEED, min_size=1, max_size=120))
def test_whatever_somebody_does_a_no_holds_and_an_hour_has_a_bound(deeds: list[tuple[Purposes, bool, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        person = Person(Path(folder), ManualClock())
        times: list[float] = [person.clock.time]
        for choices, erase, seconds in deeds:
            person.clock.time += seconds
            before = person.events()
            person.choose(choices, erase=erase)
            person.erased()
            wanted, holds = chosen(choices), person.current().purposes
            assert all(set(kinds) <= set(wanted.get(purpose, ())) for purpose, kinds in holds.items())
            times += [person.clock.time] * (person.events() - before)
        for begin in times:
            # Each that takes back may bring an erasure and its receipt.
            assert len([t for t in times if begin <= t < begin + 3600]) <= PER_HOUR_MAX + 3 * (STEPS + 1)
