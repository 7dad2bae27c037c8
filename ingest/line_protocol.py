"""InfluxDB line protocol: readings and reports as bytes, one line each, times in seconds.

Measurement `reading` (tags district, pseudonym; the fields of a reading; `n=1i`, by which rows are counted) and
`report` (tags district, pseudonym; safe, happy, reason). Every tag is checked before it is put in, so that no
value can end a line or a tag early.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from operator import attrgetter
from typing import Final

from contracts.district import valid_district_code
from contracts.ports import StoredReading, StoredReport, StoreRefused
from contracts.reading import FIELDS, valid_pseudonym

READINGS: Final = "reading"
_NAMES: Final = tuple(FIELDS)
_VALUES: Final = attrgetter(*_NAMES)
_WHOLE: Final = "".join(f"{name}=%r," for name in _NAMES)
_SECONDS: Final = range(2**33)  # InfluxDB keeps nanoseconds in 64 bits: until the year 2242


def reading_lines(readings: Sequence[StoredReading], measurement: str = READINGS) -> list[str]:
    """A line for each reading. Raises StoreRefused with the index of one that cannot be a line."""
    series: dict[tuple[str, str], str] = {}
    lines = []
    for index, (district, reading) in enumerate(readings):
        key = (district, reading.pseudonym)
        head = series.get(key)
        if head is None:
            head = series[key] = _series(measurement, district, reading.pseudonym, index)
        values = _VALUES(reading)
        if None not in values and isfinite(sum(values)):  # most are whole: one format is twice as fast
            fields = _WHOLE % values
        else:
            present = [(name, value) for name, value in zip(_NAMES, values, strict=True) if value is not None]
            if not all(isfinite(value) for _, value in present):
                raise StoreRefused("a value is not finite", index)
            fields = "".join([f"{name}={value!r}," for name, value in present])
        if reading.minute not in _SECONDS:
            raise StoreRefused("a time is out of range", index)
        lines.append(f"{head} {fields}n=1i {reading.minute}")
    return lines


def report_lines(reports: Sequence[StoredReport], *, offset: int) -> list[str]:
    """A line for each report; `offset` is added to the index of a bad one. Raises StoreRefused."""
    lines = []
    for index, (district, report) in enumerate(reports, offset):
        if report.at not in _SECONDS:
            raise StoreRefused("a time is out of range", index)
        if not (0 <= report.safe <= 10 and 0 <= report.happy <= 10):
            raise StoreRefused("a mark is not between 0 and 10", index)
        head = _series("report", district, report.pseudonym, index)
        reason = "" if report.reason is None else f',reason="{report.reason.value}"'
        lines.append(f"{head} safe={report.safe}i,happy={report.happy}i{reason} {report.at}")
    return lines


def _series(measurement: str, district: str, pseudonym: str, index: int) -> str:
    if not valid_pseudonym(pseudonym):
        raise StoreRefused("not a pseudonym", index)
    if not valid_district_code(district):
        raise StoreRefused("not a district's code", index)
    return f"{measurement},district={district},pseudonym={pseudonym}"
