"""A batch into a store that may refuse some of it: the good rows are stored, the bad ones counted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from contracts.ports import ReadingStore, StoredReading, StoredReport, StoreRefused

log = logging.getLogger(__name__)


class Refused(NamedTuple):
    """How many rows the store will never take."""

    readings: int = 0
    reports: int = 0


def store_all(store: ReadingStore, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> Refused:
    """Write everything that the store takes. A refused batch loses the row that the store named, or is halved.

    Raises StoreUnavailable: then the same call may be made again, since writing twice is harmless.
    """
    refused_readings = refused_reports = 0
    reason = ""
    pending: list[list[StoredReading | StoredReport]] = [[*readings, *reports]]
    while pending:
        rows = pending.pop()
        try:
            store.write(
                [row for row in rows if isinstance(row, StoredReading)],
                [row for row in rows if isinstance(row, StoredReport)],
            )
        except StoreRefused as fault:
            index = 0 if len(rows) == 1 else fault.index
            if index is None or index >= len(rows):
                half = len(rows) // 2
                pending += [rows[half:], rows[:half]]
                continue
            reason = str(fault)
            if isinstance(rows.pop(index), StoredReading):
                refused_readings += 1
            else:
                refused_reports += 1
            if rows:
                pending.append(rows)
    if reason:
        log.warning("the store refused %d rows (%s)", refused_readings + refused_reports, reason)
    return Refused(refused_readings, refused_reports)
