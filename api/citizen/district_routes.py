"""GET /v1/districts: JSON, and GeoJSON in the form of OGC API Features."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import JSONResponse, Response

from api.negotiation import preferred
from api.parts import PartsOf
from api.problems import Problem
from api.schemas import (
    DistrictFeature,
    DistrictFeatures,
    DistrictList,
    DistrictOut,
    DistrictProperties,
    Geometry,
    Link,
)
from contracts.district import District
from contracts.release import Area

router = APIRouter(tags=["districts"])

_GEOJSON: Final = "application/geo+json"
_TILE_NOTE: Final = "A tile of our own map near Utrecht, not the district's boundary: import boundaries to have those."
#: Where the tile map's first tile lies, and a tile's size (degrees); about square on the ground there.
_TILE_WEST, _TILE_NORTH, _TILE_WIDTH, _TILE_HEIGHT = 5.0, 52.13, 0.03, 0.0184

Format = Annotated[
    Literal["json", "geojson"] | None, Query(description="The format; without it the Accept header decides.")
]
_FORMATS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {_GEOJSON: {"schema": {"$ref": "#/components/schemas/DistrictFeatures"}}}}
}


@router.get(
    "/districts", response_model=DistrictList, responses=_FORMATS, summary="All districts", operation_id="listDistricts"
)
def list_districts(request: Request, parts: PartsOf, f: Format = None) -> Any:
    """The districts by code, with the area and the cadence in which their figures are released."""
    districts, plan = parts.districts.all(), parts.releases.plan()
    if _wants_geojson(request, f):
        features = DistrictFeatures(
            number_matched=len(districts),
            number_returned=len(districts),
            links=[Link(rel="self", href="/v1/districts?f=geojson", type=_GEOJSON)],
            features=[_feature(district, plan) for district in districts],
        )
        return _geojson(features)
    return DistrictList(
        districts=[district_out(district, plan) for district in districts],
        links=[
            Link(rel="self", href="/v1/districts"),
            Link(rel="alternate", href="/v1/districts?f=geojson", type=_GEOJSON),
        ],
    )


@router.get(
    "/districts/{code}",
    response_model=DistrictOut,
    responses={200: {"content": {_GEOJSON: {"schema": {"$ref": "#/components/schemas/DistrictFeature"}}}}},
    summary="One district",
    operation_id="getDistrict",
)
def get_district(
    request: Request,
    parts: PartsOf,
    code: Annotated[str, Path(description="CBS code of the district.", max_length=10)],
    f: Format = None,
) -> Any:
    """One district, with the area and the cadence in which its figures are released."""
    district = parts.districts.find(code)
    if district is None:
        raise Problem(404, "unknown-district", "There is no district with this code; /v1/districts lists them.")
    if _wants_geojson(request, f):
        return _geojson(_feature(district, parts.releases.plan()))
    return district_out(district, parts.releases.plan())


def district_out(district: District, plan: tuple[Area, ...]) -> DistrictOut:
    """A district as it goes out."""
    area = area_of(district.code, plan)
    return DistrictOut(
        code=district.code,
        name=district.name,
        boundary_year=district.boundary_year,
        area=None if area is None else area.code,
        cadence=None if area is None else area.cadence,
        has_geometry=bool(district.polygons),
    )


def area_of(code: str, plan: tuple[Area, ...]) -> Area | None:
    """The area of the plan in which a district is released."""
    return next((area for area in plan if code in area.districts), None)


def _feature(district: District, plan: tuple[Area, ...]) -> DistrictFeature:
    if district.polygons:
        shapes = [[[list(p) for p in ring] for ring in polygon] for polygon in district.polygons]
        geometry = (
            Geometry(type="Polygon", coordinates=shapes[0])
            if len(shapes) == 1
            else Geometry(type="MultiPolygon", coordinates=shapes)
        )
    else:
        column, row = district.tile or (0, 0)
        west, north = _TILE_WEST + column * _TILE_WIDTH, _TILE_NORTH - row * _TILE_HEIGHT
        east, south = west + _TILE_WIDTH, north - _TILE_HEIGHT
        corners = ((west, south), (east, south), (east, north), (west, north), (west, south))
        geometry = Geometry(type="Polygon", coordinates=[[[round(x, 6), round(y, 6)] for x, y in corners]])
    properties = DistrictProperties(
        **district_out(district, plan).model_dump(), note=None if district.polygons else _TILE_NOTE
    )
    return DistrictFeature(id=district.code, geometry=geometry, properties=properties)


def _wants_geojson(request: Request, chosen: str | None) -> bool:
    if chosen is not None:
        return chosen == "geojson"
    return preferred(request.headers.get("accept", ""), ("application/json", _GEOJSON)) == _GEOJSON


def _geojson(features: DistrictFeatures | DistrictFeature) -> Response:
    body = features.model_dump(mode="json", by_alias=True)
    return JSONResponse(body, media_type=_GEOJSON, headers={"Vary": "Accept"})
