"""The headers that every response carries: the API's version, and what a browser may not do with it."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The full version of the API (NL GOV API Design Rules, /core/version-header).
API_VERSION: Final = "1.0.0"

_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
#: For the two pages with the one script, which is ours.
SCRIPT_POLICY: Final = f"{_PAGE_POLICY}; script-src 'self'"
_API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), interest-cohort=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class CommonHeaders:
    """ASGI middleware around everything, errors included."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and put the headers on the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["API-Version"] = API_VERSION
                policy = _API_POLICY if is_api_path(scope["path"]) else _PAGE_POLICY
                headers.setdefault("Content-Security-Policy", policy)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                if self._https:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        await self._app(scope, receive, send_with_headers)


def is_api_path(path: str) -> bool:
    """Whether this is the API's, and not a page."""
    return path == "/v1" or path.startswith("/v1/")
