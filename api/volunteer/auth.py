"""Who is asking: the pseudonym of a bearer token (RFC 6750)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.parts import PartsOf
from api.problems import Problem

_SCHEME = HTTPBearer(auto_error=False, description="The token that a volunteer got when enrolling.")


def volunteer_of(parts: PartsOf, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_SCHEME)]) -> str:
    """The pseudonym; no route takes one from anywhere else. Raises Problem (401)."""
    pseudonym = None if credentials is None else parts.ledger.pseudonym_of(credentials.credentials)
    if pseudonym is None:
        raise Problem(
            401,
            "not-logged-in",
            "Send the bearer token that you got when you enrolled.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return pseudonym


VolunteerOf = Annotated[str, Depends(volunteer_of)]
