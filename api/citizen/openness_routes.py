"""What is collected, what it costs, who looked, and whether the service works."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy.exc import SQLAlchemyError

from api.parts import PartsOf
from api.schemas import AccessLogOut, AccessOut, BudgetOut, Health, Transparency
from api.transparency import budget_out, transparency

router = APIRouter(tags=["openness"])


@router.get(
    "/transparency", summary="What is collected, by whom, why, and for how long", operation_id="getTransparency"
)
def get_transparency(parts: PartsOf) -> Transparency:
    """The public record: nothing in it counts people."""
    return transparency(parts)


@router.get("/budget", summary="What the releases cost in privacy", operation_id="getBudget")
def get_budget(parts: PartsOf) -> BudgetOut:
    """The most that any volunteer lost, and the cap that is never passed."""
    return budget_out(parts)


@router.get("/access-log", summary="Who looked at what, and why", operation_id="listAccesses")
def list_accesses(
    parts: PartsOf, limit: Annotated[int, Query(ge=1, le=1000, description="At most so many entries.")] = 200
) -> AccessLogOut:
    """The public access log, newest day first."""
    return AccessLogOut(entries=[AccessOut(**entry._asdict()) for entry in parts.access_log.public(limit=limit)])


@router.get(
    "/health",
    summary="Whether the service works",
    operation_id="getHealth",
    responses={503: {"model": Health, "description": "The registry cannot be reached."}},
)
def get_health(parts: PartsOf, response: Response) -> Health:
    """Answers 503 when the registry is away; without its broker the service goes on and consent waits."""
    try:
        parts.districts.all()
        registry = True
    except SQLAlchemyError:
        registry = False
        response.status_code = 503
    if parts.publisher is None:
        return Health(
            status="ok" if registry else "degraded",
            registry="ok" if registry else "unreachable",
            broker="not-configured",
        )
    connected = parts.publisher.connected()
    return Health(
        status="ok" if registry and connected else "degraded",
        registry="ok" if registry else "unreachable",
        broker="connected" if connected else "disconnected",
    )
