"""/mijn by passkey: log in, add one, remove one. The only pages with a script; code and password do without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.http_headers import SCRIPT_POLICY
from api.passkeys import Refused
from api.volunteer.web import Visit, add

router = APIRouter()


def log_in_form(visit: Visit) -> Response:
    """The button that asks the browser for a passkey."""
    return _log_in(visit, ())


def log_in(visit: Visit) -> Response:
    """Log in by what the browser answered. Whatever is wrong with it, the page says the same."""
    if visit.parts.passkeys.pause(visit.client):
        return _log_in(visit, ["wait"])
    try:
        pseudonym = visit.parts.passkeys.log_in(visit.fields.get("credential", ""), client=visit.client)
    except Refused:
        return _log_in(visit, ["passkey"], status=403)
    return visit.with_cookie(visit.go("/mijn"), visit.parts.accounts.open(pseudonym))


def show(visit: Visit) -> Response:
    """My passkeys, and the button for a new one."""
    return _show(visit, ())


def keep(visit: Visit) -> Response:
    """Keep the passkey that the browser made."""
    if visit.parts.passkeys.pause(visit.client):
        return _show(visit, ["wait"])
    try:
        visit.parts.passkeys.add(visit.pseudonym, visit.fields.get("credential", ""), client=visit.client)
    except Refused:
        return _show(visit, ["passkey-add"], status=400)
    return visit.go("/mijn/passkeys")


def remove(visit: Visit) -> Response:
    """Forget one: it opens nothing from now on."""
    if visit.parts.passkeys.remove(visit.pseudonym, visit.fields.get("number", "")):
        visit.parts.accounts.close_others(visit.pseudonym, visit.token)
    return visit.go("/mijn/passkeys")


def _log_in(visit: Visit, faults: Sequence[str], *, status: int = 200) -> Response:
    passkeys, options = visit.parts.passkeys, ""
    if passkeys.possible and not passkeys.pause(visit.client):
        options = passkeys.options_to_log_in(client=visit.client)
    return _page(visit, "mijn_passkey.html", "/mijn/passkey", faults, status, options=options)


def _show(visit: Visit, faults: Sequence[str], *, status: int = 200) -> Response:
    passkeys, options = visit.parts.passkeys, ""
    if passkeys.possible and not passkeys.pause(visit.client):
        options = passkeys.options_to_add(visit.pseudonym, client=visit.client)
    held = passkeys.of(visit.pseudonym)
    return _page(visit, "mijn_passkeys.html", "/mijn/passkeys", faults, status, options=options, held=held)


def _page(visit: Visit, template: str, path: str, faults: Sequence[str], status: int, **context: Any) -> Response:
    wait = visit.parts.passkeys.pause(visit.client) if "wait" in faults else 0
    response = visit.page(template, path, status=status, wait=wait, faults=faults, **context)
    response.headers["Content-Security-Policy"] = SCRIPT_POLICY
    return response


add(router, "/mijn/passkey", log_in_form, public=True)
add(router, "/mijn/passkey", log_in, post=True, public=True)
add(router, "/mijn/passkeys", show)
add(router, "/mijn/passkeys", keep, post=True)
add(router, "/mijn/passkeys/weg", remove, post=True)
