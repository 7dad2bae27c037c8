"""How a request reaches the volunteer's pages: who is asking, what the form says, and whether it is our own form.

Every page is registered by `add`, so that no page can forget to ask. A session is a cookie that no script can read and
that no other site's request carries; a form of a session also carries a token of its own.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from api.accounts import csrf_of
from api.notices import LANGUAGES, Language
from api.pages.render import base_of, page
from api.parts import Parts, PartsOf
from api.passkeys import CREDENTIAL_LETTERS_MAX
from contracts.consent import Purpose
from contracts.reading import Category

_BODY_BYTES_MAX: Final = 16_384
_FIELDS_MAX: Final = 60
_VALUE_LETTERS_MAX: Final = 300
CODE_LETTERS_MAX: Final = 40
_LONGER: Final = {"credential": CREDENTIAL_LETTERS_MAX + 1}  # one too many shows that it was too long


class Visitor(NamedTuple):
    """Who is logged in, and by which session."""

    pseudonym: str
    token: str


class Visit(NamedTuple):
    """One request for one page."""

    request: Request
    parts: Parts
    language: Language
    fields: dict[str, str]  # of the form; empty for a GET
    visitor: Visitor | None

    @property
    def pseudonym(self) -> str:
        """Who is logged in, on a page that is for nobody else."""
        return self._own.pseudonym

    @property
    def token(self) -> str:
        """The session's token, on a page that is for nobody else."""
        return self._own.token

    @property
    def _own(self) -> Visitor:
        if self.visitor is None:
            raise LookupError("a page of a volunteer was registered as a public one")
        return self.visitor

    @property
    def client(self) -> str:
        """The address that asks."""
        return self.request.client.host if self.request.client else ""

    def page(
        self,
        template: str,
        path: str,
        *,
        status: int = 200,
        wait: int = 0,
        faults: Sequence[str] = (),
        **context: Any,
    ) -> Response:
        """A page that nobody keeps; 429 when something is to be tried again after `wait` seconds."""
        response = page(
            template,
            language=self.language,
            path=path,
            settings=self.parts.settings,
            status=429 if wait else status,
            wait=wait,
            faults=faults,
            visitor=self.visitor is not None,
            csrf="" if self.visitor is None else csrf_of(self.visitor.token),
            **context,
        )
        response.headers["Cache-Control"] = "no-store"
        if wait:
            response.headers["Retry-After"] = str(wait)
        return response

    def go(self, path: str) -> Response:
        """On to another of our pages."""
        return RedirectResponse(base_of(self.language) + path, 303, {"Cache-Control": "no-store"})

    def with_cookie(self, response: Response, token: str) -> Response:
        """The response, which also logs in."""
        https = self.parts.settings.public_url.startswith("https://")
        response.set_cookie(_cookie(self.parts), token, path="/", secure=https, httponly=True, samesite="strict")
        return response

    def without_cookie(self, response: Response) -> Response:
        """The response, which also logs out."""
        https = self.parts.settings.public_url.startswith("https://")
        response.delete_cookie(_cookie(self.parts), path="/", secure=https, httponly=True, samesite="strict")
        return response


Handler = Callable[[Visit], Response]


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name. Raises HTTPException for a body that is none of our forms."""
    if request.method != "POST":
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES_MAX:
            raise HTTPException(413)
    try:
        found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError:
        raise HTTPException(400) from None
    return {
        name: values[-1].replace("\0", "")[: _LONGER.get(name, _VALUE_LETTERS_MAX)] for name, values in found.items()
    }


FieldsOf = Annotated[dict[str, str], Depends(fields_of)]


def add(router: APIRouter, path: str, handler: Handler, *, post: bool = False, public: bool = False) -> None:
    """Register a page in each language. Only a `public` one is shown to who is not logged in."""
    for language in LANGUAGES:
        router.add_api_route(
            base_of(language) + path,
            _endpoint(handler, language, post=post, public=public),
            methods=["POST"] if post else ["GET", "HEAD"],
            include_in_schema=False,
        )


def choices_in(fields: dict[str, str]) -> dict[Purpose, tuple[Category, ...]]:
    """What a form of choices says yes to; what is not answered is a no."""
    return {
        purpose: tuple(c for c in Category if fields.get(f"{purpose.value}.{c.value}") == "yes") for purpose in Purpose
    }


def _endpoint(handler: Handler, language: Language, *, post: bool, public: bool) -> Callable[..., Response]:
    def endpoint(request: Request, parts: PartsOf, fields: FieldsOf) -> Response:
        visit = Visit(request, parts, language, fields, _visitor(request, parts))
        if post and request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise HTTPException(403)
        if visit.visitor is None and not public:
            return visit.go("/mijn/inloggen")
        if post and not public and visit.visitor is not None:
            sent = fields.get("csrf", "").encode()
            if not hmac.compare_digest(sent, csrf_of(visit.visitor.token).encode()):
                raise HTTPException(403)
        return handler(visit)

    return endpoint


def _visitor(request: Request, parts: Parts) -> Visitor | None:
    token = request.cookies.get(_cookie(parts), "")
    pseudonym = parts.accounts.pseudonym_of(token) if token else None
    return None if pseudonym is None else Visitor(pseudonym, token)


def _cookie(parts: Parts) -> str:
    """A browser holds a `__Host-` cookie to https, to this host and to the whole of it."""
    return "__Host-wijkpols" if parts.settings.public_url.startswith("https://") else "wijkpols"
