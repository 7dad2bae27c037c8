"""What is kept for a time goes when that is over, also when nobody comes by: as the processing register says."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, delete

from api.tables import PASSKEY_CHALLENGES, RECOVERIES, WEB_SESSIONS, WEB_SHOWN_ONCE
from contracts.ports import Clock

#: Until when each row is of use, unix seconds.
_USABLE_UNTIL: Final = (
    WEB_SESSIONS.c.expires_at,
    WEB_SHOWN_ONCE.c.until,
    RECOVERIES.c.usable_until,
    PASSKEY_CHALLENGES.c.expires_at,
)


class Retention:
    """Deletes log-ins, shown codes, recovery sheets and challenges whose time is over. Safe for threads."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def sweep(self) -> None:
        """Delete them. Repeatable, also by several processes at once."""
        now = int(self._clock.now())
        with self._engine.begin() as connection:
            for until in _USABLE_UNTIL:
                connection.execute(delete(until.table).where(until <= now))
