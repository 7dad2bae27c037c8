"""A large town's day in Parquet, without the radio: minutes as bands would give them, some hundred volunteers a file.

The simulator's signals at one value a minute, for all volunteers of a part at once: a heart and a skin that wander and
rise, an arm that moves now and then, a band that is off for a while. Values are rounded as they travel.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars
from numpy.typing import NDArray

from analytics.windows import instant
from contracts.district import UTRECHT
from contracts.ports import ReadingColumns, ReportColumns
from contracts.reading import MINUTE_S

DAY = date(2026, 11, 23)
#: What scoring reads; a store keeps four more columns.
FIELDS = {"hr": 1, "rr_coverage": 2, "worn": 2, "eda": 3, "motion": 3}  # name -> digits
CODES = tuple(district.code for district in UTRECHT)
_DISTRICTS_AT_ONCE = 3  # in the course of a day


def pseudonym(number: int) -> str:
    """A made-up one of 26 letters."""
    return f"{number:026d}".translate(str.maketrans("0189", "abcd"))


def write_part(folder: Path, first: int, volunteers: int, minutes: int) -> int:
    """Make the day of volunteers `first` and on and write it to a file of the folder; returns its rows."""
    columns = _minutes(first, volunteers, minutes)
    polars.DataFrame(columns).write_parquet(folder / f"{first:07d}.parquet", compression="lz4", statistics=False)
    return volunteers * minutes


def read_part(path: Path) -> ReadingColumns:
    """The columns of a file, as a store gives them."""
    frame = polars.read_parquet(path)
    first = int(path.stem)
    volunteers = int(frame["person"][-1]) + 1
    return ReadingColumns(
        pseudonyms=tuple(map(pseudonym, range(first, first + volunteers))),
        districts=CODES,
        person=frame["person"].to_numpy(),
        district=frame["district"].to_numpy(),
        minute=frame["minute"].to_numpy(),
        fields={name: frame[name].to_numpy() for name in FIELDS},
    )


def reports_of(volunteers: int) -> ReportColumns:
    """One answer at noon of each volunteer."""
    random = np.random.default_rng(volunteers)
    safe, happy = random.integers(4, 11, (2, volunteers)).astype(np.int16)
    return ReportColumns(
        pseudonyms=tuple(map(pseudonym, range(volunteers))),
        districts=CODES,
        person=np.arange(volunteers, dtype=np.int32),
        district=(np.arange(volunteers) % len(CODES)).astype(np.int32),
        at=np.full(volunteers, instant(DAY, 12), np.int64),
        safe=safe,
        happy=happy,
        reason=np.full(volunteers, None, object),
    )


def _minutes(first: int, volunteers: int, minutes: int) -> dict[str, NDArray[np.generic]]:
    random = np.random.default_rng(first + 1)
    shape = (volunteers, minutes)

    def wander(step: float) -> NDArray[np.float32]:
        walk = random.standard_normal(shape, dtype=np.float32) * np.float32(step)
        np.cumsum(walk, axis=1, out=walk)
        return walk - np.linspace(0, 1, minutes, dtype=np.float32) * walk[:, -1:]

    person = np.arange(volunteers, dtype=np.int32)
    busy = random.random(shape, dtype=np.float32)
    fields = {
        "hr": np.clip(66 + wander(1.2) + 30 * busy**8, 40, 180),
        "rr_coverage": 1 - 0.5 * random.random(shape, dtype=np.float32) ** 4,
        "worn": np.minimum(1.0, 20 * random.random(shape, dtype=np.float32)),
        "eda": np.exp(0.7 + wander(0.03) + 0.6 * busy**8),
        "motion": 0.005 + 0.4 * busy**6,
    }
    step = 1 + minutes // _DISTRICTS_AT_ONCE
    moves = (person[:, None] + first + np.arange(minutes) // step) % len(CODES)
    begin = instant(DAY) if minutes == 1440 else instant(DAY, 9)
    return {
        "person": np.repeat(person, minutes),
        "district": moves.astype(np.int32).ravel(),
        "minute": np.tile(begin + MINUTE_S * np.arange(minutes, dtype=np.int64), volunteers),
        **{name: np.round(fields[name].astype(np.float64), digits).ravel() for name, digits in FIELDS.items()},
    }
