"""GET /v1/reasons and /v1/totals: why volunteers felt as they did per area and week, and the city's week."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query

from api.citizen.release_routes import midnight
from api.parts import Parts, PartsOf
from api.schemas import ReasonOut, ReasonPage, TotalPage, cell_out
from contracts.release import ReasonCount

router = APIRouter(tags=["releases"])

#: Weeks that are given when no span is asked for, and at most.
_WEEKS_DEFAULT: Final = 5
_WEEKS_MAX: Final = 53


FromWeek = Annotated[
    date | None,
    Query(alias="from", description="Only weeks that begin on or after this day; without it the last five weeks."),
]


@router.get("/reasons", summary="Reasons given, per week", operation_id="listReasons")
def list_reasons(
    parts: PartsOf,
    district: Annotated[
        list[str] | None, Query(description="Only areas with one of these districts.", max_length=100)
    ] = None,
    from_: FromWeek = None,
) -> ReasonPage:
    """Published and withheld counts of at most 53 weeks. Asking again never gives another value."""
    start, end = _span(parts, from_)
    counts = parts.releases.reasons(districts=district, start=start, end=end)
    return ReasonPage(reasons=[reason_out(count) for count in counts])


@router.get("/totals", summary="The city's week", operation_id="listTotals")
def list_totals(parts: PartsOf, from_: FromWeek = None) -> TotalPage:
    """The mean over released areas, of complete weeks; `districts` says which are in it. At most 53 weeks."""
    start, end = _span(parts, from_)
    return TotalPage(totals=[cell_out(cell) for cell in parts.releases.totals(start=start, end=end)])


def _span(parts: Parts, from_: date | None) -> tuple[int | None, int | None]:
    if from_ is None:
        from_ = datetime.fromtimestamp(parts.clock.now(), UTC).date() - timedelta(weeks=_WEEKS_DEFAULT + 1)
    return midnight(from_), midnight(from_, days=7 * _WEEKS_MAX)


def reason_out(count: ReasonCount) -> ReasonOut:
    """A count as it goes out."""
    return ReasonOut(
        area=count.area,
        districts=list(count.districts),
        reason=count.reason,
        window=count.window,
        start=datetime.fromtimestamp(count.start, UTC),
        end=datetime.fromtimestamp(count.end, UTC),
        method=count.method,
        status=count.status,
        people=count.people,
        margin=count.margin,
    )
