"""One volunteer's calm by the minute, for their own eyes: the arithmetic of the releases, without the noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from analytics.scores import minute_calm
from analytics.windows import local_day
from contracts.ports import ReadingColumns, StoredReading
from contracts.reading import FIELDS

#: Days that are shown; those before them tell what is usual.
DAYS: Final = 8


def own_calm(readings: Sequence[StoredReading]) -> list[tuple[int, float]]:
    """(minute in unix seconds, calm 0-100) of the last days, where it can be told; `readings` in order of time."""
    if not readings:
        return []
    minute = np.array([reading.minute for _, reading in readings], np.int64)
    nobody = np.zeros(len(readings), np.int32)
    fields = {
        name: np.array([getattr(reading, name) for _, reading in readings], np.float64)  # None becomes NaN
        for name in FIELDS
    }
    chunk = ReadingColumns(
        pseudonyms=("",), districts=("",), person=nobody, district=nobody, minute=minute, fields=fields
    )
    first, last = (local_day(int(at)).toordinal() for at in (minute[0], minute[-1]))
    calm = minute_calm(chunk, range(max(first, last + 1 - DAYS), last + 1))
    told = np.isfinite(calm)
    return list(zip(minute[told].tolist(), calm[told].tolist(), strict=True))
