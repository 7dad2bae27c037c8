"""The store of readings on an InfluxDB server, 1.x or 2.x: for more than one machine can hold or one process needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

import numpy as np

from contracts.ports import (
    Fault,
    Holdings,
    ReadingColumns,
    ReportColumns,
    StoredReading,
    StoredReport,
    StoreRefused,
    StoreUnavailable,
)
from contracts.reading import FIELDS, Reading, Reason, SelfReport, valid_pseudonym
from ingest.influx_client import InfluxAddress, InfluxAnswer, InfluxClient
from ingest.influx_read import persons, pieces, reading_chunks
from ingest.influx_server import POLICY, find_server
from ingest.line_protocol import reading_lines, report_lines

_SELECT_READINGS: Final = f"SELECT {', '.join(FIELDS)}, district::tag FROM reading"
_SELECT_REPORTS: Final = "SELECT safe, happy, reason, district::tag FROM report"
#: Answers that judge the rows that were sent; every other one is the server's own trouble.
_REFUSALS: Final = frozenset({400, 413, 422})
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
        text = f"{_SELECT_READINGS} WHERE {_span(start, end)} GROUP BY pseudonym"
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
        text = f"{_SELECT_READINGS} WHERE pseudonym = '{pseudonym}' GROUP BY pseudonym"
        readings: list[StoredReading] = []
        try:
            for found in persons(pieces(self._client.stream(text))):
                for minute, values, district in zip(
                    found.minute.tolist(), found.values.tolist(), found.district, strict=True
                ):
                    fields = {n: v for n, v in zip(FIELDS, values, strict=True) if v == v}  # NaN is absent
                    readings.append(StoredReading(district, Reading(pseudonym=pseudonym, minute=minute, **fields)))
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

    def holdings(self, pseudonym: str | None = None) -> Holdings:
        """How much is held, of one pseudonym or in all; a minute in two districts counts once."""
        if pseudonym is not None and not valid_pseudonym(pseudonym):
            return Holdings(0, 0)
        whose = "" if pseudonym is None else f" AND pseudonym = '{pseudonym}'"
        minutes = f"SELECT max(n) AS n FROM reading WHERE time >= 0{whose} GROUP BY time(1m), pseudonym fill(none)"
        try:
            series = self._client.query(f"SELECT count(n) FROM ({minutes})")
        except InfluxAnswer as answer:
            self._fail(answer)
        readings = int(series[0]["values"][0][1]) if series else 0
        return Holdings(readings, len(self._report_rows(f"time >= 0{whose}")))

    def erase(self, pseudonym: str) -> Holdings:
        """Erase all of one pseudonym and look that nothing is left; returns what was erased. Repeatable.

        The pseudonym itself, which is random, stays in the index of a 1.x server until its shards expire.
        """
        held = self.holdings(pseudonym)
        if not valid_pseudonym(pseudonym):
            return held
        try:
            self._server.erase(pseudonym)
        except InfluxAnswer as answer:
            self._fail(answer)
        if self.holdings(pseudonym) != Holdings(0, 0):
            raise StoreUnavailable(f"{self._client.address}: something was left after an erasure")
        return held

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
