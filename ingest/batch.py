"""A batch of readings and reports as numpy columns: what the DuckDB store takes in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.ports import StoredReading, StoredReport, StoreRefused
from contracts.reading import FIELDS

#: Name -> [n]; all arrays of one batch have one length.
Columns = dict[str, NDArray[Any]]
_SECONDS: Final = range(2**62)  # what fits a BIGINT with room to calculate


class Numbering:
    """Names in the order of their first use."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def places(self, names: Iterable[str]) -> NDArray[np.int32]:
        """[n] the place of each name, new names at the end."""
        places = self._places
        return np.array([places.setdefault(name, len(places)) for name in names], np.int32)

    def names(self) -> list[str]:
        """The names in the order of their places."""
        return list(self._places)


def reading_columns(readings: Sequence[StoredReading], people: Numbering, districts: Numbering) -> Columns:
    """person, district (places in the numberings), minute, and a column per field (NaN where absent).

    Of a key that comes twice, the last stays. Raises StoreRefused with the index of a time that no store can hold.
    """
    times = [stored.reading.minute for stored in readings]
    _check_times(times, offset=0)
    last = {(stored.reading.pseudonym, stored.reading.minute): stored for stored in readings}
    rows = [stored.reading for stored in last.values()]
    columns: Columns = {
        "person": people.places(row.pseudonym for row in rows),
        "district": districts.places(stored.district for stored in last.values()),
        "minute": np.array([row.minute for row in rows], np.int64),
    }
    for name in FIELDS:
        columns[name] = np.array(list(map(attrgetter(name), rows)), np.float64)
    return columns


def report_columns(reports: Sequence[StoredReport], people: Numbering, districts: Numbering, *, offset: int) -> Columns:
    """person, district, answered_at, safe, happy, reason; of a key that comes twice, the last stays.

    Raises StoreRefused; `offset` is added to the index of a bad row.
    """
    times = [stored.report.at for stored in reports]
    _check_times(times, offset=offset)
    for index, stored in enumerate(reports):
        if not (0 <= stored.report.safe <= 10 and 0 <= stored.report.happy <= 10):
            raise StoreRefused("a mark is not between 0 and 10", offset + index)
    last = {(stored.report.pseudonym, stored.report.at): stored for stored in reports}
    rows = [stored.report for stored in last.values()]
    return {
        "person": people.places(row.pseudonym for row in rows),
        "district": districts.places(stored.district for stored in last.values()),
        "answered_at": np.array([row.at for row in rows], np.int64),
        "safe": np.array([row.safe for row in rows], np.int8),
        "happy": np.array([row.happy for row in rows], np.int8),
        "reason": np.array([None if row.reason is None else row.reason.value for row in rows], dtype=object),
    }


def _check_times(times: Sequence[int], *, offset: int) -> None:
    if times and (min(times) not in _SECONDS or max(times) not in _SECONDS):
        index = next(i for i, seconds in enumerate(times) if seconds not in _SECONDS)
        raise StoreRefused("a time is out of range", offset + index)
