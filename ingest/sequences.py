"""Which of a gateway's messages came: a number that never comes is a gap, and no number at all is silence.

Kept as runs of numbers per gateway and outbox, in the file of rejects that all workers of a machine share: each of them
takes some of a gateway's messages. Workers on several machines have a file each, and see each other's share as gaps.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from ingest.rejects import open_sqlite

log = logging.getLogger(__name__)

#: Runs kept of one outbox; then the two oldest become one, and the numbers between them stay counted as missing.
RUNS_MAX: Final = 1_000
_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS runs (
        gateway TEXT NOT NULL, outbox INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        missing INTEGER NOT NULL, PRIMARY KEY (gateway, outbox, first)) WITHOUT ROWID;
"""


class Span(NamedTuple):
    """The messages `first` to `last` of one outbox: one that came, or some that it says were thrown away."""

    gateway: str
    outbox: int
    first: int
    last: int


class Gaps(NamedTuple):
    """What is known of one outbox of a gateway."""

    gateway: str
    outbox: int
    last: int  # the highest number that came
    missing: int  # numbers below it that did not, from the first one that came on
    gaps: int  # in how many places


class SequenceLog:
    """The file. Thread-safe, and shared with other processes. One that cannot be written holds nothing up."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises Fault."""
        self._lock = threading.Lock()
        self._db = open_sqlite(path, _SCHEMA)
        self._db.isolation_level = None

    def heard(self, spans: Iterable[Span]) -> None:
        """These came; some may have come before."""
        fresh: defaultdict[tuple[str, int], list[tuple[int, int, int]]] = defaultdict(list)
        for span in spans:
            if span.outbox and 0 < span.first <= span.last:
                fresh[span.gateway, span.outbox].append((span.first, span.last, 0))
        if not fresh:
            return
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    for (gateway, outbox), runs in fresh.items():
                        self._add(gateway, outbox, runs)
                finally:
                    self._db.execute("COMMIT")
            except sqlite3.Error as fault:
                log.warning("the gateways' numbers cannot be written (%s): gaps may be counted that are none", fault)

    def gaps(self) -> list[Gaps]:
        """Of each outbox of each gateway."""
        with self._lock:
            found = self._db.execute(
                "SELECT gateway, outbox, first, last, missing FROM runs ORDER BY gateway, outbox, first"
            ).fetchall()
        by_outbox: defaultdict[tuple[str, int], list[tuple[int, int, int]]] = defaultdict(list)
        for gateway, outbox, *run in found:
            by_outbox[gateway, outbox].append((run[0], run[1], run[2]))
        return [
            Gaps(
                gateway,
                outbox,
                last=runs[-1][1],
                missing=sum(b[0] - a[1] - 1 for a, b in pairwise(runs)) + sum(run[2] for run in runs),
                gaps=len(runs) - 1 + sum(run[2] > 0 for run in runs),
            )
            for (gateway, outbox), runs in by_outbox.items()
        ]

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        with self._lock:
            self._db.close()

    def _add(self, gateway: str, outbox: int, fresh: list[tuple[int, int, int]]) -> None:
        known = self._db.execute(
            "SELECT first, last, missing FROM runs WHERE gateway = ? AND outbox = ? ORDER BY first", (gateway, outbox)
        ).fetchall()
        runs = _joined(sorted([*known, *fresh]))
        while len(runs) > RUNS_MAX:
            (first, last, missing), (after, end, more) = runs[:2]
            runs[:2] = [(first, end, missing + more + after - last - 1)]
        keep = set(runs)
        gone = [(gateway, outbox, run[0]) for run in known if run not in keep]
        self._db.executemany("DELETE FROM runs WHERE gateway = ? AND outbox = ? AND first = ?", gone)
        self._db.executemany(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
            [(gateway, outbox, *run) for run in runs if run not in set(known)],
        )


def _joined(runs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Runs in order of their first numbers -> the same numbers, in as few runs as they make."""
    joined: list[tuple[int, int, int]] = []
    for first, last, missing in runs:
        if joined and first <= joined[-1][1] + 1:
            before = joined[-1]
            # One that came late into a run of joined ones may be one of its missing; which ones they are is forgotten.
            joined[-1] = (before[0], max(before[1], last), before[2] + missing)
        else:
            joined.append((first, last, missing))
    return joined
