"""A changed notice and six months end a consent: said in the ledger, on the broker's messages, and to the volunteer."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from api.app import Registry
from api.notices import Notices
from api.records import Event
from api.renewals import Renewals
from contracts.consent import ConsentState, Purpose
from contracts.ports import Fault
from tests.api_support import CHOICES, NOW, ManualClock

pytestmark = pytest.mark.usefixtures("database")


def notices(folder: Path, version: str, *, holds: str = "", body: str = "text") -> Notices:
    folder.mkdir(exist_ok=True)
    for language in ("nl", "en"):
        head = f"version: {version}\n" + (f"holds: {holds}\n" if holds else "") + "changed: Iets.\n\n"
        (folder / f"{language}.md").write_text(f"{head}# Titel\n\n## Kort\n\n- {body}\n\n## Lang\n\nMeer.\n")
    return Notices(folder=folder)


def enrolled(registry: Registry, serial: str = "WP-000001") -> str:
    code = registry.ledger.add_band(serial)
    done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    return done.record.principal_id


def states(registry: Registry) -> set[ConsentState]:
    return {message.state for _, message in registry.outbox.all_after("")}


def test_a_changed_notice_stops_everything_until_it_is_said_yes_to_again(
    registry: Registry, clock: ManualClock, tmp_path: Path
) -> None:
    one, two = enrolled(registry), enrolled(registry, "WP-000002")
    registry.ledger.withdraw(two, erase=False)
    new = Renewals(registry.engine, clock=clock, notices=notices(tmp_path / "new", "2027-1"))
    clock.time += 100
    assert (new.sweep(), new.sweep()) == (1, 0)
    record = registry.ledger.current(one)
    assert (record.event, record.purposes) == (Event.INVALIDATED, {})
    assert states(registry) == {ConsentState.LAPSED, ConsentState.WITHDRAWN}
    assert registry.ledger.covered(Purpose.DISTRICT_INDEX, clock.time) == {}
    assert registry.ledger.current(two).event is Event.WITHDRAWN  # who stopped has nothing to renew
    clock.time += 100
    assert registry.ledger.change(one, CHOICES).event is Event.RENEWED
    assert one in registry.ledger.covered(Purpose.DISTRICT_INDEX, clock.time)
    assert ConsentState.GIVEN in states(registry)
    assert registry.ledger.verify() is None


def test_an_edition_that_changes_nothing_for_people_holds_their_yes(
    registry: Registry, clock: ManualClock, tmp_path: Path
) -> None:
    one = enrolled(registry)
    edition = notices(tmp_path / "new", "2027-1", holds=f"2020-1 {registry.notices.version}")
    assert Renewals(registry.engine, clock=clock, notices=edition).sweep() == 0
    assert registry.ledger.current(one).event is Event.GIVEN


def test_consent_ends_after_six_months_with_a_reminder_before(registry: Registry, clock: ManualClock) -> None:
    one = enrolled(registry)
    record = registry.ledger.current(one)
    assert registry.renewals.days_left(record) is None
    clock.time = record.valid_until - 30 * 86_400
    assert registry.renewals.days_left(record) == 30
    clock.time = record.valid_until - 1
    assert (registry.renewals.days_left(record), registry.renewals.sweep()) == (1, 0)
    clock.time = record.valid_until
    assert registry.renewals.sweep() == 1
    assert registry.ledger.current(one).event is Event.EXPIRED
    assert states(registry) == {ConsentState.LAPSED}


def test_a_text_that_is_edited_under_its_old_version_is_refused(
    registry: Registry, clock: ManualClock, tmp_path: Path
) -> None:
    first = notices(tmp_path / "n", "2027-1")
    Renewals(registry.engine, clock=clock, notices=first).hold_texts()
    Renewals(registry.engine, clock=clock, notices=first).hold_texts()
    edited = notices(tmp_path / "n", "2027-1", body="another text")
    with pytest.raises(Fault, match="give it a new version"):
        Renewals(registry.engine, clock=clock, notices=edited).hold_texts()
    Renewals(registry.engine, clock=clock, notices=notices(tmp_path / "n", "2027-2", body="another text")).hold_texts()


def test_a_notice_has_two_layers_that_are_the_whole_text(registry: Registry) -> None:
    for language in ("nl", "en"):
        notice = registry.notices.of(language)  # type: ignore[arg-type]
        assert f"{notice.short}\n{notice.full}" == notice.text
        assert len(notice.short) < 700 < len(notice.full)


def test_a_text_that_told_less_holds_no_longer(registry: Registry) -> None:
    """The first two did not say that each minute carries the district in which the band was heard."""
    assert registry.notices.holding == {"2026-11-3"}
    for language, told in (("nl", "in welke wijk uw band is gehoord"), ("en", "in which district your band was heard")):
        assert told in registry.notices.of(language).text  # type: ignore[arg-type]


def test_a_spoilt_event_does_not_keep_others_from_being_ended(registry: Registry, clock: ManualClock) -> None:
    enrolled(registry)
    two = enrolled(registry, "WP-000002")
    with registry.engine.begin() as connection:
        connection.execute(text("UPDATE consent_events SET body = 'spoilt' WHERE seq = 1"))
    clock.time = NOW + 200 * 86_400
    assert registry.renewals.sweep() == 1
    assert registry.ledger.current(two).event is Event.EXPIRED
