"""The message reference says what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml

from contracts import wire
from contracts.consent import ConsentMessage
from contracts.reading import FIELDS, Reading, reading_fault
from tools import asyncapi

BAND = "a2b3c4d5e6f7g2h3i4j5k6l7m2"
DECODERS = {
    "ReadingsMessage": wire.decode_readings,
    "ConsentMessage": wire.decode_consent,
    "GatewayStatus": wire.decode_status,
    "Erasure": wire.decode_erasure,
    "Stop": wire.decode_stop,
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return yaml.safe_load(asyncapi.FILE.read_text())


def test_the_file_is_what_the_code_gives():
    assert asyncapi.FILE.read_text() == asyncapi.text(), "run: .venv/bin/python -m tools.asyncapi"


def test_every_topic_of_the_code_is_a_channel_and_no_other(document: dict[str, Any]):
    topics = {
        wire.readings_topic("WK034403", "gw-1"),
        wire.consent_topic(BAND),
        wire.status_topic("gw-1"),
        wire.erasure_topic(BAND),
        wire.stop_topic("gw-1"),
    }
    for channel in document["channels"].values():
        form = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(channel["address"]))
        (topic,) = [topic for topic in topics if re.fullmatch(form, topic)]
        topics.remove(topic)
    assert not topics


def test_every_message_type_that_can_be_encoded_is_there(document: dict[str, Any]):
    known = {
        kind.__name__ for kind in (wire.ReadingsMessage, ConsentMessage, wire.GatewayStatus, wire.Erasure, wire.Stop)
    }
    assert set(document["components"]["messages"]) == known == set(DECODERS)


@pytest.mark.parametrize("name", DECODERS)
def test_examples_are_decoded_and_come_back_the_same(document: dict[str, Any], name: str):
    for example in document["components"]["messages"][name]["examples"]:
        decoded = DECODERS[name](msgspec.json.encode(example["payload"]))
        assert msgspec.json.decode(wire.encode(decoded)) == example["payload"]


def test_ranges_are_those_by_which_readings_are_judged(document: dict[str, Any]):
    properties = document["components"]["schemas"]["Reading"]["properties"]
    assert set(properties) == {"pseudonym", "minute", *FIELDS}
    for name in FIELDS:
        low, high = properties[name]["minimum"], properties[name]["maximum"]
        for value, good in ((low, True), (high, True), (low - 0.001, False), (high + 0.001, False)):
            fault = reading_fault(Reading(pseudonym=BAND, minute=1_764_000_000, **{name: value}))
            assert (fault is None) is good, (name, value)


def test_every_reference_leads_somewhere(document: dict[str, Any]):
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                yield from references(each)

    found = set(references(document))
    assert len(found) > 10
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
