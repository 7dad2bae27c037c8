"""The small form of `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ingestkit.soak import Soak


@pytest.mark.parametrize(("store", "faults"), [("duckdb", 3), ("influxdb", 5)])
def test_all_that_a_gateway_was_told_was_taken_is_stored_exactly_once_whatever_is_killed(
    tmp_path: Path, store: str, faults: int
):
    outcome = Soak(tmp_path, store=store, readings=12_000, people=60, seed=7, faults=faults).run()
    assert outcome.acknowledged == 12_000
    assert outcome.exact, outcome
    assert set(outcome.faults.values()) == {1}
