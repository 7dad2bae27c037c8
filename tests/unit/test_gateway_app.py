"""Settings and words: what is wrong is said in one line, without a secret, and a status can be read by people."""

from __future__ import annotations

import argparse
import re
import urllib.request

import pytest

from contracts import wire
from contracts.ports import Fault, UsageFault
from gateway import app
from gateway.drain import BandFaulty
from gateway.link import LinkLost, RadioAddress, RadioLost, Refused
from gateway.metrics import Metrics
from gateway.settings import load
from gateway.status import in_words
from tests.servers import free_port

KEY = "00112233445566778899aabbccddeeff"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROKER_URL", "GATEWAY_NAME", "GATEWAY_DISTRICT", "GATEWAY_RADIO", "GATEWAY_SLOTS", "BAND_KEY"):
        monkeypatch.delenv(f"WIJKPOLS_{name}", raising=False)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    app.add_arguments(parser)
    return app.run(parser.parse_args(words))


def test_settings_come_from_the_environment_and_options_go_first(monkeypatch):
    monkeypatch.setenv("WIJKPOLS_GATEWAY_NAME", "gw-1")
    monkeypatch.setenv("WIJKPOLS_GATEWAY_SLOTS", "3")
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", KEY)
    settings = load(gateway_slots=7, gateway_radio=None)
    assert (settings.gateway_name, settings.gateway_slots, settings.gateway_radio) == ("gw-1", 7, "bluez")
    assert settings.key == bytes.fromhex(KEY)
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("GATEWAY_NAME", "My Gateway", "lower-case"),
        ("GATEWAY_DISTRICT", "Utrecht", "CBS code"),
        ("GATEWAY_SLOTS", "0", "greater than or equal to 1"),
        ("BAND_KEY", "secretsecret", "hexadecimal"),
        ("BAND_KEY", "5ec2e7", "32 hexadecimal"),
    ],
)
def test_a_wrong_setting_is_named_and_not_repeated(monkeypatch, name, value, word):
    monkeypatch.setenv(f"WIJKPOLS_{name}", value)
    with pytest.raises(UsageFault) as caught:
        load()
    assert f"WIJKPOLS_{name}" in str(caught.value)
    assert word in str(caught.value)
    assert value == "0" or value not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("run",), "WIJKPOLS_GATEWAY_NAME"),
        (("run", "--name", "gw-1"), "WIJKPOLS_GATEWAY_DISTRICT"),
        (("run", "--name", "gw-1", "--district", "WK034403"), "WIJKPOLS_BAND_KEY"),
        (("run", "--name", "gw-1", "--district", "WK034403", "--band-key-file", "/nowhere"), "band key file"),
        (("status",), "WIJKPOLS_GATEWAY_NAME"),
    ],
)
def test_a_missing_setting_is_named(words, text):
    with pytest.raises(UsageFault, match=text):
        run(*words)


@pytest.mark.parametrize(
    ("option", "value"), [("--broker-url", "tcp://h"), ("--radio", "usb:0"), ("--radio", "bumble:")]
)
def test_a_url_that_cannot_be_used_is_a_usage_fault(monkeypatch, option, value):
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", KEY)
    with pytest.raises(UsageFault):
        run("run", "--name", "gw-1", "--district", "WK034403", option, value)


def test_a_status_without_a_broker_is_a_fault():
    with pytest.raises(Fault, match="cannot be reached"):
        run("status", "--name", "gw-1", "--broker-url", "mqtt://127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("bluez", ("bluez", "hci0")),
        ("bluez:hci1", ("bluez", "hci1")),
        ("bluez:hci1=3", ("bluez", "hci1", 3)),
        ("bumble:tcp-client:127.0.0.1:9000", ("bumble", "tcp-client:127.0.0.1:9000")),
        ("bumble:unix-client:/run/air", ("bumble", "unix-client:/run/air")),
    ],
)
def test_a_radio_is_named_by_its_url(text, address):
    assert RadioAddress.parse(text) == RadioAddress(*address)


def test_several_radios_are_named_with_commas():
    assert [(str(one), one.slots) for one in RadioAddress.parse_all("bluez:hci0, bluez:hci1=3")] == [
        ("bluez:hci0", 0),
        ("bluez:hci1", 3),
    ]
    for wrong in ("bluez:hci0,bluez", "bluez:hci1=0", "bluez:hci1=many", "bluez:hci0,"):
        with pytest.raises(UsageFault):
            RadioAddress.parse_all(wrong)


def test_a_status_is_told_in_words():
    status = wire.GatewayStatus(
        gateway="gw-1", district="WK034403", online=True, slots=5, bands_heard=3, bands_connected=2,
        minutes_made=10, published=9, minutes_dropped={"not-worn": 2, "clock": 5}, outbox_rows=1,
    )  # fmt: skip
    words = in_words(status, now=100)
    assert "gw-1 in WK034403: online\n" in words
    assert "2 of 5 in use" in words
    assert "clock 5, not-worn 2" in words
    assert "rejected: none" in words
    assert "1 messages wait\n" in words


def test_a_status_tells_for_how_long_the_outbox_waits_and_the_gateway_is_silent():
    status = wire.GatewayStatus(
        gateway="gw-1", district="WK034403", online=True, at=1_000_000, outbox_rows=7, outbox_since=1_000_000 - 600,
    )  # fmt: skip
    words = in_words(status, now=1_000_000 + 7_200)
    assert "online, but silent for 2 hours" in words
    assert "7 messages wait, the oldest for 2 hours" in words


def test_a_last_will_says_nothing_that_it_does_not_know():
    words = in_words(wire.GatewayStatus(gateway="gw-1", district="WK034403", online=False), now=100)
    assert words.startswith("gw-1 in WK034403: offline\n")
    assert "0" not in words.split("\n", 1)[1]


def test_metrics_are_served_on_request_on_this_machine_alone_and_name_nobody():
    status = wire.GatewayStatus(
        gateway="gw-1", district="WK034403", online=True, bands_heard=3, minutes_made=10, turns={"drained": 4}
    )
    port = free_port()
    with Metrics(lambda: status, host="127.0.0.1", port=port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        with pytest.raises(Fault, match="choose another port"), Metrics(lambda: status, host="127.0.0.1", port=port):
            pass
    assert "wijkpols_gateway_bands_heard 3.0" in text
    assert "wijkpols_gateway_minutes_made_total 10.0" in text
    assert 'wijkpols_gateway_turns_total{reason="drained"} 4.0' in text
    assert set(re.findall(r"{([a-z_]+)=", text)) <= {"reason", "version"}
    with Metrics(lambda: status, host="127.0.0.1", port=0), pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)
    assert load().gateway_metrics_host == "127.0.0.1"
    assert load().gateway_metrics_port == 0


def test_an_order_where_no_gateway_is_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", KEY)
    with pytest.raises(UsageFault, match=r"no gateway has its outbox in .*: name its folder by --outbox"):
        run("pair", "--band", "WP-000001", "--outbox", str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


def test_an_order_says_what_to_do_and_is_left_for_the_gateway(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", KEY)
    (tmp_path / "outbox.sqlite").touch()
    assert run("pair", "--band", "WP-000001", "--outbox", str(tmp_path)) == 0
    said = capsys.readouterr().out
    assert "lets WP-000001 bond, for 10 minutes" in said
    assert str(tmp_path) in said
    assert "journalctl -u wijkpols-gateway" in said
    assert [path.name.partition("-")[0] for path in (tmp_path / "orders").iterdir()] == ["pair"]


def test_an_order_that_cannot_be_left_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", KEY)
    with pytest.raises(Fault, match=r"no order can be left in .*: be the gateway's own user"):
        run("pair", "--band", "WP-000001", "--outbox", str(tmp_path / ("x" * 300)))  # no disk has such a name


@pytest.mark.parametrize("serial", ["WP-1", "wp-000001", "HR-0001"])
def test_an_order_for_what_is_no_band_is_refused(monkeypatch, tmp_path, serial):
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", KEY)
    with pytest.raises(UsageFault, match="as it is printed on the band"):
        run("pair", "--band", serial, "--outbox", str(tmp_path))
    assert not (tmp_path / "orders").exists()


@pytest.mark.parametrize("fault", [LinkLost, RadioLost, Refused, BandFaulty])
def test_what_the_stack_says_of_a_band_goes_on_without_its_address(fault: type[Exception]):
    said = "a band - ED:F8:6D:06:6A:CD: /org/bluez/hci0/dev_ED_F8_6D_06_6A_CD: br-connection-canceled"
    assert str(fault(said)) == "a band - …: /org/bluez/hci0/dev_…: br-connection-canceled"
