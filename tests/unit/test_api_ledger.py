"""The consent ledger: choices, refusals, erasures, and a chain in which no change goes unseen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Row, delete, select, text, update

from api import chain, records
from api.app import Registry
from api.ledger import Enrolment, ErasureTotals, LedgerRefusal, Refusal
from api.tables import BANDS, BEARER_TOKENS, CONSENT_CHAIN, CONSENT_EVENTS, VOLUNTEERS
from contracts.consent import ConsentState, Purpose, band_key, band_token
from contracts.reading import Category, valid_pseudonym
from contracts.wire import Erasure
from tests.api_support import BAND_KEY, CHOICES, NOW, ManualClock, registry_for
from tests.registrykit.databases import without_guards

pytestmark = pytest.mark.usefixtures("database")


def enrol(registry: Registry, serial: str = "WP-000001", **given: object) -> Enrolment:
    values: dict[str, object] = {"district": "WK034403", "adult": True, "language": "nl", "choices": CHOICES}
    return registry.ledger.enrol(registry.ledger.add_band(serial), **(values | given))  # type: ignore[arg-type]


def token(serial: str = "WP-000001") -> str:
    return band_token(band_key(BAND_KEY), serial)


def erased(revision: int) -> Erasure:
    return Erasure(revision=revision, readings=3, reports=1, asked_at=NOW, erased_at=NOW + 2.5)


def test_an_enrolment_covers_what_was_chosen_from_that_second_on_for_six_months(
    registry: Registry, clock: ManualClock
) -> None:
    clock.time = NOW + 0.25
    record = enrol(registry).record
    cover = registry.ledger.covered(Purpose.DISTRICT_INDEX, NOW + 60)[record.principal_id]
    assert cover.categories == {Category.HEART, Category.SELF_REPORT}
    assert cover.district == "WK034403"
    assert cover.valid_from == NOW + 1
    assert datetime.fromtimestamp(record.valid_until, UTC).date().isoformat() == "2027-05-23"
    assert registry.ledger.covered(Purpose.DISTRICT_INDEX, record.valid_until) == {}
    assert registry.ledger.covered(Purpose.RESEARCH_PROFILE, NOW + 60) == {}


def test_nothing_chosen_covers_nothing_and_is_said_as_a_withdrawal(registry: Registry) -> None:
    record = enrol(registry, choices={Purpose.DISTRICT_INDEX: ()}).record
    assert record.event is records.Event.REFUSED
    message = registry.outbox.message_for(token())
    assert message is not None
    assert message.state is ConsentState.WITHDRAWN
    assert registry.ledger.covered(Purpose.DISTRICT_INDEX, NOW + 60) == {}


def test_a_pseudonym_is_random_and_a_bearer_token_is_kept_as_a_hash_only(registry: Registry) -> None:
    first, second = enrol(registry), enrol(registry, "WP-000002")
    assert valid_pseudonym(first.record.principal_id)
    assert first.record.principal_id != second.record.principal_id
    assert registry.ledger.pseudonym_of(first.bearer) == first.record.principal_id
    assert registry.ledger.pseudonym_of("guess") is None
    with registry.engine.connect() as connection:
        kept = connection.scalars(select(BEARER_TOKENS.c.hash)).all()
    assert first.bearer not in kept


def test_a_claim_code_is_kept_as_a_keyed_hash_and_read_in_any_writing(registry: Registry) -> None:
    code = registry.ledger.add_band("WP-000001")
    assert len(code.replace("-", "")) * 5 >= 80
    with registry.engine.connect() as connection:
        row = connection.execute(select(BANDS)).one()
    assert code not in str(row)
    assert "WP-000001" not in str(row)
    spoken = code.lower().replace("-", " ").replace("o", "0").replace("i", "1")
    registry.ledger.enrol(spoken, district="WK034403", adult=True, language="nl", choices=CHOICES)


@pytest.mark.parametrize("which", ["unknown", "used"])
def test_unknown_and_used_claim_codes_are_refused_alike(registry: Registry, which: str) -> None:
    code = registry.ledger.add_band("WP-000001")
    registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    tried = code if which == "used" else "AAAA-BBBB-CCCC-DDDD"
    with pytest.raises(LedgerRefusal) as refusal:
        registry.ledger.enrol(tried, district="WK034403", adult=True, language="nl", choices=CHOICES)
    assert refusal.value.reason is Refusal.CLAIM


def test_a_waiting_band_gets_a_new_code_and_a_worn_one_none(registry: Registry) -> None:
    old = registry.ledger.add_band("WP-000001")
    new = registry.ledger.add_band("WP-000001")
    with pytest.raises(LedgerRefusal):
        registry.ledger.enrol(old, district="WK034403", adult=True, language="nl", choices=CHOICES)
    registry.ledger.enrol(new, district="WK034403", adult=True, language="nl", choices=CHOICES)
    with pytest.raises(LedgerRefusal):
        registry.ledger.add_band("WP-000001")


@pytest.mark.parametrize(
    ("given_", "reason"), [({"adult": False}, Refusal.NOT_ADULT), ({"district": "WK999999"}, Refusal.DISTRICT)]
)
def test_minors_and_unknown_districts_are_refused_and_leave_the_code_unused(
    registry: Registry, given_: dict[str, object], reason: Refusal
) -> None:
    with pytest.raises(LedgerRefusal) as refusal:
        enrol(registry, **given_)
    assert refusal.value.reason is reason
    enrol(registry)


def test_each_event_of_a_band_has_a_higher_revision(registry: Registry, clock: ManualClock) -> None:
    pseudonym = enrol(registry).record.principal_id
    revisions = []
    for act in (
        lambda: registry.ledger.change(pseudonym, {Purpose.DISTRICT_INDEX: (Category.HEART,)}),
        lambda: registry.ledger.withdraw(pseudonym, erase=False),
        lambda: registry.ledger.change(pseudonym, CHOICES),
    ):
        message = registry.outbox.message_for(token())
        assert message is not None
        revisions.append(message.revision)
        clock.time += 10
        act()
    message = registry.outbox.message_for(token())
    assert message is not None
    revisions.append(message.revision)
    assert revisions == sorted(set(revisions))
    assert message.valid_from == NOW + 30  # nothing from before this choice


def test_a_withdrawal_covers_nothing_and_repeating_it_changes_nothing(registry: Registry) -> None:
    pseudonym = enrol(registry).record.principal_id
    first = registry.ledger.withdraw(pseudonym, erase=False)
    assert registry.ledger.covered(Purpose.DISTRICT_INDEX, NOW + 60) == {}
    assert registry.ledger.withdraw(pseudonym, erase=False) == first
    assert len(registry.ledger.history(pseudonym)) == 2


def test_choosing_nothing_after_consent_is_a_withdrawal(registry: Registry) -> None:
    pseudonym = enrol(registry).record.principal_id
    assert registry.ledger.change(pseudonym, {}).event is records.Event.WITHDRAWN


def test_an_erasure_asked_after_a_withdrawal_still_goes_out(registry: Registry) -> None:
    pseudonym = enrol(registry).record.principal_id
    registry.ledger.withdraw(pseudonym, erase=False)
    registry.ledger.withdraw(pseudonym, erase=True)
    message = registry.outbox.message_for(token())
    assert message is not None
    assert message.erase
    assert len(registry.ledger.erasures(pseudonym)) == 1


def test_no_new_choice_takes_the_place_of_an_erasure_that_is_under_way(registry: Registry) -> None:
    pseudonym = enrol(registry).record.principal_id
    registry.ledger.withdraw(pseudonym, erase=True)
    message = registry.outbox.message_for(token())
    assert message is not None
    with pytest.raises(LedgerRefusal) as refusal:
        registry.ledger.change(pseudonym, CHOICES)
    assert refusal.value.reason is Refusal.ERASURE_OPEN
    assert registry.ledger.record_erasure(pseudonym, erased(message.revision))
    registry.ledger.change(pseudonym, CHOICES)
    assert registry.ledger.verify() is None


def test_an_erasure_becomes_a_receipt_once(registry: Registry) -> None:
    pseudonym = enrol(registry).record.principal_id
    registry.ledger.withdraw(pseudonym, erase=True)
    message = registry.outbox.message_for(token())
    assert message is not None
    assert not registry.ledger.record_erasure(pseudonym, erased(message.revision - 1))  # an older word
    assert registry.ledger.record_erasure(pseudonym, erased(message.revision))
    assert not registry.ledger.record_erasure(pseudonym, erased(message.revision))
    assert not registry.ledger.record_erasure("a" * 26, erased(message.revision))
    (state,) = registry.ledger.erasures(pseudonym)
    assert (state.readings, state.reports, state.erased_at) == (3, 1, NOW + 2.5)
    assert state.seconds == 3.5
    assert state._replace(erased_at=state.asked_at - 0.6).seconds == pytest.approx(0.4)  # within the second of the tap
    totals = registry.ledger.erasure_totals()
    assert totals == ErasureTotals(done=1, under_way=0, seconds=(3.5,))  # the button may have been a second earlier


def test_the_share_of_erasures_that_was_done_in_time_is_counted_to_the_last_one():
    totals = ErasureTotals(done=200, under_way=0, seconds=tuple(float(second) for second in range(1, 201)))
    assert [totals.within(share) for share in (0.5, 0.99, 1.0)] == [100.0, 198.0, 200.0]
    assert ErasureTotals(done=0, under_way=0, seconds=()).within(0.99) is None


def test_the_outbox_keeps_a_band_until_its_newest_message_was_acknowledged(registry: Registry) -> None:
    pseudonym = enrol(registry).record.principal_id
    ((found, first),) = registry.outbox.unsent()
    registry.ledger.withdraw(pseudonym, erase=False)
    registry.outbox.mark_sent([(found, first.revision)])
    ((_, second),) = registry.outbox.unsent()
    assert second.state is ConsentState.WITHDRAWN
    registry.outbox.mark_sent([(found, second.revision)])
    assert registry.outbox.empty()


def test_a_record_carries_the_notice_that_was_read(registry: Registry) -> None:
    record = enrol(registry, language="en").record
    assert record.notice.sha256 == registry.notices.of("en").sha256
    assert record.notice.uri.endswith("/en/toestemming")
    assert registry.ledger.change(record.principal_id, CHOICES).notice.language == "en"
    assert registry.ledger.change(record.principal_id, CHOICES, language="nl").notice.language == "nl"


def filled(registry: Registry) -> None:
    for number in range(1, 4):
        pseudonym = enrol(registry, f"WP-{number:06}").record.principal_id
        registry.ledger.withdraw(pseudonym, erase=True)
    assert registry.ledger.verify() is None


def test_choices_that_come_while_it_is_verified_are_no_fault(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(registry)
    pseudonym = enrol(registry, "WP-000009").record.principal_id
    judge, withdrawn = chain._fault, []

    def in_the_middle(link: chain.Link, row: Row[Any]) -> str | None:
        if not withdrawn:
            withdrawn.append(registry.ledger.withdraw(pseudonym, erase=True))
        return judge(link, row)

    monkeypatch.setattr(chain, "_fault", in_the_middle)
    assert registry.ledger.verify() is None
    assert withdrawn


@pytest.mark.parametrize("seq", [1, 3, 6])
def test_an_edited_event_is_found_where_it_is(registry: Registry, seq: int) -> None:
    filled(registry)
    with registry.engine.begin() as connection:
        body = connection.scalar(select(CONSENT_EVENTS.c.body).where(CONSENT_EVENTS.c.seq == seq))
        edited = str(body).replace("WK034403", "WK034404")
        connection.execute(update(CONSENT_EVENTS).where(CONSENT_EVENTS.c.seq == seq).values(body=edited))
    fault = registry.ledger.verify()
    assert fault is not None
    assert (fault.seq, fault.what) == (seq, "edited")


@pytest.mark.parametrize("seq", [1, 3, 6])
def test_a_removed_event_is_found_where_it_was(registry: Registry, seq: int) -> None:
    filled(registry)
    with registry.engine.begin() as connection:
        connection.execute(text(without_guards(connection.dialect.name)))
        connection.execute(update(VOLUNTEERS).where(VOLUNTEERS.c.last_event == seq).values(last_event=2))
        connection.execute(text("DELETE FROM erasures"))
        connection.execute(delete(CONSENT_EVENTS).where(CONSENT_EVENTS.c.seq == seq))
    fault = registry.ledger.verify()
    assert fault is not None
    assert fault.seq == seq
    assert "removed" in fault.what


def test_two_events_that_changed_places_are_found(registry: Registry) -> None:
    filled(registry)
    with registry.engine.begin() as connection:
        rows = connection.execute(select(CONSENT_EVENTS).where(CONSENT_EVENTS.c.seq.in_([2, 4]))).all()
        for row, seq in zip(rows, (4, 2), strict=True):
            values = {"body": row.body, "hash": row.hash, "previous": row.previous, "pseudonym": row.pseudonym}
            connection.execute(update(CONSENT_EVENTS).where(CONSENT_EVENTS.c.seq == seq).values(values))
    fault = registry.ledger.verify()
    assert fault is not None
    assert fault.seq == 2


def test_an_event_given_to_another_volunteer_is_found(registry: Registry) -> None:
    filled(registry)
    with registry.engine.begin() as connection:
        other = connection.scalar(select(CONSENT_EVENTS.c.pseudonym).where(CONSENT_EVENTS.c.seq == 1))
        connection.execute(update(CONSENT_EVENTS).where(CONSENT_EVENTS.c.seq == 5).values(pseudonym=other))
    fault = registry.ledger.verify()
    assert fault is not None
    assert fault.seq == 5


def test_a_withdrawal_that_is_passed_over_is_found(registry: Registry) -> None:
    filled(registry)
    with registry.engine.begin() as connection:
        connection.execute(update(VOLUNTEERS).where(VOLUNTEERS.c.last_event == 4).values(last_event=3))
    fault = registry.ledger.verify()
    assert fault is not None
    assert fault.seq == 3


def test_a_chain_cut_at_its_end_with_its_head_put_back_misses_a_volunteers_last_word(registry: Registry) -> None:
    filled(registry)
    with registry.engine.begin() as connection:
        connection.execute(text(without_guards(connection.dialect.name)))
        connection.execute(text("DELETE FROM erasures"))
        connection.execute(update(VOLUNTEERS).where(VOLUNTEERS.c.last_event == 6).values(last_event=4))
        connection.execute(delete(CONSENT_EVENTS).where(CONSENT_EVENTS.c.seq == 6))
        digest = connection.scalar(select(CONSENT_EVENTS.c.hash).where(CONSENT_EVENTS.c.seq == 5))
        connection.execute(update(CONSENT_CHAIN).values(seq=5, hash=digest))
    assert registry.ledger.verify() is not None


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    first, second = registry_for(tmp_path), registry_for(tmp_path)
    for number in range(6):
        enrol((first, second)[number % 2], f"WP-{number:06}")
    assert first.ledger.verify() is None
    assert len(second.ledger.covered(Purpose.DISTRICT_INDEX, NOW + 60)) == 6


def test_a_spoilt_event_does_not_hold_up_the_withdrawal_of_another(registry: Registry) -> None:
    enrol(registry)
    other = enrol(registry, "WP-000002").record.principal_id
    registry.ledger.withdraw(other, erase=False)
    with registry.engine.begin() as connection:
        connection.execute(update(CONSENT_EVENTS).where(CONSENT_EVENTS.c.seq == 1).values(body="{}"))
    ((_, message),) = registry.outbox.unsent()
    assert (message.pseudonym, message.state) == (other, ConsentState.WITHDRAWN)
    fault = registry.ledger.verify()
    assert fault is not None
    assert fault.seq == 1


choices = st.dictionaries(st.sampled_from(Purpose), st.lists(st.sampled_from(Category)).map(tuple))


@given(choices)
def test_a_record_survives_its_canonical_text_and_names_each_category_once(
    chosen: dict[Purpose, tuple[Category, ...]],
) -> None:
    purposes = records.chosen(chosen)
    assert all(len(set(kept)) == len(kept) > 0 for kept in purposes.values())
    assert {p: set(kept) for p, kept in purposes.items()} == {p: set(k) for p, k in chosen.items() if k}
    record = records.ConsentRecord(
        record_id="x", principal_id="a" * 26, event=records.Event.GIVEN, at=NOW, purposes=purposes,
        district="WK034403", adult=True, valid_from=NOW, valid_until=records.end_of_consent(NOW), controller="c",
        notice=records.NoticeReference(uri="u", version="1", sha256="0", language="nl"), withdrawal_method="w",
    )  # fmt: skip
    assert records.parse(records.canonical(record)) == record


@pytest.mark.parametrize(
    ("begin", "end"),
    [("2026-08-31", "2027-02-28"), ("2027-08-30", "2028-02-29"), ("2026-01-15", "2026-07-15")],
)
def test_consent_ends_after_six_calendar_months(begin: str, end: str) -> None:
    at = int(datetime.fromisoformat(f"{begin}T10:00:00+00:00").timestamp())
    assert datetime.fromtimestamp(records.end_of_consent(at), UTC).isoformat() == f"{end}T10:00:00+00:00"
