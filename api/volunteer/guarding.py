"""Guessing at claim codes is slowed down on every page that takes one."""

from __future__ import annotations

import math

from api.ledger import LedgerRefusal
from api.volunteer.web import Visit


def wait(visit: Visit, code: str) -> int:
    """Whole seconds that this code or this client must still wait; 0 when a try may be made."""
    key = visit.parts.ledger.claim_key(code)
    return visit.parts.guard.pause(code=key, client=visit.client, now=visit.parts.clock.now())


def failed(visit: Visit, code: str) -> None:
    """Count a failed try."""
    key = visit.parts.ledger.claim_key(code)
    visit.parts.guard.failed(code=key, client=visit.client, now=visit.parts.clock.now())


def wait_of(visit: Visit, refusal: LedgerRefusal) -> int:
    """Whole seconds until the ledger takes what it refused; 0 when that is no matter of time."""
    return max(0, math.ceil(refusal.free_from - visit.parts.clock.now()))
