"""Guessing at claim codes, and at what goes with them, is slowed down on every page that takes one."""

from __future__ import annotations

from api.throttle import Door, Try
from api.volunteer.web import Visit


def wait(visit: Visit, code: str, door: Door) -> int:
    """Whole seconds until a try may be made; 0 at once."""
    return visit.parts.guard.pause(_tried(visit, code, door), now=visit.parts.clock.now())


def begin(visit: Visit, code: str, door: Door) -> int:
    """Count a try as failed until it succeeds; or whole seconds until one may be made."""
    return visit.parts.guard.begin(_tried(visit, code, door), now=visit.parts.clock.now())


def failed(visit: Visit, code: str, door: Door) -> None:
    """Count a failed try."""
    visit.parts.guard.failed(_tried(visit, code, door), now=visit.parts.clock.now())


def succeeded(visit: Visit, code: str, *doors: Door) -> None:
    """Forget the failed tries of a code."""
    for door in doors:
        visit.parts.guard.succeeded(_tried(visit, code, door))


def _tried(visit: Visit, code: str, door: Door) -> Try:
    return visit.parts.tried(code, visit.client, door)
