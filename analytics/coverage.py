"""What consent lets analytics count. Stores and ingest refuse already; this asks again, of the consent of *now*.

A field that was collected for another purpose is not used for the district index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.consent import Cover, Purpose
from contracts.ports import ReadingColumns, ReportColumns
from contracts.reading import FIELDS, Category
from contracts.release import Window

#: A choice made in the first half day of a window still counts for it; a later one counts from the next window on.
JOIN_GRACE_S: Final = 12 * 3600


def complete(cover: Cover) -> bool:
    """Whether a volunteer's consent allows a complete record.

    Self-report for safe and happy; heart or skin for calm; and motion, because only still minutes may count and
    without it no minute is known to be still.
    """
    given = set(cover.purposes.get(Purpose.DISTRICT_INDEX, ()))
    return {Category.SELF_REPORT, Category.MOTION} <= given and bool({Category.HEART, Category.SKIN} & given)


def in_force(cover: Cover, window: Window) -> bool:
    """Whether the choice was there from the window's beginning.

    Somebody who moves makes a new choice: with this rule the windows counted before and after the move do not
    overlap, so that the two areas' budgets never meet in one person.
    """
    return cover.valid_from <= window.start + JOIN_GRACE_S


def covered_readings(chunk: ReadingColumns, covers: Mapping[str, Cover]) -> ReadingColumns:
    """The rows and fields of a chunk that the covers allow for the district index."""
    allowed = [covers.get(pseudonym) for pseudonym in chunk.pseudonyms]
    rows = chunk.minute >= _valid_from(allowed)[chunk.person]
    fields = {}
    for name, values in chunk.fields.items():
        category = FIELDS[name].category
        given = np.array(
            [c is not None and category in c.purposes.get(Purpose.DISTRICT_INDEX, ()) for c in allowed], dtype=bool
        )
        fields[name] = np.where(given[chunk.person[rows]], values[rows], np.nan)
    return msgspec.structs.replace(
        chunk, person=chunk.person[rows], district=chunk.district[rows], minute=chunk.minute[rows], fields=fields
    )


def covered_reports(reports: ReportColumns, covers: Mapping[str, Cover]) -> ReportColumns:
    """The self-reports that the covers allow for the district index."""
    allowed = [
        c
        if (c := covers.get(pseudonym)) is not None
        and Category.SELF_REPORT in c.purposes.get(Purpose.DISTRICT_INDEX, ())
        else None
        for pseudonym in reports.pseudonyms
    ]
    rows = reports.at >= _valid_from(allowed)[reports.person]
    return msgspec.structs.replace(
        reports,
        person=reports.person[rows],
        district=reports.district[rows],
        at=reports.at[rows],
        safe=reports.safe[rows],
        happy=reports.happy[rows],
        reason=reports.reason[rows],
    )


def _valid_from(allowed: list[Cover | None]) -> NDArray[np.int64]:
    """[persons]: from when each is covered; the end of time for who is not."""
    never = np.iinfo(np.int64).max
    return np.array([never if cover is None else cover.valid_from for cover in allowed], dtype=np.int64)
