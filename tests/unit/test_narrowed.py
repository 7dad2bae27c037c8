"""What waits in the outbox when a wearer says yes to less: of that alone anything goes, whatever the disk does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentMessage, ConsentState, Purpose
from contracts.reading import Category, Reading
from gateway.outbox import Row
from gateway.uplink import Uplink

PERSON, TOKEN = "a" * 26, "t" * 26
NOW = 1_762_502_940


class SetClock:
    def now(self) -> float:
        return float(NOW)


def consent(revision: int, *categories: Category, state: ConsentState = ConsentState.GIVEN) -> ConsentMessage:
    return ConsentMessage(
        revision=revision, issued_at=revision, state=state, pseudonym=PERSON, valid_until=4_000_000_000,
        purposes={Purpose.DISTRICT_INDEX: categories},
    )  # fmt: skip


@pytest.fixture
def uplink(tmp_path: Path) -> Iterator[Uplink]:
    """One that never connects, with readings of two kinds of somebody who said yes to both."""
    found = Uplink(
        broker=BrokerAddress("127.0.0.1", 1), gateway="gw", district="WK034403", outbox=tmp_path, clock=SetClock()
    )
    found._consent_came(TOKEN, consent(1, Category.HEART, Category.SKIN))
    assert found.accept(TOKEN, [Reading(pseudonym=PERSON, minute=NOW, hr=60.0, eda=2.0)]) == 1
    yield found
    found._outbox.close()


def rows(uplink: Uplink) -> list[Row]:
    return [row for row in uplink._outbox.after(0, 9) if row.pseudonym]


def refuse(uplink: Uplink, refused: bool) -> None:
    """The disk takes no write."""
    uplink._outbox._db.execute(f"PRAGMA query_only = {int(refused)}")


def test_what_the_disk_did_not_let_be_narrowed_is_held_back_and_narrowed_later(uplink: Uplink):
    assert all(map(uplink._may_send, rows(uplink)))
    refuse(uplink, True)
    uplink._consent_came(TOKEN, consent(2, Category.HEART))
    uplink._consent_came(TOKEN, consent(3, Category.HEART))  # the same again changes nothing
    (held,) = rows(uplink)
    assert b"eda" in held.payload
    assert not uplink._may_send(held)
    uplink._apply_the_rest()
    assert rows(uplink) == [held]
    refuse(uplink, False)
    uplink._apply_the_rest()
    (narrowed,) = rows(uplink)
    assert wire.decode_readings(narrowed.payload).readings == (Reading(pseudonym=PERSON, minute=NOW, hr=60.0),)
    assert uplink._may_send(narrowed)
    assert not uplink._unapplied


def test_what_the_disk_did_not_let_be_purged_is_purged_later(uplink: Uplink):
    refuse(uplink, True)
    uplink._consent_came(TOKEN, consent(2, state=ConsentState.WITHDRAWN))
    (held,) = rows(uplink)
    assert not uplink._may_send(held)
    refuse(uplink, False)
    uplink._housekeep()
    assert rows(uplink) == []
    assert uplink.status().minutes_dropped == {"outbox-withdrawn": 1}


def test_what_was_fetched_before_a_narrower_choice_does_not_go(uplink: Uplink):
    (fetched,) = rows(uplink)
    uplink._consent_came(TOKEN, consent(2, Category.HEART))
    assert not uplink._may_send(fetched)
    assert all(map(uplink._may_send, rows(uplink)))


def test_a_row_that_was_damaged_on_the_disk_stops_nothing(uplink: Uplink):
    (whole,) = rows(uplink)
    assert not uplink._may_send(whole._replace(payload=whole.payload[:-1]))
