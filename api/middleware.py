"""What surrounds every request: a bound on its body, and an answer whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response

_LOG = logging.getLogger(__name__)
_BODY_BYTES_MAX: Final = 65_536


class BodyLimit:
    """Refuses bodies that are too large (413) or do not say how large they are (411)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when its body is bounded; the server holds a body to its stated length."""
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers:
            await problem_response(411, "Send the length of the body (Content-Length).")(scope, receive, send)
        elif not length.isdigit() or int(length[:20]) > _BODY_BYTES_MAX:
            await problem_response(413, "The request is too large.")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class LastResort:
    """Answers what nobody foresaw, and writes it down. Nothing of the request is logged but its route's fault."""

    def __init__(self, app: ASGIApp, *, answer: Callable[[Request, Exception], Response]) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; a fault becomes an answer, unless one has begun."""
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as fault:
            if scope["type"] != "http":
                raise
            _LOG.exception("a request failed")
            if not begun:
                await self._answer(Request(scope), fault)(scope, receive, send_noted)
