"""What the parts need of each other and of the world, as Protocols. Concrete ones are built in each part's app.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.consent import Cover, Purpose
from contracts.faults import Fault as Fault
from contracts.faults import UsageFault as UsageFault
from contracts.reading import FIELDS, Category, Reading, SelfReport


class Clock(Protocol):
    """Time is passed in, so that tests own it."""

    def now(self) -> float:
        """Unix seconds, UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix seconds, UTC."""
        return time.time()


class StoredReading(NamedTuple):
    """A reading with the district in which the band was heard."""

    district: str
    reading: Reading


class StoredReport(NamedTuple):
    """A self-report with the district in which the band was heard."""

    district: str
    report: SelfReport


class ReadingColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Readings as columns, sorted by person, then minute. All arrays have one length, n."""

    pseudonyms: tuple[str, ...]  # of the persons in this chunk; each person is wholly in one chunk
    districts: tuple[str, ...]
    person: NDArray[np.int32]  # [n] index into pseudonyms
    district: NDArray[np.int32]  # [n] index into districts
    minute: NDArray[np.int64]  # [n] unix seconds
    fields: dict[str, NDArray[np.float64]]  # name -> [n], NaN where it is absent


class ReportColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Self-reports as columns, sorted by person, then time. All arrays have one length, n."""

    pseudonyms: tuple[str, ...]
    districts: tuple[str, ...]
    person: NDArray[np.int32]  # [n]
    district: NDArray[np.int32]  # [n]
    at: NDArray[np.int64]  # [n] unix seconds
    safe: NDArray[np.int16]  # [n] 0-10
    happy: NDArray[np.int16]  # [n] 0-10
    reason: NDArray[np.object_]  # [n] str or None


class Holdings(NamedTuple):
    """How much a store holds of somebody, or of everybody."""

    readings: int
    reports: int


class Extent(NamedTuple):
    """What of somebody an erasure takes: all kinds but `keep`, of before `before` (unix seconds; None: of all time)."""

    keep: frozenset[Category] = frozenset()
    before: int | None = None

    @property
    def lost(self) -> list[str]:
        """The fields of a reading that go."""
        return [name for name, field in FIELDS.items() if field.category not in self.keep]

    @property
    def reports(self) -> bool:
        """Whether self-reports go."""
        return Category.SELF_REPORT not in self.keep


EVERYTHING: Final = Extent()


#: (minute, calm 0-100) of one person's readings, where it can be told. Handed to the pages: they hold no readings.
OwnCalm = Callable[[Sequence[StoredReading]], Sequence[tuple[int, float]]]


class StoreRefused(Exception):
    """The store has judged these rows and will never take them; `index` is the first bad one if it said which."""

    def __init__(self, reason: str, index: int | None = None) -> None:
        super().__init__(reason)
        self.index = index


class StoreUnavailable(Exception):
    """The store cannot be reached or is busy now. Nothing was acknowledged; the same write may be tried again."""


class StillThere(StoreUnavailable):
    """The store erased, and something is there: it was written meanwhile."""


class ReadingStore(Protocol):
    """The time series. One contract suite (`tests/contract/`) runs on every store.

    The key of a reading is (pseudonym, minute), of a report (pseudonym, at): writing twice changes nothing but,
    at most, the value. Spans are half open, [start, end), unix seconds.
    """

    def write(self, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> None:
        """Durable when it returns. Raises StoreUnavailable or StoreRefused."""

    def readings(self, start: int, end: int, *, rows_max: int = 2_000_000) -> Iterator[ReadingColumns]:
        """All readings of a span, in chunks of at most about `rows_max` rows (more only for a single person)."""

    def reports(self, start: int, end: int) -> ReportColumns:
        """All self-reports of a span."""

    def person(self, pseudonym: str) -> tuple[list[StoredReading], list[StoredReport]]:
        """All that is held about one pseudonym, in order of time: for the volunteer's own access and export."""

    def holdings(self, pseudonym: str | None = None, extent: Extent = EVERYTHING) -> Holdings:
        """How much is held, of one pseudonym or in all; with an extent, how many rows hold something of it."""

    def erase(self, pseudonym: str, extent: Extent = EVERYTHING) -> Holdings:
        """Erase what an extent takes of one pseudonym; returns how many rows lost something, or all.

        A reading of which nothing is left goes. Repeatable, also after a crash in the middle: then what was to stay is
        there again. Raises StoreUnavailable, and StillThere where something was written meanwhile.
        """

    def close(self) -> None:
        """Let go of the file or connection. Repeatable."""


class ConsentDirectory(Protocol):
    """Who may be counted now, as the consent ledger says. Fails closed: unreachable means nobody (it raises)."""

    def covered(self, purpose: Purpose, now: float) -> Mapping[str, Cover]:
        """Pseudonym -> cover, of every volunteer whose consent to this purpose is valid at `now`."""


#: Days and weeks are those of the districts' own clock.
TIMEZONE: Final = "Europe/Amsterdam"
