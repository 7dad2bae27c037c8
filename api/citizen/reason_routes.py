"""GET /v1/reasons: why volunteers felt as they did, counted per area and week."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query

from api.citizen.release_routes import midnight
from api.parts import PartsOf
from api.schemas import ReasonOut, ReasonPage
from contracts.release import ReasonCount

router = APIRouter(tags=["releases"])

#: Weeks that are given when no span is asked for, and at most.
_WEEKS_DEFAULT: Final = 5
_WEEKS_MAX: Final = 53


@router.get("/reasons", summary="Reasons given, per week", operation_id="listReasons")
def list_reasons(
    parts: PartsOf,
    district: Annotated[
        list[str] | None, Query(description="Only areas with one of these districts.", max_length=100)
    ] = None,
    from_: Annotated[
        date | None,
        Query(alias="from", description="Only weeks that begin on or after this day; without it the last five weeks."),
    ] = None,
) -> ReasonPage:
    """Published and withheld counts of at most 53 weeks. Asking again never gives another value."""
    if from_ is None:
        from_ = datetime.fromtimestamp(parts.clock.now(), UTC).date() - timedelta(weeks=_WEEKS_DEFAULT + 1)
    counts = parts.releases.reasons(districts=district, start=midnight(from_), end=midnight(from_, days=7 * _WEEKS_MAX))
    return ReasonPage(reasons=[reason_out(count) for count in counts])


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
