"""docs/how-to/back-up-and-restore.md: a backup does not bring back who was erased after it was made."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.consent import ConsentState
from contracts.ports import Holdings
from ingest.app import Ingest, open_store
from ingest.duckdb_compact import compact
from tests.ingestkit.gateways import Town, eventually, forget_session
from tests.ingestkit.people import consent, pseudonym, reading
from tests.servers import Broker

_numbers = itertools.count()


@pytest.fixture
def name(broker: Broker) -> Iterator[str]:
    chosen = f"restored-{next(_numbers)}"
    yield chosen
    forget_session(broker, chosen)


@pytest.mark.parametrize("notes_are_lost", [False, True])
def test_a_restored_backup_does_not_bring_back_who_was_erased_since(
    broker: Broker, tmp_path: Path, name: str, notes_are_lost: bool
):
    path, backup, rejects = tmp_path / "readings.duckdb", tmp_path / "backup", tmp_path / "rejects.sqlite"
    url = f"duckdb:///{path}"
    stays, leaves = 810_001 + 2 * notes_are_lost, 810_002 + 2 * notes_are_lost

    with Town(broker, f"{name}-town") as town:
        store = open_store(url)
        with Ingest(store=store, broker=broker.url, rejects=rejects, name=name) as ingest:
            ingest.wait_until_ready(20)
            for number in (stays, leaves):
                town.consent(number, consent(number))
                town.send(*(reading(number, minute) for minute in range(10)))
            eventually(lambda: store.holdings() == Holdings(20, 0))
        store.close()
        shutil.copy(path, backup)

        store = open_store(url)
        with Ingest(store=store, broker=broker.url, rejects=rejects, name=name) as ingest:
            ingest.wait_until_ready(20)
            town.consent(leaves, consent(leaves, revision=2, state=ConsentState.WITHDRAWN, erase=True))
            eventually(lambda: store.holdings() == Holdings(10, 0))
        store.close()

        shutil.copy(backup, path)
        if notes_are_lost:
            shutil.rmtree(f"{rejects}-batches")
            for file in tmp_path.glob("rejects.sqlite*"):
                file.unlink()
        store = open_store(url)
        assert store.holdings(pseudonym(leaves)) == Holdings(10, 0)  # the backup holds what was erased since
        with Ingest(store=store, broker=broker.url, rejects=rejects, name=name) as ingest:
            ingest.wait_until_ready(20)
            eventually(lambda: store.holdings(pseudonym(leaves)) == Holdings(0, 0))
        assert store.holdings(pseudonym(stays)) == Holdings(10, 0)
        store.close()
        compact(path)
        assert pseudonym(leaves).encode() not in path.read_bytes()
