"""A map of districts as SVG shapes: tiles drawn by us, or real boundaries in an equirectangular projection."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from contracts.district import District, Position

_WIDTH: Final = 1000.0
_TILE: Final = 200.0
_GAP: Final = 8.0
_COLUMNS_MIN: Final = 4
_TILE_LETTERS: Final = 31.0
_LETTERS_MIN: Final = 15.0  # a name that needs smaller letters is left to the list below the map
#: Wide letters are about so many times their size; more than that many in a line may not fit.
_LETTER_WIDTH: Final = 0.6
#: A label's place is looked for on a grid this fine; words are wider than high, so level distance counts less.
_GRID: Final = 20
_FLAT: Final = 0.6
#: Lower bounds of the shades; the same ones always, so that maps can be compared.
SHADES: Final = (30, 40, 50, 60, 70, 80)


class Point(NamedTuple):
    """A place on the drawing."""

    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One district on the drawing."""

    code: str
    path: str  # SVG path data
    label: Point  # the middle of the label
    lines: tuple[str, ...]  # the name, broken into lines; empty when it does not fit
    size: float  # of the name's letters
    room: float  # a longer line is squeezed into this width, whatever the reader's font

    def squeezed(self, line: str) -> bool:
        """Whether a line may be too long for the room."""
        return len(line) * self.size * _LETTER_WIDTH > self.room


@dataclass(frozen=True, kw_only=True)
class Map:
    """All shapes, and the drawing's size."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    real: bool  # boundaries, not tiles


def shade_of(value: float) -> int:
    """The shade of a figure of 0 to 100, as it is written in whole points: 0 (below 30) to 6 (80 and above)."""
    return sum(round(value) >= bound for bound in SHADES)


@lru_cache(maxsize=4)
def draw(districts: tuple[District, ...]) -> Map:
    """A map of these districts: boundaries when all have them, tiles otherwise."""
    if districts and all(district.polygons for district in districts):
        return _boundaries(districts)
    return _tiles(districts)


def _tiles(districts: Sequence[District]) -> Map:
    places = {district.code: district.tile for district in districts if district.tile is not None}
    row = max((tile[1] for tile in places.values()), default=-1) + 1
    without = [district for district in districts if district.code not in places]
    for number, district in enumerate(without):  # a district with boundaries among tiles: a row of its own below
        places[district.code] = (number % 5, row + number // 5)
    left, top = min(t[0] for t in places.values()), min(t[1] for t in places.values())
    columns = max(t[0] for t in places.values()) - left + 1
    spare = max(0.0, (_COLUMNS_MIN - columns) / 2)  # on each side, so that a tile is not as wide as the page
    shapes = []
    for district in districts:
        column, line = places[district.code][0] - left + spare, places[district.code][1] - top
        x, y, side = column * _TILE + _GAP / 2, line * _TILE + _GAP / 2, _TILE - _GAP
        lines = _broken(district.name)
        shapes.append(
            Shape(
                code=district.code,
                path=f"M{x:g} {y:g}h{side:g}v{side:g}h{-side:g}z",
                label=Point(x + side / 2, y + side / 2),
                lines=lines,
                size=_TILE_LETTERS,
                room=0.92 * side,
            )
        )
    width = (columns + 2 * spare) * _TILE
    height = (max(t[1] for t in places.values()) - top + 1) * _TILE
    return Map(width=width, height=height, shapes=tuple(shapes), real=False)


def _boundaries(districts: Sequence[District]) -> Map:
    positions = [p for d in districts for polygon in d.polygons for ring in polygon for p in ring]
    west, east = min(p[0] for p in positions), max(p[0] for p in positions)
    south, north = min(p[1] for p in positions), max(p[1] for p in positions)
    squeeze = math.cos(math.radians((south + north) / 2))  # a degree of longitude is shorter than one of latitude
    wide, high = max((east - west) * squeeze, 1e-9), max(north - south, 1e-9)
    scale = min(_WIDTH / wide, _WIDTH / high)

    def place(position: Position) -> Point:
        return Point((position[0] - west) * squeeze * scale, (north - position[1]) * scale)

    shapes = []
    for district in districts:
        rings = [_thinned([place(p) for p in ring]) for polygon in district.polygons for ring in polygon]
        largest = max((_thinned([place(p) for p in polygon[0]]) for polygon in district.polygons), key=_area)
        label, room = _label_place(largest)
        lines = _broken(district.name)
        size = min(27.0, room / _LETTER_WIDTH / max(map(len, lines)))
        shapes.append(
            Shape(
                code=district.code,
                path="".join(_path(ring) for ring in rings),
                label=label,
                lines=lines if size >= _LETTERS_MIN else (),
                size=size,
                room=0.95 * room,
            )
        )
    return Map(width=wide * scale, height=high * scale, shapes=tuple(shapes), real=True)


def _broken(name: str) -> tuple[str, ...]:
    """A name as at most three lines, broken at spaces and after hyphens, short ones joined."""
    lines: list[str] = []
    for word in re.findall(r"[^\s-]+-?", name) or [name]:
        glue = "" if lines and lines[-1].endswith("-") else " "
        if lines and len(lines[-1]) + len(glue) + len(word) <= 10:
            lines[-1] += glue + word
        else:
            lines.append(word)
    return tuple(lines[:3])


def _thinned(ring: Sequence[Point]) -> list[Point]:
    """The ring without points that a screen cannot tell from the one before."""
    kept: list[Point] = []
    for point in ring:
        if not kept or math.dist(kept[-1], point) >= 0.7:
            kept.append(point)
    return kept if len(kept) >= 3 else list(ring)


def _path(ring: Sequence[Point]) -> str:
    return "M" + "L".join(f"{p.x:.1f} {p.y:.1f}" for p in ring) + "z"


def _area(ring: Sequence[Point]) -> float:
    return abs(sum(a.x * b.y - b.x * a.y for a, b in zip(ring, [*ring[1:], ring[0]], strict=True))) / 2


def _label_place(ring: Sequence[Point]) -> tuple[Point, float]:
    """The point inside the ring that is farthest from its edge, out of a grid, and how wide the ring is there."""
    left, right = min(p.x for p in ring), max(p.x for p in ring)
    top, bottom = min(p.y for p in ring), max(p.y for p in ring)
    best, reach, room = Point((left + right) / 2, (top + bottom) / 2), 0.0, 0.0
    for step in range(1, _GRID):
        y = top + (bottom - top) * step / _GRID
        for begin, end in _stretches(ring, y):
            for part in range(1, _GRID):
                x = begin + (end - begin) * part / _GRID
                free = min(math.hypot((p.x - x) * _FLAT, p.y - y) for p in ring)
                free = min(free, (x - begin) * _FLAT, (end - x) * _FLAT)
                if free > reach:
                    best, reach, room = Point(x, y), free, 2 * min(x - begin, end - x)
    return best, room


def _stretches(ring: Sequence[Point], y: float) -> list[tuple[float, float]]:
    """Where a level line is inside the ring."""
    crossings = sorted(
        a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x)
        for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)
        if (a.y > y) != (b.y > y)
    )
    return list(zip(crossings[::2], crossings[1::2], strict=False))
