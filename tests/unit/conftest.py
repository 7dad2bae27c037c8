"""Fixtures of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.app import Registry
from tests.api_support import ManualClock, registry_for
from tests.registrykit.databases import database

__all__ = ["database"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def registry(tmp_path: Path, clock: ManualClock) -> Registry:
    """A registry as `wijkpols api` leaves it at its start: the notices' texts are held."""
    found = registry_for(tmp_path, clock=clock)
    found.renewals.hold_texts()
    return found
