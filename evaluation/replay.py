"""Recordings -> minutes -> calm, by the code that volunteers' minutes go through, less radio and network.

firmware_sim.recording -> gateway.epochs.minute_table -> analytics.scores. A recording has no days before it: the public
constants stand in for the person's usual, so that nothing of the recording's own future is used.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.baseline import PublicBaselines
from analytics.evaluate import Segment, Windows, label
from analytics.scores import CONSTANTS, minute_calm
from analytics.windows import local_day
from contracts.ports import Fault, ReadingColumns
from contracts.reading import MINUTE_S
from firmware_sim.physiology import Samples
from firmware_sim.recording import Recording, RecordingFault, load_folder
from gateway.epochs import MinuteTable, Signals, minute_table

_SEGMENTS: Final = ("seg_start", "seg_end", "seg_stress")


class Labelled(NamedTuple):
    """One person's recording as minutes, with the labels of others."""

    name: str
    readings: ReadingColumns
    segments: tuple[Segment, ...]

    def calm(self, *, first_day: bool = False) -> NDArray[np.float64]:
        """The calm of each minute against the public constants, NaN where it is not scorable.

        With `first_day` against the recording itself, as a volunteer's first day is scored: this looks ahead.
        """
        minute = self.readings.minute
        days = range(local_day(int(minute[0])).toordinal(), local_day(int(minute[-1])).toordinal() + 1)
        public = PublicBaselines(persons=1, constants=CONSTANTS)
        return minute_calm(self.readings, days, baselines=None if first_day else public)

    def windows(self) -> Windows:
        """The labelled windows with their calm."""
        return label(self.readings.minute, self.calm(), self.segments)


def load(folder: Path) -> list[Labelled]:
    """Every recording of a folder. Raises Fault with what to do, also when one has no labels or no whole minute."""
    try:
        return [_labelled(recording, folder / f"{recording.name}.npz") for recording in load_folder(folder)]
    except RecordingFault as fault:
        raise Fault(str(fault)) from None


def table_of(samples: Samples) -> MinuteTable | None:
    """The whole UTC minutes of a span through the gateway's code; None when there is none."""
    start = -(-samples.start // MINUTE_S) * MINUTE_S
    end = samples.end // MINUTE_S * MINUTE_S
    return minute_table(signals_of(samples.cut(start, end)))[0] if start < end else None


def signals_of(samples: Samples) -> Signals:
    """A band's samples as the gateway's decoder gives them. The span must be of whole minutes."""
    minutes = samples.seconds // MINUTE_S

    def grid(values: NDArray[np.float32] | NDArray[np.bool_]) -> NDArray[np.float64]:
        return values.astype(np.float64).reshape(minutes, -1)

    return Signals(
        start=samples.start,
        minutes=minutes,
        beat_t=samples.beat_t,
        rr=samples.rr.astype(np.float64),
        hr=grid(samples.hr),
        contact=grid(samples.worn),
        eda=grid(samples.eda),
        skin_temp=grid(samples.temp),
        acc_mean=grid(samples.acc_mean),
        acc_sd=grid(samples.acc_sd),
    )


def columns_of(tables: Sequence[tuple[str, MinuteTable]]) -> ReadingColumns:
    """The minutes of some people as a store hands them out: by person, then minute, without those dropped."""
    kept = [np.flatnonzero(table.dropped == "") for _, table in tables]
    person = np.repeat(np.arange(len(tables), dtype=np.int32), [len(rows) for rows in kept])
    return ReadingColumns(
        pseudonyms=tuple(name for name, _ in tables),
        districts=("",),
        person=person,
        district=np.zeros(len(person), np.int32),
        minute=np.concatenate(
            [table.start + MINUTE_S * rows.astype(np.int64) for (_, table), rows in zip(tables, kept, strict=True)]
        ),
        fields={
            name: np.concatenate([table.fields[name][rows] for (_, table), rows in zip(tables, kept, strict=True)])
            for name in tables[0][1].fields
        },
    )


def _labelled(recording: Recording, path: Path) -> Labelled:
    table = table_of(recording.whole)
    if table is None or not (table.dropped == "").any():
        raise Fault(f"{path}: holds no whole UTC minute of signals; take it out of the folder")
    return Labelled(recording.name, columns_of([(recording.name, table)]), segments_of(path))


def segments_of(path: Path) -> tuple[Segment, ...]:
    """The labels of a recording that has been read before, so that its arrays are whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            starts, ends, stress = (file[name].tolist() for name in _SEGMENTS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise Fault(f"{path}: its labels cannot be read any more; was it changed just now? Try again") from None
    found = tuple(Segment(a, b, bool(s)) for a, b, s in zip(starts, ends, stress, strict=True))
    if not any(s.stress for s in found) or all(s.stress for s in found):
        raise Fault(f"{path}: needs segments labelled as stress and as rest; take it out of the folder")
    return found
