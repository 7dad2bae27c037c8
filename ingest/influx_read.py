"""InfluxDB's chunked msgpack as numpy columns, streamed: memory holds one chunk of persons, never the whole answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from contracts.ports import ReadingColumns, StoreUnavailable
from contracts.reading import FIELDS

_NAMES: Final = tuple(FIELDS)


class SeriesPiece(NamedTuple):
    """Some rows of one pseudonym, in order of time."""

    pseudonym: str
    rows: list[list[Any]]  # [time, the selected columns …]


class Person(NamedTuple):
    """All rows of one pseudonym, one per minute."""

    pseudonym: str
    minute: NDArray[np.int64]  # [n]
    values: NDArray[np.float64]  # [n, fields]
    district: list[str]  # [n]


def pieces(stream: Iterable[bytes]) -> Iterator[SeriesPiece]:
    """The series of a chunked answer, in the server's order: by pseudonym, then time. Raises StoreUnavailable."""
    unpacker = msgpack.Unpacker(raw=False)
    more = False
    for data in stream:
        unpacker.feed(data)
        for message in unpacker:
            if "error" in message:
                raise StoreUnavailable("InfluxDB broke off its answer")
            for result in message["results"]:
                if "error" in result:
                    raise StoreUnavailable("InfluxDB broke off its answer")
                more = bool(result.get("partial"))
                for series in result.get("series", ()):
                    yield SeriesPiece(series["tags"]["pseudonym"], series["values"])
    if more:
        raise StoreUnavailable("InfluxDB's answer ended early")


def persons(found: Iterable[SeriesPiece]) -> Iterator[Person]:
    """Rows of [time, fields …, district] put together per pseudonym.

    A band that was heard in two districts within one minute is in two series; of those rows the last stays, so
    that the port's key (pseudonym, minute) holds.
    """
    held: list[SeriesPiece] = []
    names: dict[str, str] = {}
    for piece in found:
        if held and held[0].pseudonym != piece.pseudonym:
            yield _person(held, names)
            held = []
        held.append(piece)
    if held:
        yield _person(held, names)


def reading_chunks(found: Iterable[Person], rows_max: int) -> Iterator[ReadingColumns]:
    """Persons gathered into chunks of at most `rows_max` rows; a person with more stands alone."""
    held: list[Person] = []
    rows = 0
    for person in found:
        if held and rows + len(person.minute) > rows_max:
            yield _columns(held)
            held, rows = [], 0
        held.append(person)
        rows += len(person.minute)
    if held:
        yield _columns(held)


def last_of_each(times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[n] whether a row is the last of its time; times are in order."""
    return np.append(times[1:] != times[:-1], np.ones(min(len(times), 1), bool))


def _person(held: list[SeriesPiece], names: dict[str, str]) -> Person:
    """`names` has one text for each district, so that not every row holds its own."""
    rows = [row for piece in held for row in piece.rows]
    minute = np.array([row[0] for row in rows], np.int64)
    keep = last_of_each(minute)
    values = np.array([row[1:-1] for row in rows], np.float64)
    return Person(
        held[0].pseudonym,
        minute[keep],
        values[keep],
        [names.setdefault(row[-1], row[-1]) for row, kept in zip(rows, keep.tolist(), strict=True) if kept],
    )


def _columns(held: list[Person]) -> ReadingColumns:
    names = sorted({name for person in held for name in person.district})
    place = {name: number for number, name in enumerate(names)}
    values = np.concatenate([person.values for person in held])
    return ReadingColumns(
        pseudonyms=tuple(person.pseudonym for person in held),
        districts=tuple(names),
        person=np.repeat(np.arange(len(held), dtype=np.int32), [len(person.minute) for person in held]),
        district=np.array([place[name] for person in held for name in person.district], np.int32),
        minute=np.concatenate([person.minute for person in held]),
        fields={name: np.ascontiguousarray(values[:, column]) for column, name in enumerate(_NAMES)},
    )
