"""A real Chromium, and axe-core from npm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.api_support import serving
from tests.api_volunteers import Town
from tests.browser.reading import chromium
from tests.node_modules import node_modules
from tests.registrykit.databases import database

__all__ = ["database"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    folder = tmp_path_factory.mktemp("town")
    return Town(folder, email_key_file=str(folder / "email-key"))


@pytest.fixture(scope="module")
def site(town: Town) -> Iterator[str]:
    with serving(town.app) as url:
        yield url


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return (node_modules() / "axe-core" / "axe.min.js").read_text()
