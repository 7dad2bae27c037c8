"""Sums per person and day, and how rows are added up to them: in whole numbers, so that no order changes a bit.

Stores give rows in order of person, then minute, so that what belongs together lies together: `run_sums` adds up runs
without sorting or gathering, a part at a time that stays in the processor's cache. Rows in any other order fall into
more and shorter runs, and `counted` puts those of one key together: slower, and the same to the bit.
`python bench/analytics` measures it beside pandas, polars, DuckDB and a bare pass over the same memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]

#: The blocks of the day (`analytics.windows.BLOCK_HOURS`) that a profile tells of: from nine o'clock to midnight.
PROFILE_BLOCKS: Final = (3, 4, 5, 6, 7)
#: The columns of `Partial.sums`.
MINUTES, CALM, REPORTS, SAFE, HAPPY = range(5)
#: Of each of the profile's blocks the scorable minutes, and their calm against the person's whole day.
BLOCK_MINUTES: Final = slice(5, 5 + len(PROFILE_BLOCKS))
BLOCK_CALM: Final = slice(BLOCK_MINUTES.stop, BLOCK_MINUTES.stop + len(PROFILE_BLOCKS))
COLUMNS: Final = BLOCK_CALM.stop
#: Rows that are added up at a time: few enough to stay in the processor's cache.
ROWS: Final = 1 << 15


class Partial(NamedTuple):
    """Sums per person and day, of some people and days; rows in order of person, then day, each pair once.

    `who` [persons] and `codes` [districts] are sorted; `key` [rows] and `heard_key` [heard rows] are packed.
    """

    who: tuple[str, ...]
    codes: tuple[str, ...]
    key: Whole  # person << 32 | day
    sums: Whole  # [rows, COLUMNS]; calm in millionths of a point
    heard_key: Whole  # person, district and day, by `heard_key`
    heard: Whole  # [heard rows] minutes


NOTHING: Final = Partial(
    (), (), np.empty(0, np.int64), np.empty((0, COLUMNS), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
)


def day_key(person: NDArray[np.integer], day: NDArray[np.integer]) -> Whole:
    """`Partial.key`."""
    return person.astype(np.int64) << 32 | day.astype(np.int64)


def heard_key(person: NDArray[np.integer], district: NDArray[np.integer], day: NDArray[np.integer]) -> Whole:
    """`Partial.heard_key`: 27 bits for persons, 16 for districts, 20 for days (till the year 2871)."""
    return person.astype(np.int64) << 36 | district.astype(np.int64) << 20 | day.astype(np.int64)


def heard_of(key: Whole) -> tuple[Whole, Whole, Whole]:
    """(person, district, day) of heard keys."""
    return key >> 36, key >> 20 & 0xFFFF, key & 0xFFFFF


def parts(rows: int) -> Iterator[slice]:
    """Slices of `rows` rows that stay in the cache."""
    return (slice(begin, min(begin + ROWS, rows)) for begin in range(0, rows, ROWS))


def run_sums(keys: Sequence[NDArray[np.integer]], values: Sequence[NDArray[np.generic]]) -> tuple[Whole, Whole]:
    """Where runs of rows with equal keys begin, [runs], and each run's sums, [runs, values].

    `keys` and `values` are columns of one length, of whole numbers or truth values, and not empty.
    """
    begins = np.empty(len(keys[0]), np.bool_)
    begins[0] = True
    np.not_equal(keys[0][1:], keys[0][:-1], out=begins[1:])
    for key in keys[1:]:
        begins[1:] |= key[1:] != key[:-1]
    starts = np.flatnonzero(begins)
    sums = np.empty((len(starts), len(values)), np.int64)
    for column, value in enumerate(values):
        sums[:, column] = np.add.reduceat(value, starts, dtype=np.int64)
    return starts, sums


def counted(key: Whole, values: Whole) -> tuple[Whole, Whole]:
    """Values [n] or [n, m] added up per key; keys sorted, each once."""
    if not key.size:
        return key, values
    if (key[1:] > key[:-1]).all():
        return key, values
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)


def merge(*partials: Partial) -> Partial:
    """All together. Associative, commutative, and exact; NOTHING is neutral."""
    who = tuple(sorted({name for part in partials for name in part.who}))
    codes = tuple(sorted({code for part in partials for code in part.codes}))
    person_at = {name: i for i, name in enumerate(who)}
    code_at = {code: i for i, code in enumerate(codes)}
    renamed = [_renamed(part, person_at, code_at) for part in partials] or [NOTHING]
    key, sums = counted(np.concatenate([p.key for p in renamed]), np.concatenate([p.sums for p in renamed]))
    heard, minutes = counted(np.concatenate([p.heard_key for p in renamed]), np.concatenate([p.heard for p in renamed]))
    return Partial(who, codes, key, sums, heard, minutes)


def _renamed(part: Partial, person_at: dict[str, int], code_at: dict[str, int]) -> Partial:
    person = np.array([person_at[name] for name in part.who], dtype=np.int64)
    district = np.array([code_at[code] for code in part.codes], dtype=np.int64)
    heard_person, heard_district, heard_day = heard_of(part.heard_key)
    return part._replace(
        key=day_key(person[part.key >> 32], part.key & 0xFFFFFFFF),
        heard_key=heard_key(person[heard_person], district[heard_district], heard_day),
    )
