"""Errors as problem+json (RFC 9457). No value that was sent comes back in one."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

_LOG = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/problem+json"


class ProblemDetails(BaseModel):
    """What went wrong, after RFC 9457."""

    type: str = Field("about:blank", description="Kind of problem: a name that stays.")
    title: str = Field(description="The kind of problem in a few words.")
    status: int = Field(description="The HTTP status code.")
    detail: str = Field(description="What to do about it.")


class Problem(Exception):
    """Raised by a route to answer with a problem."""

    def __init__(self, status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers


def problem_response(
    status: int, detail: str, *, kind: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """A problem as a response."""
    body = ProblemDetails(
        type="about:blank" if kind is None else f"urn:wijkpols:problem:{kind}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
    )
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)


_DETAILS: Final = {
    401: "Send the bearer token that you got when you enrolled.",
    404: "There is nothing here. The addresses are in /v1/openapi.json and have no slash at the end.",
    405: "This address does not know this method; see /v1/openapi.json.",
    500: "Something went wrong here. It was written down, without what you sent.",
    415: "Send JSON, with Content-Type: application/json.",
}


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error that is foreseen with a problem; the rest is `middleware.LastResort`'s."""
    app.add_exception_handler(Problem, _own)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(SQLAlchemyError, _registry)


def _own(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, Problem)  # noqa: S101  (what the handler was added for)
    return problem_response(fault.status, fault.detail, kind=fault.kind, headers=fault.headers)


def http_problem(status: int, headers: dict[str, str] | None = None) -> Response:
    """The problem that belongs to a status code."""
    detail = _DETAILS.get(status, HTTPStatus(status).description or "This cannot be done.")
    return problem_response(status, detail, headers=headers)


def _http(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)  # noqa: S101
    return http_problem(fault.status_code, dict(fault.headers or {}))


def _validation(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)  # noqa: S101
    where = sorted({_place(error) for error in fault.errors()})
    return problem_response(400, f"Not as described in /v1/openapi.json: {', '.join(where)}.", kind="invalid-input")


def _place(error: dict[str, Any]) -> str:
    """Where the fault is. Names come from our own schema: an unknown name was sent, and is not repeated."""
    location = error["loc"]
    if error["type"] in ("extra_forbidden", "json_invalid") or len(location) < 2:
        return str(location[0])
    return f"{location[0]} {location[1]}"


def _registry(_request: Request, fault: Exception) -> Response:
    _LOG.error("the registry is not there: %s", type(fault).__name__)
    return problem_response(503, "The registry cannot be reached now. Try again later.", headers={"Retry-After": "10"})
