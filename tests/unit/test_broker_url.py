"""The broker's URL: what it means, and what is wrong with it without showing its password."""

from __future__ import annotations

import contextlib
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from contracts.broker_url import BrokerAddress
from contracts.ports import UsageFault


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://127.0.0.1:1884", BrokerAddress("127.0.0.1", 1884)),
        ("mqtt://broker.example/", BrokerAddress("broker.example", 1883)),
        ("mqtts://broker.example", BrokerAddress("broker.example", 8883, tls=True)),
        ("MQTT://[::1]:1883", BrokerAddress("::1", 1883)),
        ("mqtt://gw:p%40ss%2F@h", BrokerAddress("h", 1883, username="gw", password="p@ss/")),
        ("mqtt://gw@h", BrokerAddress("h", 1883, username="gw")),
        (
            "mqtts://gw:p@h?ca=/etc/wijkpols/ca%20of%20the%20city.crt",
            BrokerAddress("h", 8883, tls=True, username="gw", password="p", ca="/etc/wijkpols/ca of the city.crt"),
        ),
        ("mqtt://gw:@h", BrokerAddress("h", 1883, username="gw", password="")),
    ],
)
def test_a_url_is_read(url: str, address: BrokerAddress):
    assert BrokerAddress.parse(url) == address


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "mqtt://"),
        ("localhost:1883", "mqtt://"),
        ("tcp://h:1883", "begin with"),
        ("mqtt://", "no host"),
        ("mqtt://gw:secret@", "no host"),
        ("mqtt://gw:secret@h:port", "host and port"),
        ("mqtt://gw:secret@h:70000", "host and port"),
        ("mqtt://h..example", "host and port"),
        ("mqtt://h:0", "port 0"),
        ("mqtt://gw:sec/ret@h:1883", "host and port"),
        ("mqtt://h:1883/topic", "after the port"),
        ("mqtt://:secret@h", "without a user"),
        ("mqtt://h?ca=/etc/ca.crt", "without TLS"),
        ("mqtts://h?ca=", "after the port"),
        ("mqtts://h?ca=/etc/ca.crt&insecure=1", "after the port"),
    ],
)
def test_a_wrong_url_says_what_is_wrong_and_no_password(url: str, word: str):
    with pytest.raises(UsageFault) as caught:
        BrokerAddress.parse(url)
    assert word in str(caught.value)
    assert "sec" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_printed_address_shows_no_password():
    address = BrokerAddress.parse("mqtts://gw:secret@h")
    assert f"{address} {address!r}" == "mqtts://h:8883 <BrokerAddress mqtts://h:8883>"


@given(st.one_of(st.text(), st.text().map("mqtt://".__add__)))
def test_any_text_is_an_address_or_a_usage_fault(url: str):
    with contextlib.suppress(UsageFault):
        BrokerAddress.parse(url)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_ca_file_that_cannot_be_used_is_said_without_the_password(tmp_path: Path, content: bytes | None):
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_bytes(content)
    address = BrokerAddress.parse(f"mqtts://gw:secret@h?ca={file}")
    with pytest.raises(UsageFault, match="name the PEM file") as caught:
        address.secure(paho.Client(CallbackAPIVersion.VERSION2))
    assert "secret" not in str(caught.value)
