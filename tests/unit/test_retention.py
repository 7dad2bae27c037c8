"""What is kept for a time goes when that is over, also when nobody logs in any more."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from api.accounts import SESSION_S, Accounts
from api.recoveries import USABLE_S, WAIT_S, Recoveries
from api.shown_once import SHOWN_S, ShownOnce
from api.tables import PASSKEY_CHALLENGES, RECOVERIES, WEB_SESSIONS, WEB_SHOWN_ONCE
from tests.api_support import CHOICES, ManualClock, registry_for

pytestmark = pytest.mark.usefixtures("database")


def test_each_goes_at_its_time_and_not_before(tmp_path: Path, clock: ManualClock) -> None:
    registry = registry_for(tmp_path, clock=clock)
    code = registry.ledger.add_band("WP-000001")
    pseudonym = registry.ledger.enrol(
        code, district="WK034403", adult=True, language="nl", choices=CHOICES
    ).record.principal_id
    accounts = Accounts(registry.engine, clock=clock)
    token = accounts.open(pseudonym)
    ShownOnce(registry.engine, clock=clock).keep(token, words="AAAA-BBBB", code=code)
    Recoveries(registry.engine, clock=clock, accounts=accounts, ledger=registry.ledger).print_for(pseudonym)
    with registry.engine.begin() as connection:
        challenge = {"hash": "h", "ceremony": "log-in", "pseudonym": None, "expires_at": int(clock.time) + 300}
        connection.execute(insert(PASSKEY_CHALLENGES).values(challenge))

    def left() -> set[str]:
        tables = (WEB_SHOWN_ONCE, PASSKEY_CHALLENGES, WEB_SESSIONS, RECOVERIES)
        with registry.engine.connect() as connection:
            return {one.name for one in tables if connection.scalar(select(func.count()).select_from(one))}

    began, kept = clock.time, left()
    assert len(kept) == 4
    for after_s, table in ((300, PASSKEY_CHALLENGES), (SHOWN_S, WEB_SHOWN_ONCE), (SESSION_S, WEB_SESSIONS)):
        clock.time = began + after_s - 1
        registry.retention.sweep()
        assert left() == kept
        clock.time = began + after_s
        registry.retention.sweep()
        kept = kept - {table.name}
        assert left() == kept
    clock.time = began + WAIT_S + USABLE_S
    registry.retention.sweep()
    assert left() == set()


def test_the_api_sees_to_it_each_minute(tmp_path: Path, clock: ManualClock) -> None:
    registry = registry_for(tmp_path, clock=clock)
    publisher = registry.publisher("mqtt://127.0.0.1:1")
    assert publisher is not None
    assert registry.retention.sweep in publisher._sweeps
