"""Districts, settings and the small commands: what a person types, and what they read when it is wrong."""

from __future__ import annotations

import argparse
import json
import stat
from pathlib import Path

import pytest
from sqlalchemy import text

from api import app, commands
from api.app import Registry
from api.registry import open_registry
from api.settings import read_settings
from contracts.district import UTRECHT
from contracts.ports import Fault, UsageFault
from tests.api_support import BAND_KEY, CHOICES, ManualClock, registry_for, settings_for
from tests.registrykit.databases import url_of

pytestmark = pytest.mark.usefixtures("database")


def geojson(folder: Path, *codes: str) -> Path:
    ring = [[5.0, 52.0], [5.1, 52.0], [5.1, 52.1], [5.0, 52.0]]
    features = [
        {
            "type": "Feature",
            "properties": {"code": code, "naam": f"Wijk {code}"},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for code in codes
    ]
    path = folder / "wijken.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_utrecht_stands_there_until_districts_are_imported(
    registry: Registry, shared_data: Path, tmp_path: Path
) -> None:
    assert registry.districts.all() == UTRECHT
    other = Registry(settings_for(tmp_path), clock=ManualClock())
    assert other.districts.all() == UTRECHT
    found = registry.districts.import_file(shared_data / "utrecht_wijken.geojson", boundary_year=2013)
    assert len(found) == 10
    assert registry.districts.all() == found
    assert other.districts.all() == found  # a running API sees what another process imported
    assert found[0].polygons


def test_a_second_import_takes_the_place_of_the_first(registry: Registry, tmp_path: Path) -> None:
    registry.districts.import_file(geojson(tmp_path, "WK036301", "WK036302"), boundary_year=2026)
    registry.districts.import_file(geojson(tmp_path, "WK036303"), boundary_year=2026)
    assert [d.code for d in registry.districts.all()] == ["WK036303"]
    assert not registry.districts.known("WK036301")


def test_a_district_with_volunteers_cannot_be_imported_away(registry: Registry, tmp_path: Path) -> None:
    code = registry.ledger.add_band("WP-000001")
    registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    with pytest.raises(Fault, match="WK034403"):
        registry.districts.import_file(
            geojson(tmp_path, "WK034404"), boundary_year=2026, enrolled=registry.ledger.districts_enrolled
        )
    assert registry.districts.all() == UTRECHT


@pytest.mark.parametrize(
    "content", [b"", b"no json", b"[]", b"{}", b'{"type":"FeatureCollection","features":[]}', b"\xff", b"[" * 100_000]
)
def test_a_file_that_is_no_map_gives_one_line_and_changes_nothing(
    registry: Registry, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "broken.geojson"
    path.write_bytes(content)
    with pytest.raises(Fault) as fault:
        registry.districts.import_file(path, boundary_year=2026)
    assert "\n" not in str(fault.value)
    assert registry.districts.all() == UTRECHT


def test_a_file_that_is_not_there_is_a_usage_fault(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="cannot be read"):
        registry.districts.import_file(tmp_path / "none.geojson", boundary_year=2026)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://x:SECRET@h/d", "postgresql+nodriver://u:SECRET@h/d", "redis://u:SECRET@h"]
)
def test_a_registry_url_that_cannot_be_used_is_a_usage_fault_without_its_password(url: str) -> None:
    with pytest.raises(UsageFault) as fault:
        open_registry(url)
    assert "SECRET" not in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(Fault, match="cannot be opened"):
        open_registry(f"sqlite:///{blocked}/registry.sqlite")


def test_a_file_that_is_no_database_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    path.write_bytes(b"something else" * 100)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    with pytest.raises(Fault, match="cannot be opened"):
        open_registry(f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("name", "value"),
    [("WIJKPOLS_API_PORT", "SECRET"), ("WIJKPOLS_API_PORT", "70000"), ("WIJKPOLS_PUBLIC_URL", "ftp://SECRET")],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageFault, match=name) as fault:
        read_settings()
    assert value not in str(fault.value)


def test_a_band_key_that_is_absent_or_short_is_a_usage_fault(tmp_path: Path) -> None:
    for key in ("", "too short"):
        with pytest.raises(UsageFault, match="WIJKPOLS_BAND_KEY"):
            registry_for(tmp_path, band_key=key)


def test_a_broker_url_that_cannot_be_used_is_a_usage_fault(registry: Registry) -> None:
    with pytest.raises(UsageFault):
        registry.publisher("http://localhost")


def test_a_port_in_use_is_one_line() -> None:
    with app.listen("127.0.0.1", 0) as held, pytest.raises(Fault, match="in use"):
        app.listen("127.0.0.1", held.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", url_of(tmp_path))
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", BAND_KEY)
    return tmp_path


def command(kind: str, *words: str) -> int:
    parser = argparse.ArgumentParser()
    add, run = {
        "districts": (commands.add_district_arguments, commands.run_districts),
        "bands": (commands.add_band_arguments, commands.run_bands),
        "consent": (commands.add_consent_arguments, commands.run_consent),
    }[kind]
    add(parser)
    return run(parser.parse_args(words))


def test_the_commands_import_list_register_and_verify(
    environment: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("districts", "import", str(shared_data / "utrecht_wijken.geojson"), "--boundary-year", "2013") == 0
    assert command("districts", "list") == 0
    assert command("bands", "add-bands", "WP-000001", "WP-000002") == 0
    assert command("consent", "verify") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "10 districts imported"
    assert said[1] == "WK034401  2013  West"
    code = said[11].split()[1]
    registry = registry_for(environment)
    registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    with pytest.raises(Fault, match="worn"):
        command("bands", "add-bands", "WP-000001")
    with registry.engine.begin() as connection:
        connection.execute(text("UPDATE consent_events SET body = replace(body, 'WK034403', 'WK034404')"))
    with pytest.raises(Fault, match="event 1: edited"):
        command("consent", "verify")
