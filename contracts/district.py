"""Districts as the Dutch statistics office (CBS) names them, with the shape that a map needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

_CODE = re.compile(r"GM\d{4}|WK\d{6}|BU\d{8}")
#: [longitude, latitude], WGS 84 (RFC 7946).
Position = tuple[float, float]


class DistrictFault(ValueError):
    """A district that cannot be used; the text says which and what to do."""


class District(msgspec.Struct, frozen=True, kw_only=True):
    """One district: a CBS code with its boundary year, a name, and a tile or polygons to draw."""

    code: str
    name: str
    boundary_year: int
    tile: tuple[int, int] | None = None  # column, row on the tile map
    polygons: tuple[tuple[tuple[Position, ...], ...], ...] = ()  # polygons of rings of positions

    def __post_init__(self) -> None:
        if not valid_district_code(self.code):
            raise DistrictFault(f"{self.code!r} is no CBS code: use GM + 4, WK + 6 or BU + 8 digits")
        if not self.name.strip():
            raise DistrictFault(f"district {self.code} has no name")
        if self.tile is None and not self.polygons:
            raise DistrictFault(f"district {self.code} has neither a tile nor a polygon: there is nothing to draw")

    def centre(self) -> tuple[float, float]:
        """A point to measure distances from: the tile, or the mean of the outer rings' positions."""
        if self.polygons:
            points = [position for polygon in self.polygons for position in polygon[0]]
            return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)
        column, row = self.tile or (0, 0)  # __post_init__ saw to one of the two
        return float(column), float(-row)


def valid_district_code(code: str) -> bool:
    """Whether the text has the form of a CBS code of a municipality, district or neighbourhood."""
    return _CODE.fullmatch(code) is not None


#: The ten districts of Utrecht (CBS codes and names), on a tile map drawn by us: west is left, north is up.
UTRECHT: Final[tuple[District, ...]] = tuple(
    District(code=f"WK0344{number:02d}", name=name, boundary_year=2024, tile=tile)
    for number, name, tile in (
        (1, "West", (2, 1)),
        (2, "Noordwest", (2, 0)),
        (3, "Overvecht", (3, 0)),
        (4, "Noordoost", (4, 0)),
        (5, "Oost", (4, 1)),
        (6, "Binnenstad", (3, 1)),
        (7, "Zuid", (3, 2)),
        (8, "Zuidwest", (2, 2)),
        (9, "Leidsche Rijn", (1, 1)),
        (10, "Vleuten-De Meern", (0, 1)),
    )
)

_CODE_KEYS = ("code", "wijkcode", "WK_CODE", "statcode", "gwb_code", "buurtcode", "BU_CODE", "gemeentecode", "GM_CODE")
_NAME_KEYS = ("naam", "name", "wijknaam", "WK_NAAM", "statnaam", "buurtnaam", "BU_NAAM", "gemeentenaam", "GM_NAAM")
_YEAR_KEYS = ("boundaryYear", "boundary_year", "jaar", "year")


def districts_from_geojson(document: Any, *, boundary_year: int) -> tuple[District, ...]:
    """Read a GeoJSON FeatureCollection of Polygons and MultiPolygons (RFC 7946, WGS 84) into districts.

    The code and the name come from the properties that municipalities and CBS use; a property with the year
    of the boundaries wins over `boundary_year`. Raises DistrictFault, saying which feature and what to do.
    """
    if not isinstance(document, Mapping) or document.get("type") != "FeatureCollection":
        raise DistrictFault("this is no GeoJSON FeatureCollection: export the districts as one (RFC 7946)")
    features = document.get("features")
    if not isinstance(features, list) or not features:
        raise DistrictFault("the FeatureCollection has no features")
    districts = tuple(_district(i, feature, boundary_year) for i, feature in enumerate(features, 1))
    codes = [d.code for d in districts]
    twice = sorted({c for c in codes if codes.count(c) > 1})
    if twice:
        raise DistrictFault(f"district {twice[0]} is in the file more than once: merge its features")
    return districts


def _district(number: int, feature: Any, boundary_year: int) -> District:
    if not isinstance(feature, Mapping):
        raise DistrictFault(f"feature {number} is not a GeoJSON feature")
    properties = feature.get("properties") or {}
    geometry = feature.get("geometry") or {}
    code, name = _first(properties, _CODE_KEYS), _first(properties, _NAME_KEYS)
    if code is None or name is None:
        raise DistrictFault(
            f"feature {number} has no code or no name: give it the properties 'code' (like WK034401) and 'naam'"
        )
    year = _first(properties, _YEAR_KEYS)
    try:
        coordinates = geometry["coordinates"]
        polygons = {"Polygon": [coordinates], "MultiPolygon": coordinates}[geometry["type"]]
        shape = tuple(tuple(tuple(_position(p) for p in ring) for ring in polygon) for polygon in polygons)
        if not shape or any(not polygon or any(len(ring) < 4 for ring in polygon) for polygon in shape):
            raise ValueError
        return District(
            code=str(code),
            name=str(name),
            boundary_year=int(year) if year is not None else boundary_year,
            polygons=shape,
        )
    except DistrictFault:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as fault:
        raise DistrictFault(
            f"feature {number} ({code}) has no usable Polygon or MultiPolygon in WGS 84 longitude and latitude"
        ) from fault


def _position(pair: Any) -> Position:
    longitude, latitude = float(pair[0]), float(pair[1])
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise ValueError
    return longitude, latitude


def _first(properties: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((properties[key] for key in keys if properties.get(key) not in (None, "")), None)
