"""GET /v1/reasons, /v1/profiles and /v1/totals: an area's week by reasons and by hours, and the city's week."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query

from api.citizen.release_routes import midnight
from api.parts import Parts, PartsOf
from api.schemas import ProfileBlockOut, ProfilePage, ReasonOut, ReasonPage, TotalPage, cell_out, rounded
from contracts.release import ProfileBlock, ReasonCount

router = APIRouter(tags=["releases"])

#: Weeks that are given when no span is asked for, and at most.
_WEEKS_DEFAULT: Final = 5
_WEEKS_MAX: Final = 53

Districts = Annotated[list[str] | None, Query(description="Only areas with one of these districts.", max_length=100)]
FromWeek = Annotated[
    date | None,
    Query(alias="from", description="Only weeks that begin on or after this day; without it the last five weeks."),
]


@router.get("/reasons", summary="Reasons given, per week", operation_id="listReasons")
def list_reasons(parts: PartsOf, district: Districts = None, from_: FromWeek = None) -> ReasonPage:
    """Published and withheld counts of at most 53 weeks. Asking again never gives another value."""
    start, end = _span(parts, from_)
    counts = parts.releases.reasons(districts=district, start=start, end=end)
    return ReasonPage(reasons=[reason_out(count) for count in counts])


@router.get("/profiles", summary="Calm by hours of the day, per week", operation_id="listProfiles")
def list_profiles(parts: PartsOf, district: Districts = None, from_: FromWeek = None) -> ProfilePage:
    """Of daily areas, at most 53 weeks. Asking again never gives another value."""
    start, end = _span(parts, from_)
    blocks = parts.releases.profiles(districts=district, start=start, end=end)
    return ProfilePage(profiles=[_block_out(block) for block in blocks])


@router.get("/totals", summary="The city's week", operation_id="listTotals")
def list_totals(parts: PartsOf, from_: FromWeek = None) -> TotalPage:
    """The mean over released areas, of complete weeks; `districts` says which are in it. At most 53 weeks."""
    start, end = _span(parts, from_)
    return TotalPage(totals=[cell_out(cell) for cell in parts.releases.totals(start=start, end=end)])


def _span(parts: Parts, from_: date | None) -> tuple[int | None, int | None]:
    if from_ is None:
        from_ = datetime.fromtimestamp(parts.clock.now(), UTC).date() - timedelta(weeks=_WEEKS_DEFAULT + 1)
    return midnight(from_), midnight(from_, days=7 * _WEEKS_MAX)


def _block_out(block: ProfileBlock) -> ProfileBlockOut:
    values = msgspec.structs.asdict(block)
    values["districts"] = list(block.districts)
    values["value"], values["margin"] = rounded(block.value), rounded(block.margin)
    values["start"], values["end"] = (datetime.fromtimestamp(at, UTC) for at in (block.start, block.end))
    return ProfileBlockOut(**values)


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
