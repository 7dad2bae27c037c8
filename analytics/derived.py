"""Safety, happiness and well-being out of released cells: arithmetic on public figures, at no further cost.

Margins are conservative. For a weighted sum they are added as if the errors went together, which is the widest that
correlation can make them; for a root they are the wider side of the interval over both parts' margins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from contracts.release import DERIVED, MEASURED, WITHHELD_REASON, Cell, Metric

#: safety = SAFE_WEIGHT·safe + (1 - SAFE_WEIGHT)·calm.
SAFE_WEIGHT: Final = 0.7


def with_derived(cells: Iterable[Cell]) -> list[Cell]:
    """The measured cells, each area and window followed by its derived ones; withheld when a part is."""
    groups: dict[tuple[str, str, str], dict[Metric, Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.area, cell.window, cell.method), {})[cell.metric] = cell
    out: list[Cell] = []
    for parts in groups.values():
        out += parts.values()
        if all(metric in parts for metric in MEASURED):
            out += _derive(parts["safe"], parts["calm"], parts["happy"])
    return out


def safety(safe: float, calm: float, *, weight: float = SAFE_WEIGHT) -> float:
    """The safety index, 0-100. Pages show it for weights from 0.5 to 1.0 as well."""
    return weight * safe + (1 - weight) * calm


def _derive(safe: Cell, calm: Cell, happy: Cell) -> list[Cell]:
    return [_cell(metric, (safe, calm, happy)) for metric in DERIVED]


def _cell(metric: Metric, parts: tuple[Cell, Cell, Cell]) -> Cell:
    safe, calm, happy = parts
    used = {"safety": (safe, calm), "happiness": (happy,)}.get(metric, parts)
    known = [
        (part.value, part.margin, part.participants)
        for part in parts
        if part in used and part.value is not None and part.margin is not None
    ]
    if len(known) < len(used):
        return msgspec.structs.replace(
            safe, metric=metric, status="withheld", value=None, margin=None, participants=None, reason=WITHHELD_REASON
        )
    value, margin = _figure(metric, [(v, m) for v, m, _ in known])
    return msgspec.structs.replace(safe, metric=metric, value=round(value, 2), margin=round(margin, 2))


def _figure(metric: Metric, known: list[tuple[float, float]]) -> tuple[float, float]:
    if metric == "happiness":
        return known[0]
    (safe, safe_margin), (calm, calm_margin) = known[:2]
    value, margin = safety(safe, calm), safety(safe_margin, calm_margin)
    if metric == "safety":
        return value, margin
    happy, happy_margin = known[2]
    low = math.sqrt(max(value - margin, 0) * max(happy - happy_margin, 0))
    high = math.sqrt(min(value + margin, 100) * min(happy + happy_margin, 100))
    middle = math.sqrt(value * happy)
    return middle, max(middle - low, high - middle)
