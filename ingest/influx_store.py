"""The store of readings on an InfluxDB server, 1.x or 2.x: for more than one machine can hold or one process needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NoReturn

import msgspec
import numpy as np

from contracts.ports import (
    EVERYTHING,
    Extent,
    Fault,
    Holdings,
    ReadingColumns,
    ReportColumns,
    StillThere,
    StoredReading,
    StoredReport,
    StoreRefused,
    StoreUnavailable,
)
from contracts.reading import FIELDS, Reading, Reason, SelfReport, valid_pseudonym
from ingest.influx_client import InfluxAddress, InfluxAnswer, InfluxClient
from ingest.influx_read import persons, pieces, reading_chunks
from ingest.influx_server import KEPT, POLICY, find_server
from ingest.line_protocol import READINGS, reading_lines, report_lines

_SELECT_READINGS: Final = f"SELECT {', '.join(FIELDS)}, district::tag FROM "
_SELECT_REPORTS: Final = "SELECT safe, happy, reason, district::tag FROM report"
#: Answers that judge the rows that were sent; every other one is the server's own trouble.
_REFUSALS: Final = frozenset({400, 413, 422})
#: After every time that can be stored, unix seconds.
_END: Final = 2**33
#: Lines of one request, when readings are moved.
_COPIED_MAX: Final = 5_000
_DISK_FULL: Final = "its disk is full: make room, and restart InfluxDB if it goes on refusing"


class InfluxStore:
    """`contracts.ports.ReadingStore` on InfluxDB. Thread-safe."""

    def __init__(self, address: InfluxAddress) -> None:
        """Find out which server it is and make what is missing. Raises Fault or UsageFault."""
        self._client = InfluxClient(address, policy=POLICY)
        try:
            self._server = find_server(self._client)
            self._server.prepare()
        except (StoreUnavailable, InfluxAnswer) as fault:
            self._client.close()
            raise Fault(f"{address} cannot be used ({fault}): start it, or mend WIJKPOLS_STORE_URL") from None
        except Fault:
            self._client.close()
            raise

    def write(self, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> None:
        """On disk when it returns (InfluxDB syncs its log before it answers).

        Raises StoreUnavailable, and StoreRefused with the index of the first bad row when the server names it,
        counted over the readings and then the reports. Rows beside a bad one may have been stored.
        """
        lines = reading_lines(readings) + report_lines(reports, offset=len(readings))
        if not lines:
            return
        try:
            self._client.write("\n".join(lines).encode())
        except InfluxAnswer as answer:
            if answer.status in _REFUSALS:
                raise StoreRefused(_kind_of_refusal(answer), _named_line(answer.text, lines)) from None
            self._fail(answer)

    def readings(self, start: int, end: int, *, rows_max: int = 2_000_000) -> Iterator[ReadingColumns]:
        """Chunks in the order of pseudonyms, as the server streams them."""
        text = f"{_SELECT_READINGS}{READINGS} WHERE {_span(start, end)} GROUP BY pseudonym"
        try:
            yield from reading_chunks(persons(pieces(self._client.stream(text))), rows_max)
        except InfluxAnswer as answer:
            self._fail(answer)

    def reports(self, start: int, end: int) -> ReportColumns:
        """All self-reports of a span."""
        rows = self._report_rows(_span(start, end))
        pseudonyms, districts = sorted({row[0] for row in rows}), sorted({row[-1] for row in rows})
        person = {name: number for number, name in enumerate(pseudonyms)}
        district = {name: number for number, name in enumerate(districts)}
        reason = np.empty(len(rows), dtype=object)
        reason[:] = [row[4] for row in rows]
        return ReportColumns(
            pseudonyms=tuple(pseudonyms),
            districts=tuple(districts),
            person=np.array([person[row[0]] for row in rows], np.int32),
            district=np.array([district[row[-1]] for row in rows], np.int32),
            at=np.array([row[1] for row in rows], np.int64),
            safe=np.array([row[2] for row in rows], np.int16),
            happy=np.array([row[3] for row in rows], np.int16),
            reason=reason,
        )

    def person(self, pseudonym: str) -> tuple[list[StoredReading], list[StoredReport]]:
        """All that is held about one pseudonym, in order of time."""
        if not valid_pseudonym(pseudonym):
            return [], []
        try:
            readings = list(self._readings_of(READINGS, pseudonym))
        except InfluxAnswer as answer:
            self._fail(answer)
        reports = [
            StoredReport(
                district,
                SelfReport(
                    pseudonym=pseudonym,
                    at=at,
                    safe=safe,
                    happy=happy,
                    reason=None if reason is None else Reason(reason),
                ),
            )
            for _, at, safe, happy, reason, district in self._report_rows(f"pseudonym = '{pseudonym}'")
        ]
        return readings, reports

    def holdings(self, pseudonym: str | None = None, extent: Extent = EVERYTHING) -> Holdings:
        """How much is held, of one pseudonym or in all; a minute in two districts counts once."""
        if pseudonym is not None and not valid_pseudonym(pseudonym):
            return Holdings(0, 0)
        whose = "" if pseudonym is None else f" AND pseudonym = '{pseudonym}'"
        span = f"time >= 0{whose}" + ("" if extent.before is None else f" AND time < {int(extent.before)}s")
        try:
            readings = self._count(span, ["n"] if extent == EVERYTHING else extent.lost)
        except InfluxAnswer as answer:
            self._fail(answer)
        return Holdings(readings, len(self._report_rows(span)) if extent.reports else 0)

    def _count(self, span: str, fields: list[str]) -> int:
        """The minutes, of each person, in which one of these fields is there; `n` is in every one."""
        if not fields:
            return 0
        values = ", ".join(f"max({name}) AS {name}" for name in fields)
        minutes = f"SELECT {values} FROM {READINGS} WHERE {span} GROUP BY time(1m), pseudonym fill(none)"
        if len(fields) > 1:  # a row without the first has others
            return sum(len(piece.rows) for piece in pieces(self._client.stream(minutes)))
        series = self._client.query(f"SELECT count({fields[0]}) FROM ({minutes})")
        return int(series[0]["values"][0][1]) if series else 0

    def erase(self, pseudonym: str, extent: Extent = EVERYTHING) -> Holdings:
        """Erase what an extent takes of one pseudonym, and look that nothing of it is left. Repeatable.

        The pseudonym itself, which is random, stays in the index of a 1.x server until its shards expire.
        """
        held = self.holdings(pseudonym, extent)
        if not valid_pseudonym(pseudonym):
            return held
        try:
            if extent == EVERYTHING:
                self._server.erase(pseudonym)
            else:
                self._erase_part(pseudonym, extent)
        except InfluxAnswer as answer:
            self._fail(answer)
        if self.holdings(pseudonym, extent) != Holdings(0, 0):
            raise StillThere(f"{self._client.address}: something was left after an erasure")
        return held

    def _erase_part(self, pseudonym: str, extent: Extent) -> None:
        """What stays is written aside, all is deleted, and what stays written back.

        After a crash at any point it is done once more from the first step: what was aside by then comes back with
        the last ones. Only what is older than the consent that asks for this is touched, so that nothing new is lost.
        """
        before = _END if extent.before is None else extent.before
        if extent.reports:
            self._server.erase_from("report", pseudonym, before)
        if not extent.lost:
            return
        absent = dict.fromkeys(extent.lost)
        self._copy(READINGS, KEPT, pseudonym, before, absent)
        self._server.erase_from(READINGS, pseudonym, before)
        self._copy(KEPT, READINGS, pseudonym, before, absent)
        self._server.erase_from(KEPT, pseudonym, before)

    def _copy(self, source: str, target: str, pseudonym: str, before: int, absent: dict[str, None]) -> None:
        held = self._readings_of(source, pseudonym, before)
        stripped = ((where, msgspec.structs.replace(reading, **absent)) for where, reading in held)
        kept = (StoredReading(*one) for one in stripped if any(True for _ in one[1].values()))
        while portion := list(islice(kept, _COPIED_MAX)):
            try:
                self._client.write("\n".join(reading_lines(portion, target)).encode())
            except InfluxAnswer as answer:
                if "beyond retention policy" not in answer.text:  # those may go; the others were taken
                    raise

    def _readings_of(self, measurement: str, pseudonym: str, before: int = _END) -> Iterator[StoredReading]:
        text = f"{_SELECT_READINGS}{measurement} WHERE pseudonym = '{pseudonym}' AND {_span(0, before)}"
        for found in persons(pieces(self._client.stream(f"{text} GROUP BY pseudonym"))):
            rows = zip(found.minute.tolist(), found.values.tolist(), found.district, strict=True)
            for minute, values, district in rows:
                fields = {n: v for n, v in zip(FIELDS, values, strict=True) if v == v}  # NaN is absent
                yield StoredReading(district, Reading(pseudonym=pseudonym, minute=minute, **fields))

    def close(self) -> None:
        """Let go of the connections. Repeatable."""
        self._client.close()

    def _report_rows(self, where: str) -> list[list[Any]]:
        """Rows of [pseudonym, at, safe, happy, reason, district] by person and time, one per (pseudonym, at)."""
        rows: dict[tuple[str, int], list[Any]] = {}
        try:
            for piece in pieces(self._client.stream(f"{_SELECT_REPORTS} WHERE {where} GROUP BY pseudonym")):
                rows.update({(piece.pseudonym, row[0]): [piece.pseudonym, *row] for row in piece.rows})
        except InfluxAnswer as answer:
            self._fail(answer)
        return list(rows.values())

    def _fail(self, answer: InfluxAnswer) -> NoReturn:
        what = _DISK_FULL if "no space left" in answer.text else str(answer)
        raise StoreUnavailable(f"{self._client.address}: {what}") from None


def _span(start: int, end: int) -> str:
    return f"time >= {int(start)}s AND time < {int(end)}s"


def _kind_of_refusal(answer: InfluxAnswer) -> str:
    """A short reason without a value: the server's text repeats the line."""
    for words in ("beyond retention policy", "field type conflict", "unable to parse", "too large"):
        if words in answer.text:
            return words
    return f"InfluxDB refused with {answer}"


def _named_line(text: str, lines: list[str]) -> int | None:
    """The index of the first line that the server's text quotes."""
    if "unable to parse '" not in text:
        return None
    return next((index for index, line in enumerate(lines) if f"'{line}'" in text), None)
