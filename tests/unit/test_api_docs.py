"""The reference page is held against the application."""

from __future__ import annotations

import re
from pathlib import Path

from api.app import create_app
from api.citizen.page_routes import router as pages
from api.openapi import describe
from api.settings import Settings
from api.volunteer import entry_pages, own_pages, passkey_pages, rights_pages, wish_pages
from tests.api_support import ManualClock, MemoryReleases, registry_for, settings_for

_OWN = (entry_pages, own_pages, passkey_pages, rights_pages, wish_pages)
#: Their default is nothing, whatever its type.
_EMPTY = ("WIJKPOLS_BAND_KEY", "WIJKPOLS_EMAIL_KEY_FILE", "WIJKPOLS_POST_URL")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "api.md").read_text()


def test_every_route_is_on_the_page_and_every_route_on_the_page_is_there(tmp_path: Path) -> None:
    registry = registry_for(tmp_path)
    app = create_app(
        ledger=registry.ledger,
        releases=MemoryReleases(),
        districts=registry.districts,
        access_log=registry.access_log,
        publisher=None,
        own_data=None,
        clock=ManualClock(),
        settings=settings_for(tmp_path),
    )
    mounted = next(route for route in app.routes if getattr(route, "path", "") == "/v1")
    document = describe(mounted.app, settings_for(tmp_path))  # type: ignore[attr-defined]
    served = {f"{m.upper()} /v1{path}" for path, operations in document["paths"].items() for m in operations}
    told = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /v1/[^`?]+)`", PAGE))
    assert told - {"GET /v1/openapi.json"} == served
    shown = {route.path for route in pages.routes}  # type: ignore[attr-defined]
    assert {path for path in shown if f"`{path}`" not in PAGE} == set()
    own = {r.path.removeprefix("/en") for module in _OWN for r in module.router.routes}  # type: ignore[attr-defined]
    assert set(re.findall(r"^\| `(/mijn[^`]*)` \|", PAGE, re.MULTILINE)) == own


def test_every_setting_is_on_the_page_with_its_default() -> None:
    told = dict(re.findall(r"^\| `(WIJKPOLS_[A-Z_]+)` \|\s*`?([^|`]*?)`?\s*\|", PAGE, re.MULTILINE))
    fields = {f"WIJKPOLS_{name.upper()}": field for name, field in Settings.model_fields.items()}
    assert set(told) == set(fields)
    for name, field in fields.items():
        default = "" if name in _EMPTY else str(field.default)
        assert told[name].strip() == default, name
