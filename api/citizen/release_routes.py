"""GET /v1/releases: the released figures as JSON and CSV, in pages."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from api.negotiation import preferred
from api.parts import PartsOf
from api.problems import Problem
from api.schemas import CellOut, Link, ReleasePage, cell_out
from contracts.ports import TIMEZONE
from contracts.release import Cell, Metric

router = APIRouter(tags=["releases"])

PAGE_MAX: Final = 10_000
_CSV: Final = "text/csv"
_COLUMNS: Final = (
    "area", "districts", "metric", "window", "cadence", "start", "end", "method", "status", "value", "margin",
    "participants", "reason",
)  # fmt: skip

Key = tuple[int, str, str, str]


@router.get(
    "/releases",
    response_model=ReleasePage,
    responses={200: {"content": {_CSV: {"schema": {"type": "string"}}}}},
    summary="Released figures",
    operation_id="listReleases",
)
def list_releases(
    request: Request,
    parts: PartsOf,
    district: Annotated[
        list[str] | None, Query(description="Only areas with one of these districts.", max_length=100)
    ] = None,
    metric: Annotated[list[Metric] | None, Query(description="Only these metrics.", max_length=6)] = None,
    from_: Annotated[
        date | None, Query(alias="from", description="Only windows that begin on or after this day.")
    ] = None,
    to: Annotated[date | None, Query(description="Only windows that begin on or before this day.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="At most so many figures.")] = 1000,
    after: Annotated[
        str | None, Query(max_length=400, description="Place in the list: taken from the `next` link.")
    ] = None,
    format_: Annotated[
        Literal["json", "csv"] | None,
        Query(alias="format", description="The format; without it the Accept header decides."),
    ] = None,
    dialect: Annotated[
        Literal["nl"] | None, Query(description="`nl`: CSV with `;` and a decimal comma, for Dutch Excel.")
    ] = None,
) -> Any:
    """Published and withheld figures, oldest window first. Asking again never gives another value."""
    cells = parts.releases.cells(
        districts=district, metrics=metric, start=midnight(from_), end=midnight(to, days=1), derived=True
    )
    place = None if after is None else _place_of(after)
    cells = sorted((c for c in cells if place is None or key_of(c) > place), key=key_of)
    more = len(cells) > limit
    cells = cells[:limit]
    links = []
    if more:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
        links.append(Link(rel="next", href=f"/v1/releases?{urlencode([*query, ('after', _cursor(cells[-1]))])}"))
    headers = {"Vary": "Accept"}
    if links:
        headers["Link"] = f'<{links[0].href}>; rel="next"'
    figures = [cell_out(cell) for cell in cells]
    if _wants_csv(request, format_):
        headers["Content-Disposition"] = 'attachment; filename="wijkpols.csv"'
        return Response(csv_of(figures, dutch=dialect == "nl"), headers=headers, media_type=_CSV)
    page = ReleasePage(releases=figures, links=links)
    return JSONResponse(page.model_dump(mode="json", by_alias=True), headers=headers)


def key_of(cell: Cell) -> Key:
    """Where a cell stands in the list; unique, and it never changes."""
    return cell.start, cell.area, cell.metric, cell.method


def csv_of(figures: Iterable[CellOut], *, dutch: bool) -> str:
    """Figures as CSV (RFC 4180); `dutch` gives semicolons and decimal commas."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";" if dutch else ",")
    writer.writerow(_COLUMNS)
    for figure in figures:
        values = figure.model_dump(mode="json")
        values["districts"] = "+".join(figure.districts)
        writer.writerow(_written(values[name], dutch=dutch) for name in _COLUMNS)
    return text.getvalue()


def _written(value: Any, *, dutch: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1f}".replace(".", "," if dutch else ".")
    return str(value)


def midnight(day: date | None, *, days: int = 0) -> int | None:
    """Where a local day, or one some days later, begins (unix seconds). Raises Problem."""
    if day is None:
        return None
    try:
        return int(datetime.combine(day + timedelta(days=days), time(), ZoneInfo(TIMEZONE)).timestamp())
    except (OverflowError, ValueError, OSError):
        raise Problem(400, "invalid-input", "The day is too far away: query from, to.") from None


def _cursor(cell: Cell) -> str:
    return base64.urlsafe_b64encode("|".join(map(str, key_of(cell))).encode()).decode().rstrip("=")


def _place_of(cursor: str) -> Key:
    try:
        start, area, metric, method = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split("|")
        return int(start), area, metric, method
    except (ValueError, binascii.Error):
        raise Problem(400, "invalid-input", "Take the place from the `next` link: query after.") from None


def _wants_csv(request: Request, chosen: str | None) -> bool:
    if chosen is not None:
        return chosen == "csv"
    return preferred(request.headers.get("accept", ""), ("application/json", _CSV)) == _CSV
