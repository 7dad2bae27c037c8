"""Erasing on a withdrawal: at once in the store, once told, whatever is killed in between.

What is about to be erased is counted and noted before it is erased, so that a run that was killed between erasing
and telling tells the same counts. Noted is a hash of the pseudonym, not the pseudonym. Called by the writer's thread
alone, between two of its batches. Another worker may have judged one under the old consent: then the erasure is told
only when that one is over (`ingest.batches`), and it was looked again that nothing is left.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from contracts.ports import EVERYTHING, Clock, Holdings, ReadingStore, StillThere, StoreUnavailable
from contracts.wire import Erasure, encode, erasure_topic
from ingest.batches import NOTHING, AtHand, Batches
from ingest.consent_feed import Withdrawal
from ingest.rejects import open_sqlite

log = logging.getLogger(__name__)

#: Erasures between two batches, so that neither waits long for the other.
ERASURES_MAX: Final = 10
_EMPTY: Final = Holdings(0, 0)
_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS erasures (
        person TEXT NOT NULL, revision INTEGER NOT NULL, readings INTEGER NOT NULL, reports INTEGER NOT NULL,
        told INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (person, revision)) WITHOUT ROWID;
"""


class _Erased(NamedTuple):
    """One that was erased and is to be told, and the batches at hand before it was erased."""

    withdrawal: Withdrawal
    before: AtHand


class _Noted(NamedTuple):
    """A row of the notes."""

    readings: int
    reports: int
    told: int


class Erasures:
    """The withdrawals that still ask for an erasure, and the notes of those that were done."""

    def __init__(
        self,
        *,
        store: ReadingStore,
        notes: Path,
        batches: Batches,
        tell: Callable[[str, bytes], bool],
        covered: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        """`tell` publishes an event and says whether the broker has it; `covered` whether somebody consents now.

        Raises Fault for a file of notes that cannot be used.
        """
        self._store, self._tell, self._covered, self._clock = store, tell, covered, clock
        self._batches = batches
        self._notes = open_sqlite(notes, _SCHEMA)
        self._asked: deque[Withdrawal] = deque()
        self._erased: deque[_Erased] = deque()
        self._lock = threading.Lock()  # guards what is asked
        self.done = 0  # erasures told in this run

    def ask(self, withdrawal: Withdrawal) -> None:
        """Queue an erasure. From any thread; bounded by the bands in the mirror."""
        with self._lock:
            self._asked.append(withdrawal)

    def waiting(self) -> int:
        """How many are not done yet."""
        with self._lock:
            return len(self._asked) + len(self._erased)

    def work(self) -> int:
        """Do the oldest few; returns how many are still due. Raises StoreUnavailable: what was not done stays due."""
        try:
            for _ in range(min(len(self._asked), ERASURES_MAX)):
                withdrawal = self._asked[0]
                before = self._batches.at_hand()
                try:
                    self._erase(withdrawal)
                except StillThere:
                    if before == NOTHING:
                        raise
                    # By one of those batches; when they are over it is erased again.
                self._erased.append(_Erased(withdrawal, before))
                with self._lock:
                    self._asked.popleft()
            self._end()
        except sqlite3.Error as fault:
            raise StoreUnavailable(f"an erasure cannot be noted: {fault}") from None
        return self.waiting()

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        self._notes.close()

    def _end(self) -> None:
        """Tell the oldest few of those that nobody can store anything of any more."""
        now = self._batches.at_hand()
        for _ in range(min(len(self._erased), ERASURES_MAX)):
            withdrawal, before = self._erased[0]
            if before != NOTHING:
                before = before.still(now)
                self._erased[0] = _Erased(withdrawal, before)
                if before != NOTHING:
                    return  # what holds this one up holds up all that were asked for after it
                self._erase(withdrawal, again=True)
            self._tell_once(withdrawal)
            self._erased.popleft()

    def _erase(self, withdrawal: Withdrawal, *, again: bool = False) -> None:
        """Erase what there is; `again` when it was done in this run."""
        pseudonym, extent = withdrawal.pseudonym, withdrawal.extent
        told = self._noted(withdrawal).told
        # A retained message is heard again at each start. Who has consented anew with another band since is not
        # erased again, where all was; about anybody else nothing of it may be there, and it is looked at.
        if told and extent == EVERYTHING and self._covered(pseudonym):
            return
        if (told or again) and self._store.holdings(pseudonym, extent) == _EMPTY:
            return
        with self._batches.asking():
            self._store.erase(pseudonym, extent)
        if self._store.holdings(pseudonym, extent) != _EMPTY:
            raise StillThere("something was left after an erasure")

    def _tell_once(self, withdrawal: Withdrawal) -> None:
        noted = self._noted(withdrawal)
        if noted.told:
            return
        event = Erasure(
            revision=withdrawal.revision,
            readings=noted.readings,
            reports=noted.reports,
            asked_at=withdrawal.asked_at,
            erased_at=self._clock.now(),
        )
        if not self._tell(erasure_topic(withdrawal.pseudonym), encode(event)):
            raise StoreUnavailable("the broker has not acknowledged the event of an erasure")
        with self._notes:
            self._notes.execute("UPDATE erasures SET told = 1 WHERE person = ? AND revision = ?", _key(withdrawal))
        self.done += 1

    def _noted(self, withdrawal: Withdrawal) -> _Noted:
        """What this erasure takes away, counted before it is gone, and whether it was told."""
        found = self._note_of(withdrawal)
        if found is None:
            held = self._store.holdings(withdrawal.pseudonym, withdrawal.extent)
            with self._notes:  # another worker may have been first: its count is kept
                self._notes.execute(
                    "INSERT OR IGNORE INTO erasures (person, revision, readings, reports) VALUES (?, ?, ?, ?)",
                    (*_key(withdrawal), *held),
                )
            found = self._note_of(withdrawal)
        return _Noted(*found)

    def _note_of(self, withdrawal: Withdrawal) -> Any:
        return self._notes.execute(
            "SELECT readings, reports, told FROM erasures WHERE person = ? AND revision = ?", _key(withdrawal)
        ).fetchone()


def _key(withdrawal: Withdrawal) -> tuple[str, int]:
    return hashlib.sha256(withdrawal.pseudonym.encode()).hexdigest(), withdrawal.revision
