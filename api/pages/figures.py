"""What a page shows of the released cells: the newest figure of each district, and its course."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from api.schemas import cadence_of, rounded
from api.sources import ReleaseSource
from contracts.district import District
from contracts.release import Cadence, Cell, Metric

#: What a page offers to look at. `happiness` is the same figure as `happy`, so it is not shown twice.
SHOWN: Final[tuple[Metric, ...]] = ("safe", "happy", "calm", "safety", "wellbeing")
#: Never shown without its parts.
PARTS: Final[dict[Metric, tuple[Metric, ...]]] = {
    "safety": ("safe", "calm"),
    "wellbeing": ("safety", "happy"),
}
#: The newest figures are looked for in so many seconds, and only then in the whole log.
_RECENT_S: Final = 35 * 86_400
_WINDOWS_SHOWN: Final = 120


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The newest figure of one district for one metric."""

    district: District
    cadence: Cadence | None
    together: tuple[str, ...]  # names of the other districts in the same area
    cell: Cell | None
    parts: tuple[tuple[Metric, float], ...] = ()

    @property
    def value(self) -> float | None:
        """0 to 100 with one decimal; None when withheld or not there."""
        return None if self.cell is None else rounded(self.cell.value)

    @property
    def margin(self) -> float | None:
        """Half of the 95 % interval, with one decimal."""
        return None if self.cell is None else rounded(self.cell.margin)

    @property
    def state(self) -> str:
        """'published', 'withheld' or 'empty'."""
        return "empty" if self.cell is None else self.cell.status


def newest_figures(source: ReleaseSource, districts: Sequence[District], metric: Metric, *, now: float) -> list[Figure]:
    """One figure for each district, in the order of their codes."""
    wanted = (metric, *PARTS.get(metric, ()))
    newest = _newest(_recent(source, wanted, now))
    plan = source.plan()
    names = {district.code: district.name for district in districts}
    figures = []
    for district in sorted(districts, key=lambda d: d.code):
        cell = newest.get((district.code, metric))
        area = next((area for area in plan if district.code in area.districts), None)
        members = cell.districts if cell is not None else area.districts if area is not None else ()
        parts = []
        for part in PARTS.get(metric, ()):
            found = newest.get((district.code, part))
            value = None if found is None or cell is None or found.window != cell.window else rounded(found.value)
            if value is not None:
                parts.append((part, value))
        figures.append(
            Figure(
                district=district,
                cadence=cadence_of(cell) if cell is not None else area.cadence if area is not None else None,
                together=tuple(names.get(code, code) for code in members if code != district.code),
                cell=cell,
                parts=tuple(parts),
            )
        )
    return figures


def course(cells: Iterable[Cell], metric: Metric) -> list[Cell]:
    """The windows of one metric, oldest first, at most the newest 120, in the cadence of the newest."""
    return history(cells, metric)[-_WINDOWS_SHOWN:]


def history(cells: Iterable[Cell], metric: Metric) -> list[Cell]:
    """All windows of one metric, oldest first, in the cadence of the newest."""
    of_metric = sorted((c for c in cells if c.metric == metric), key=lambda c: (c.start, c.method))
    if not of_metric:
        return []
    cadence = cadence_of(of_metric[-1])
    by_window = {c.window: c for c in of_metric if cadence_of(c) is cadence}  # the newest method of each window
    return list(by_window.values())


def safety_weights(safe: float, calm: float) -> list[tuple[float, float]]:
    """(weight of the feeling, safety) for weights of 0.5 to 1: out of released figures, at no further cost."""
    return [(w / 10, (w * safe + (10 - w) * calm) / 10) for w in range(5, 11)]


def _recent(source: ReleaseSource, metrics: Collection[Metric], now: float) -> list[Cell]:
    return source.cells(metrics=metrics, start=int(now) - _RECENT_S) or source.cells(metrics=metrics)


def _newest(cells: Iterable[Cell]) -> dict[tuple[str, Metric], Cell]:
    found: dict[tuple[str, Metric], Cell] = {}
    for cell in sorted(cells, key=lambda c: (c.end, c.start, c.method)):
        for code in cell.districts:
            found[code, cell.metric] = cell
    return found
