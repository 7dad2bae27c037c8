"""The names under which this machine has sessions in the broker, so that one that is given up is emptied first.

Mosquitto hands a share of the readings to every session of a shared subscription, also to one whose worker is away:
after a start with fewer workers, the share of the others would wait until it expires, and be lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ingest.rejects import open_sqlite

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS sessions (name TEXT PRIMARY KEY) WITHOUT ROWID;"


class Sessions:
    """A table in the file of what was not kept. Raises Fault for a file that cannot be used."""

    def __init__(self, path: Path) -> None:
        self._notes = open_sqlite(path, _SCHEMA)

    def begin(self, names: Sequence[str]) -> list[str]:
        """Note these names (the first is that of the machine); return the ones that were used and no longer are."""
        with self._notes:
            self._notes.executemany("INSERT OR IGNORE INTO sessions VALUES (?)", [(name,) for name in names])
        ours = re.compile(rf"{re.escape(names[0])}-\d+")  # another command may share the file
        known = [name for (name,) in self._notes.execute("SELECT name FROM sessions ORDER BY name")]
        return [name for name in known if name not in names and ours.fullmatch(name)]

    def end(self, name: str) -> None:
        """Forget a name whose session is ended."""
        with self._notes:
            self._notes.execute("DELETE FROM sessions WHERE name = ?", (name,))

    def close(self) -> None:
        """Let go of the file."""
        self._notes.close()
