"""Erasing on a withdrawal: once in the store, once told, whatever is killed in between.

What is about to be erased is counted and noted before it is erased, so that a run that was killed between erasing
and telling tells the same counts. Noted is a hash of the pseudonym, not the pseudonym. Called by the writer's thread
alone, between two batches: no batch that was judged under the old consent can be written after the erasure.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from contracts.ports import EVERYTHING, Clock, Holdings, ReadingStore, StoreUnavailable
from contracts.wire import Erasure, encode, erasure_topic
from ingest.consent_feed import Withdrawal
from ingest.rejects import open_sqlite

log = logging.getLogger(__name__)

#: Erasures between two batches, so that neither waits long for the other.
ERASURES_MAX: Final = 10
_NOTHING: Final = Holdings(0, 0)
_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS erasures (
        person TEXT NOT NULL, revision INTEGER NOT NULL, readings INTEGER NOT NULL, reports INTEGER NOT NULL,
        told INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (person, revision)) WITHOUT ROWID;
"""


class Erasures:
    """The withdrawals that still ask for an erasure, and the notes of those that were done."""

    def __init__(
        self,
        *,
        store: ReadingStore,
        notes: Path,
        tell: Callable[[str, bytes], bool],
        covered: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        """`tell` publishes an event and says whether the broker has it; `covered` whether somebody consents now.

        Raises Fault for a file of notes that cannot be used.
        """
        self._store, self._tell, self._covered, self._clock = store, tell, covered, clock
        self._notes = open_sqlite(notes, _SCHEMA)
        self._due: deque[Withdrawal] = deque()
        self._lock = threading.Lock()
        self.done = 0  # erasures told in this run

    def ask(self, withdrawal: Withdrawal) -> None:
        """Queue an erasure. From any thread; bounded by the bands in the mirror."""
        with self._lock:
            self._due.append(withdrawal)

    def waiting(self) -> int:
        """How many are not done yet."""
        with self._lock:
            return len(self._due)

    def work(self) -> int:
        """Do the oldest few; returns how many are still due. Raises StoreUnavailable: what was not done stays due."""
        for _ in range(min(self.waiting(), ERASURES_MAX)):
            withdrawal = self._due[0]
            try:
                self._erase(withdrawal)
            except sqlite3.Error as fault:
                raise StoreUnavailable(f"an erasure cannot be noted: {fault}") from None
            with self._lock:
                self._due.popleft()
        return self.waiting()

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        self._notes.close()

    def _erase(self, withdrawal: Withdrawal) -> None:
        person = hashlib.sha256(withdrawal.pseudonym.encode()).hexdigest()
        held, told = self._noted(person, withdrawal)
        extent = withdrawal.extent
        if told and (
            # A retained message is heard again at each start. Who has consented anew with another band since is not
            # erased again, where all was; about anybody else nothing of it may be there, and it is looked at.
            (extent == EVERYTHING and self._covered(withdrawal.pseudonym))
            or self._store.holdings(withdrawal.pseudonym, extent) == _NOTHING
        ):
            return
        self._store.erase(withdrawal.pseudonym, extent)
        if self._store.holdings(withdrawal.pseudonym, extent) != _NOTHING:
            raise StoreUnavailable("something was left after an erasure")
        if told:
            return
        event = Erasure(
            revision=withdrawal.revision,
            readings=held.readings,
            reports=held.reports,
            asked_at=withdrawal.asked_at,
            erased_at=self._clock.now(),
        )
        if not self._tell(erasure_topic(withdrawal.pseudonym), encode(event)):
            raise StoreUnavailable("the broker has not acknowledged the event of an erasure")
        with self._notes:
            self._notes.execute(
                "UPDATE erasures SET told = 1 WHERE person = ? AND revision = ?", (person, withdrawal.revision)
            )
        self.done += 1

    def _noted(self, person: str, withdrawal: Withdrawal) -> tuple[Holdings, bool]:
        """What this erasure takes away, counted before it is gone, and whether that was told."""
        key = (person, withdrawal.revision)
        row = self._note_of(key)
        if row is None:
            held = self._store.holdings(withdrawal.pseudonym, withdrawal.extent)
            with self._notes:  # another worker may have been first: its count is kept
                self._notes.execute(
                    "INSERT OR IGNORE INTO erasures (person, revision, readings, reports) VALUES (?, ?, ?, ?)",
                    (*key, *held),
                )
            row = self._note_of(key)
        return Holdings(row[0], row[1]), bool(row[2])

    def _note_of(self, key: tuple[str, int]) -> Any:
        return self._notes.execute(
            "SELECT readings, reports, told FROM erasures WHERE person = ? AND revision = ?", key
        ).fetchone()
