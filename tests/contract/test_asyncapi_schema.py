"""The message reference is an AsyncAPI 3.0 document, by the schema that its makers publish (npm: @asyncapi/specs)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

from tests.node_modules import node_modules
from tools import asyncapi


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    return Draft7Validator(json.loads((node_modules() / "@asyncapi/specs/schemas/3.0.0.json").read_text()))


@pytest.fixture
def document() -> dict[str, Any]:
    return yaml.safe_load(asyncapi.FILE.read_text())


def test_the_reference_is_valid(validator: Draft7Validator, document: dict[str, Any]):
    assert document["asyncapi"] == "3.0.0"
    validator.validate(document)


def test_the_schema_would_notice(validator: Draft7Validator, document: dict[str, Any]):
    for broken in ({**document, "channels": []}, {**document, "operations": {"x": {"action": "listen"}}}):
        with pytest.raises(ValidationError):
            validator.validate(broken)
