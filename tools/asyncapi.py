"""The messages on the broker as an AsyncAPI 3 document, out of contracts/wire.py: docs/reference/asyncapi.yaml.

`python -m tools.asyncapi` writes it; tests/unit/test_asyncapi.py holds the file against the code.
"""

from __future__ import annotations

from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec
import yaml

from contracts import wire
from contracts.consent import ConsentMessage, ConsentState, Purpose
from contracts.reading import FIELDS, MINUTE_S, Category, Reading, SelfReport

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "asyncapi.yaml"
TOKEN = "[a-z2-7]{26}"  # noqa: S105 (a form, no secret)
DISTRICT = "(GM[0-9]{4}|WK[0-9]{6}|BU[0-9]{8})"
NAME = "[a-z0-9][a-z0-9-]{0,63}"
_PERSON = "k3v7q2mzr5tn6wypacdefghj4x"

EXAMPLES: dict[str, wire.ReadingsMessage | ConsentMessage | wire.GatewayStatus | wire.Erasure | wire.Stop] = {
    "ReadingsMessage": wire.ReadingsMessage(
        seq=41,
        readings=(Reading(pseudonym=_PERSON, minute=1_764_000_000, hr=71.5, rmssd=31.2, rr_coverage=0.91, worn=1.0),),
        reports=(SelfReport(pseudonym=_PERSON, at=1_764_000_031, safe=8, happy=7),),
    ),
    "ConsentMessage": ConsentMessage(
        revision=3,
        state=ConsentState.GIVEN,
        pseudonym=_PERSON,
        district="WK034403",
        purposes={Purpose.DISTRICT_INDEX: (Category.HEART, Category.SELF_REPORT)},
        valid_from=1_763_000_000,
        valid_until=1_778_552_000,
        issued_at=1_763_000_000,
    ),
    "GatewayStatus": wire.GatewayStatus(
        gateway="gw-markt", district="WK034403", online=True, at=1_764_000_030, version="0.1.0", slots=5,
        bands_heard=17, bands_connected=4, minutes_made=912, minutes_dropped={"not-worn": 31}, published=912,
    ),
    "Erasure": wire.Erasure(revision=4, readings=18_211, reports=96, asked_at=1_764_000_100, erased_at=1_764_000_101.5),
    "Stop": wire.Stop(band="a2b3c4d5e6f7g2h3i4j5k6l7m2", pressed_at=1_764_000_090),
}  # fmt: skip

#: channel -> (address, message, who sends, who receives, retained, what it is)
CHANNELS: dict[str, tuple[str, str, str, str, bool, str]] = {
    "readings": (
        f"{wire.ROOT}/readings/{{district}}/{{gateway}}", "ReadingsMessage", "gateway", "ingest", False,
        "Minutes and answers. Ingest takes them by `$share/ingest/wijkpols/v1/readings/+/+`; acknowledged when stored.",
    ),
    "consents": (
        f"{wire.ROOT}/consents/{{bandToken}}", "ConsentMessage", "api", "gateway, ingest", True,
        "The newest consent of a band; an empty payload clears it. What is unknown or expired covers nothing.",
    ),
    "status": (
        f"{wire.ROOT}/gateways/{{gateway}}/status", "GatewayStatus", "gateway", "api", True,
        "What a gateway says of itself; `online` false is its last will.",
    ),
    "erasures": (
        f"{wire.ROOT}/erasures/{{pseudonym}}", "Erasure", "ingest", "api", False,
        "Nothing of this volunteer is left in the store.",
    ),
    "stops": (
        f"{wire.ROOT}/stops/{{gateway}}", "Stop", "gateway", "api", False,
        "A wearer held the band's button for ten seconds: a withdrawal, unless a choice came after it. Said again until"
        " the band's consent says so too.",
    ),
}  # fmt: skip

PARAMETERS = {
    "district": f"CBS code of where the band was heard: {DISTRICT}",
    "gateway": f"The gateway's name, which is its login at the broker: {NAME}",
    "bandToken": f"HMAC of the band's serial, so that who knows serials cannot list tokens: {TOKEN}",
    "pseudonym": f"Random, never derived from a band or a person: {TOKEN}",
}


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Wijkpols on MQTT",
            "version": "1",
            "description": "Topics and payloads between gateways, broker, ingest and API. MQTT 5, QoS 1, JSON."
            " Written by `python -m tools.asyncapi` out of contracts/wire.py; do not edit it.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateways": _server("broker.example:8883", "The gateways' door (deploy/mosquitto)."),
            "servers": _server("broker.example:8884", "The door of ingest, API and who watches."),
        },
        "channels": {name: _channel(name) for name in CHANNELS},
        "operations": {
            f"{action}{name.capitalize()}": _operation(name, action)
            for name in CHANNELS
            for action in ("send", "receive")
        },
        "components": {
            "messages": {name: _message(name) for name in EXAMPLES},
            "schemas": _schemas(),
            "securitySchemes": {"login": {"type": "userPassword", "description": "One for each gateway and server."}},
        },
    }  # fmt: skip


def text() -> str:
    """The document as it stands in the file."""
    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=118)


def _server(host: str, description: str) -> dict[str, Any]:
    return {
        "host": host,
        "protocol": "mqtts",
        "protocolVersion": "5.0",
        "description": description,
        "security": [{"$ref": "#/components/securitySchemes/login"}],
    }


def _channel(name: str) -> dict[str, Any]:
    address, message, _, _, _, description = CHANNELS[name]
    used = [part[1:-1] for part in address.split("/") if part.startswith("{")]
    return {
        "address": address,
        "description": description,
        "parameters": {parameter: {"description": PARAMETERS[parameter]} for parameter in used},
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }


def _operation(name: str, action: str) -> dict[str, Any]:
    _, message, sender, receiver, retained, _ = CHANNELS[name]
    retain = {"retain": retained} if action == "send" else {}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": f"By {sender if action == 'send' else receiver}.",
        "messages": [{"$ref": f"#/channels/{name}/messages/{message}"}],
        "bindings": {"mqtt": {"qos": 1, **retain, "bindingVersion": "0.2.0"}},
    }


def _message(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "examples": [{"payload": msgspec.json.decode(wire.encode(EXAMPLES[name]))}],
    }


def _schemas() -> dict[str, Any]:
    """Out of the types, and what the types do not say: ranges, units and forms, out of `contracts.reading`."""
    types = [type(example) for example in EXAMPLES.values()]
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])  # as Python 3.13 has it by itself
        if "pseudonym" in schema.get("properties", {}):
            schema["properties"]["pseudonym"]["pattern"] = f"^{TOKEN}$"
    schemas["Stop"]["properties"]["band"]["pattern"] = f"^{TOKEN}$"
    reading = schemas["Reading"]["properties"]
    reading["minute"] |= {"multipleOf": MINUTE_S, "description": "unix seconds, the start of the minute"}
    for name, field in FIELDS.items():
        reading[name] = {
            "type": ["number", "null"],
            "minimum": field.low,
            "maximum": field.high,
            "default": None,
            "description": f"{field.unit}; consent category {field.category.value}",
        }
    for mark in ("safe", "happy"):
        schemas["SelfReport"]["properties"][mark] |= {"minimum": 0, "maximum": 10}
    for items in ("readings", "reports"):
        schemas["ReadingsMessage"]["properties"][items]["maxItems"] = wire.ITEMS_MAX
    schemas["ReadingsMessage"]["description"] += (
        f" At most {wire.ITEMS_MAX} items together, {wire.PAYLOAD_BYTES_MAX} bytes."
    )
    return dict(schemas)


if __name__ == "__main__":
    FILE.write_text(text())
