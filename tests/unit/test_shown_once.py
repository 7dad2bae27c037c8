"""A recovery code is shown to one session, until it is written down, and never after its time."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, update

from api.accounts import Accounts
from api.shown_once import SHOWN_S, ShownOnce
from api.tables import WEB_SESSIONS, WEB_SHOWN_ONCE
from tests.api_support import CHOICES, ManualClock, registry_for

WORDS = "ABCD-EFGH-IJKL-MNOP-QRST"

pytestmark = pytest.mark.usefixtures("database")


class Scene:
    """Two sessions of one volunteer; the first has just got a recovery code."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        registry = registry_for(folder, clock=clock)
        code = registry.ledger.add_band("WP-000001")
        done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
        self.engine, self.clock = registry.engine, clock
        self.accounts = Accounts(self.engine, clock=clock)
        self.once = ShownOnce(self.engine, clock=clock)
        self.pseudonym = done.record.principal_id
        self.mine, self.other = (self.accounts.open(self.pseudonym) for _ in range(2))
        self.once.keep(self.mine, words=WORDS, code="the code")

    def rows(self) -> str:
        with self.engine.connect() as connection:
            kept = [connection.execute(select(table)).all() for table in (WEB_SHOWN_ONCE, WEB_SESSIONS)]
        return str(kept)


@pytest.fixture
def scene(tmp_path: Path, clock: ManualClock) -> Scene:
    return Scene(tmp_path, clock)


def test_it_is_shown_again_and_again_to_its_session_alone_until_it_is_written_down(scene: Scene) -> None:
    for _ in range(2):
        shown = scene.once.of(scene.mine)
        assert shown is not None
        assert (shown.words, shown.code, shown.until) == (WORDS, "the code", int(scene.clock.time) + SHOWN_S)
        assert scene.once.of(scene.other) is None
    scene.once.forget(scene.mine)
    assert scene.once.of(scene.mine) is None


def test_the_registry_alone_does_not_tell_it(scene: Scene) -> None:
    kept = scene.rows()
    assert [text for text in (WORDS, WORDS.replace("-", ""), "the code", scene.mine) if text in kept] == []


def test_a_row_that_is_put_to_another_session_or_given_more_time_stays_sealed(scene: Scene) -> None:
    everything = update(WEB_SHOWN_ONCE)
    with scene.engine.begin() as connection:
        connection.execute(everything.values(until=10**11))
    scene.clock.time += SHOWN_S + 1
    assert scene.once.of(scene.mine) is None
    scene.clock.time -= SHOWN_S
    assert scene.once.of(scene.mine) is not None
    with scene.engine.begin() as connection:
        sessions = connection.execute(select(WEB_SESSIONS.c.hash)).scalars().all()
        held = connection.scalar(select(WEB_SHOWN_ONCE.c.session))
        other = next(session for session in sessions if session != held)
        connection.execute(everything.values(session=other))
    assert scene.once.of(scene.other) is None


def test_it_ends_by_itself_and_is_swept_by_the_next_one(scene: Scene) -> None:
    scene.clock.time += SHOWN_S - 1
    assert scene.once.of(scene.mine) is not None
    scene.clock.time += 1
    assert scene.once.of(scene.mine) is None
    scene.once.keep(scene.other, words=WORDS)
    with scene.engine.connect() as connection:
        assert len(connection.execute(select(WEB_SHOWN_ONCE)).all()) == 1


@pytest.mark.parametrize("how", ["logs out", "recovers"])
def test_it_goes_with_its_session(scene: Scene, how: str) -> None:
    if how == "logs out":
        scene.accounts.close(scene.mine)
    else:
        with scene.engine.begin() as connection:
            scene.accounts.end_log_ins(connection, scene.pseudonym)
    with scene.engine.connect() as connection:
        assert connection.execute(select(WEB_SHOWN_ONCE)).all() == []
    assert scene.once.of(scene.mine) is None
