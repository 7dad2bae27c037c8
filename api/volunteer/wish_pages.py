"""/mijn: what somebody may want, and need not: a reminder by e-mail, questions at moments of the own choosing.

Also the tap that makes a printed recovery sheet worthless.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.addresses import valid_address
from api.prompts import PER_DAY_MAX, Schedule
from api.volunteer import own_data
from api.volunteer.web import Visit, add

router = APIRouter()


def show_email(visit: Visit) -> Response:
    """The address that is kept, if there is one."""
    return _email(visit, ())


def keep_email(visit: Visit) -> Response:
    """Keep an address, or forget it: an empty one is none."""
    if not visit.parts.addresses.possible:
        raise HTTPException(404)
    address = visit.fields.get("email", "").strip()
    if not address:
        visit.parts.addresses.forget(visit.pseudonym)
    elif valid_address(address):
        visit.parts.addresses.keep(visit.pseudonym, address)
    else:
        return _email(visit, ["email"], status=400)
    return visit.go("/mijn/email")


def show_questions(visit: Visit) -> Response:
    """How often, and between which hours."""
    return _questions(visit, ())


def keep_questions(visit: Visit) -> Response:
    """Keep a schedule. Never is one of the choices."""
    numbers = [visit.fields.get(name, "") for name in ("per-day", "from", "to")]
    if not all(text.isascii() and text.isdigit() and len(text) <= 2 for text in numbers):
        return _questions(visit, ["hours"], status=400)
    schedule = Schedule(*map(int, numbers))
    if schedule.per_day and not schedule.fits:
        return _questions(visit, ["hours"], status=400)
    visit.parts.prompts.choose(visit.pseudonym, schedule if schedule.per_day else None)
    return visit.go("/mijn/vragen")


def refuse_recovery(visit: Visit) -> Response:
    """It was not me who asked for a recovery sheet."""
    visit.parts.recoveries.refuse(visit.pseudonym)
    return visit.go("/mijn")


def _email(visit: Visit, faults: Sequence[str], *, status: int = 200) -> Response:
    if not visit.parts.addresses.possible:
        raise HTTPException(404)
    address = own_data.email_of(visit.parts, visit.pseudonym)
    return visit.page("mijn_email.html", "/mijn/email", status=status, faults=faults, address=address)


def _questions(visit: Visit, faults: Sequence[str], *, status: int = 200) -> Response:
    return visit.page(
        "mijn_vragen.html",
        "/mijn/vragen",
        status=status,
        faults=faults,
        schedule=visit.parts.prompts.of(visit.pseudonym),
        most=PER_DAY_MAX,
    )


add(router, "/mijn/email", show_email)
add(router, "/mijn/email", keep_email, post=True)
add(router, "/mijn/vragen", show_questions)
add(router, "/mijn/vragen", keep_questions, post=True)
add(router, "/mijn/herstelcode-weg", refuse_recovery, post=True)
