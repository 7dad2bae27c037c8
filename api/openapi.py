"""The OpenAPI description, with what the NL GOV API Design Rules ask beyond what FastAPI writes."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http_headers import API_VERSION
from api.problems import MEDIA_TYPE, ProblemDetails
from api.receipts import schema
from api.schemas import DistrictFeature, DistrictFeatures
from api.settings import Settings

_VERSION_HEADER: Final = {
    "description": "The full version of the API.",
    "schema": {"type": "string", "examples": [API_VERSION]},
}
_PROBLEM: Final = {
    "description": "A problem (RFC 9457).",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
}
_TAGS: Final = [
    {"name": "districts", "description": "The districts, by the codes of the Dutch statistics office (CBS)."},
    {"name": "releases", "description": "What is released: one value for ever, whoever asks."},
    {"name": "openness", "description": "What is collected, what it costs, who looked."},
    {"name": "volunteers", "description": "Taking part, choosing, stopping; each about oneself alone."},
]


def describe(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """The document that /v1/openapi.json gives."""
    document = get_openapi(
        title="Wijkpols",
        version=API_VERSION,
        summary="Well-being per district, and full openness about how it is measured.",
        description="Released figures under differential privacy, what is collected and why, and consent.",
        routes=app.routes,
        tags=_TAGS,
        servers=[{"url": f"{settings.public_url}/v1"}],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    # Not by get_openapi: without the package email-validator it would warn at each start.
    document["info"]["contact"] = {
        "name": settings.controller_name,
        "url": settings.public_url,
        "email": settings.contact_email,
    }
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (ProblemDetails, DistrictFeatures, DistrictFeature):
        described = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        schemas.update(described.pop("$defs", {}))
        schemas[model.__name__] = described
    schemas.update(_receipt_schemas())
    for name in ("EnrolmentOut", "Me"):
        schemas[name]["properties"]["receipt"] = {"$ref": "#/components/schemas/ConsentReceipt"}
    for path in document["paths"].values():
        for operation in path.values():
            _complete(operation)
    return document


def _receipt_schemas() -> dict[str, Any]:
    """The published schema of a receipt, its definitions beside it as the document wants them."""
    found: dict[str, Any] = json.loads(re.sub(r'"#/\$defs/(\w+)"', r'"#/components/schemas/\1"', json.dumps(schema())))
    definitions: dict[str, Any] = found.pop("$defs")
    for name in ("$schema", "$id"):
        del found[name]
    return {"ConsentReceipt": found, **definitions}


def _complete(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if responses.pop("422", None) is not None:
        responses["400"] = _PROBLEM
    if operation.get("security"):
        responses["401"] = _PROBLEM
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", ())):
        responses["404"] = _PROBLEM
    for status, response in responses.items():
        response = responses[status] = dict(response)
        response["headers"] = {"API-Version": _VERSION_HEADER} | response.get("headers", {})
        if status[0] in "45" and MEDIA_TYPE not in response.get("content", {}):
            response["content"] = response.get("content", {}) | _PROBLEM["content"]
