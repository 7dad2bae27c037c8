"""A worker that is stopped between judging and storing.

    python -m tests.ingestkit.halting STORE BROKER REJECTS NAME [OTHER]

The worker NAME says `judged` and halts before its first write: the process by SIGSTOP to itself, or, with a worker
OTHER as a second thread on its store, NAME's thread alone, for good. It says `stored` when that write is done.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contracts.ports import ReadingStore, StoredReading, StoredReport
from ingest.app import Ingest, open_store


class HaltingStore:
    """A real store; the first write of anything waits for `halt` to return, and then calls `stored`."""

    def __init__(self, store: ReadingStore, *, halt: Callable[[], object], stored: Callable[[], object]) -> None:
        self._store, self._halt, self._stored = store, halt, stored
        self._first = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> None:
        first, self._first = self._first and bool(readings), self._first and not readings
        if first:
            self._halt()
        self._store.write(readings, reports)
        if first:
            self._stored()


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(store_url: str, broker: str, rejects: str, name: str, other: str = "") -> None:
    judged = threading.Event()

    def halt() -> None:
        if other:
            judged.set()
            threading.Event().wait()
        else:
            say("judged")
            # To this thread: one for the process may be seen by another, and this one would go on meanwhile.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    store = open_store(store_url)
    halting = HaltingStore(store, halt=halt, stored=lambda: say("stored"))
    with contextlib.ExitStack() as stack:
        ingest = stack.enter_context(Ingest(store=halting, broker=broker, rejects=Path(rejects), name=name))
        ingest.wait_until_ready(20)
        say("ready")
        if other:
            judged.wait()
            second = stack.enter_context(Ingest(store=store, broker=broker, rejects=Path(rejects), name=other))
            second.wait_until_ready(20)
            say("judged")
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
