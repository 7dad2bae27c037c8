"""Objections on each database: kept, listed without a pseudonym, answered once."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.objections import Objection, Objections, Subject
from tests.api_support import CHOICES, NOW, ManualClock, registry_for

pytestmark = pytest.mark.usefixtures("database")


def test_an_objection_waits_until_it_is_answered_once(tmp_path: Path) -> None:
    clock = ManualClock()
    registry = registry_for(tmp_path, clock=clock)
    people = []
    for serial in ("WP-000001", "WP-000002"):
        code = registry.ledger.add_band(serial)
        done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
        people.append(done.record.principal_id)
    objections = Objections(registry.engine, clock=clock)
    assert objections.make(people[0], Subject.FIGURE)
    assert objections.make(people[1], Subject.LOOK)
    waiting = objections.waiting()
    assert [o.subject for o in waiting] == [Subject.FIGURE, Subject.LOOK]
    assert not any(person in str(waiting) for person in people)
    clock.time += 86_400
    assert objections.answer(waiting[0].number, "Gezien.") == people[0]
    assert objections.answer(waiting[0].number, "Anders.") is None
    answered = Objection(waiting[0].number, Subject.FIGURE, NOW, NOW + 86_400, "Gezien.")
    assert objections.of(people[0]) == [answered]
    assert [o.number for o in objections.waiting()] == [waiting[1].number]
    assert [objections.make(people[1], Subject.RESEARCH) for _ in range(10)] == [True] * 9 + [False]
