"""The files of deploy/ name settings, commands, volumes and doors that there are."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from analytics.settings import Settings as AnalyticsSettings
from api.settings import Settings as ApiSettings
from contracts.broker_url import BrokerAddress
from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from ingest.store_url import parse_store_url
from wijkpols import PARTS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KNOWN = {
    f"WIJKPOLS_{name}".upper()
    for settings in (AnalyticsSettings, GatewaySettings, IngestSettings, ApiSettings)
    for name in settings.model_fields
}


def filled(text: str) -> str:
    """As compose fills it in."""
    return re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", "secret", text)


def own_services() -> list[tuple[str, dict[str, Any]]]:
    return [(name, found) for name, found in COMPOSE["services"].items() if found["image"].startswith("wijkpols")]


def test_every_setting_of_the_compose_file_is_one_of_ours():
    assert {name for name, _ in own_services()} == {"ingest", "api"}
    for _, service in own_services():
        assert set(service["environment"]) <= KNOWN


def test_urls_of_the_compose_file_lead_to_its_own_services_by_the_right_door():
    for name, service in own_services():
        broker = BrokerAddress.parse(filled(service["environment"]["WIJKPOLS_BROKER_URL"]))
        assert (broker.host, broker.port, broker.tls, broker.username) == ("mosquitto", 8884, True, name)
        assert f"user {name}\n" in (DEPLOY / "mosquitto" / "servers.acl").read_text()
        assert any(volume.split(":")[1] == broker.ca for volume in service["volumes"])
    store = parse_store_url(filled(COMPOSE["services"]["ingest"]["environment"]["WIJKPOLS_STORE_URL"]))
    assert (store.host, store.org) == ("influxdb", "wijkpols")
    assert COMPOSE["services"]["influxdb"]["environment"]["DOCKER_INFLUXDB_INIT_ORG"] == store.org


def test_secrets_of_the_compose_file_are_asked_for_and_none_is_written_down():
    text = (DEPLOY / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    example = dict(line.split("=") for line in (DEPLOY / "compose.env.example").read_text().splitlines() if "=" in line)
    assert asked == set(example)
    assert set(example.values()) == {""}


def test_mosquittos_folders_are_those_of_its_configuration():
    config = (DEPLOY / "mosquitto" / "wijkpols.conf").read_text()
    targets = [volume.split(":")[1] for volume in COMPOSE["services"]["mosquitto"]["volumes"]]
    named = re.findall(
        r"^(?:persistence_location|password_file|acl_file|cafile|certfile|keyfile) (\S+)", config, re.MULTILINE
    )
    for path in named:
        assert any(path.startswith(target) for target in targets), path


@pytest.mark.parametrize(
    ("name", "unit_name"),
    [("ingest", "ingest"), ("gateway", "gateway"), ("api", "remind"), ("api", "api"), ("api", "analytics")],
)
def test_a_units_settings_are_ours_and_its_folder_is_the_one_it_may_write(name: str, unit_name: str):
    lines = (DEPLOY / "systemd" / f"{name}.env.example").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    assert set(settings) <= KNOWN
    assert BrokerAddress.parse(settings["WIJKPOLS_BROKER_URL"]).ca == "/etc/wijkpols/ca.crt"
    unit = (DEPLOY / "systemd" / f"wijkpols-{unit_name}.service").read_text()
    assert f"EnvironmentFile=/etc/wijkpols/{name}.env" in unit
    assert "StateDirectory=wijkpols" in unit


def parsed(words: list[str]) -> argparse.Namespace:
    """By the part's own parser; one that does not know the words ends the test."""
    parser = argparse.ArgumentParser()
    part = PARTS[words[0]]
    getattr(importlib.import_module(part.module), part.add_arguments)(parser)
    return parser.parse_args(words[1:])


def test_commands_of_the_compose_file_are_ones_that_there_are():
    for _, service in own_services():
        assert parsed(service["command"])


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.stem)
def test_a_units_command_is_one_that_there_is(unit: Path):
    (command,) = re.findall(r"^ExecStart=\S+/wijkpols (.+)$", unit.read_text(), re.MULTILINE)
    assert parsed(shlex.split(command))


@pytest.mark.parametrize("timer", sorted((DEPLOY / "systemd").glob("*.timer")), ids=lambda path: path.stem)
def test_a_timer_starts_a_unit_that_runs_once_and_may_do_little(timer: Path):
    unit = timer.with_suffix(".service").read_text()
    hardened = ("Type=oneshot", "User=wijkpols", "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes")
    assert [line for line in (*hardened, "PrivateTmp=yes", "UMask=0077") if line not in unit.splitlines()] == []
    assert "Persistent=true" in timer.read_text()  # a machine that slept does it later
    assert "[Install]\nWantedBy=timers.target" in timer.read_text()
