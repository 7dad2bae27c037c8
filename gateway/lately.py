"""What the broker acknowledged in the last minute, in memory: sent again when the connection breaks.

Mosquitto writes what it holds every second (`autosave_interval 1`, deploy/mosquitto) and acknowledges before that, so
its `kill -9` takes the last second of acknowledged messages with it. Nothing on the wire tells of it. A gateway may
hear of a dead broker only when a keep-alive goes unanswered, so a minute is kept and not a second. Sending a reading
twice changes nothing: its key is (pseudonym, minute).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Final

from gateway.outbox import Row

KEEP_S: Final = 60.0
#: A week's backlog that drains at once is more than a minute's readings: the newest count.
KEEP_ROWS: Final = 20_000


class Lately:
    """Rows that left the outbox a moment ago. Thread-safe. `at` is any clock that only rises, in seconds."""

    def __init__(self, *, keep_s: float = KEEP_S, keep_rows: int = KEEP_ROWS) -> None:
        self._keep_s = keep_s
        self._rows: deque[tuple[float, Row]] = deque(maxlen=keep_rows)
        self._again: deque[Row] = deque(maxlen=keep_rows)
        self._forgotten: set[str] = set()  # since rows were taken
        self._lock = threading.Lock()

    def acknowledged(self, rows: Iterable[Row], at: float) -> None:
        """The broker says that it has these."""
        with self._lock:
            self._rows.extend((at, row) for row in rows)
            while self._rows and self._rows[0][0] < at - self._keep_s:
                self._rows.popleft()

    def lost(self, at: float) -> None:
        """The connection broke: what was acknowledged in the time before is to be sent again."""
        with self._lock:
            self._again.extend(row for when, row in self._rows if when >= at - self._keep_s)
            self._rows.clear()

    def take(self, count: int) -> list[Row]:
        """The oldest rows that are to be sent again; they are given once."""
        with self._lock:
            self._forgotten.clear()
            return [self._again.popleft() for _ in range(min(count, len(self._again)))]

    def keep(self, rows: Iterable[Row]) -> None:
        """These, just taken, could not be sent now: they are due again, after the others."""
        with self._lock:
            self._again.extend(row for row in rows if row.pseudonym not in self._forgotten)

    def forget(self, pseudonym: str) -> None:
        """Nothing of this wearer may be sent again: the consent changed."""
        with self._lock:
            self._forgotten.add(pseudonym)
            kept = [entry for entry in self._rows if entry[1].pseudonym != pseudonym]
            again = [row for row in self._again if row.pseudonym != pseudonym]
            self._rows.clear()
            self._rows.extend(kept)
            self._again.clear()
            self._again.extend(again)
