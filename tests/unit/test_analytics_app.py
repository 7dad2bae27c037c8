"""The commands of analytics: what they print, and what they say when something is wrong."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

import pytest

from analytics.app import add_arguments, build, run
from analytics.windows import instant
from contracts.district import UTRECHT
from contracts.ports import Fault, StoreUnavailable, UsageFault
from tests.analytics_parts.city import MONDAY, WEST, Consents, MemoryStore, SetClock, cover, fill, registry

NOW = instant(MONDAY + timedelta(days=2)) + 7 * 3600


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    fill(store, range(85), 2)
    return store


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: MemoryStore):
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", registry(tmp_path))
    monkeypatch.setenv("WIJKPOLS_STORE_URL", "memory:")
    consents = Consents(cover(n) for n in range(85))

    def call(*words: str, opened=lambda _: store) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return run(parser.parse_args(words), consents=consents, open_store=opened, clock=SetClock(NOW))

    return call


def test_plan_run_and_budget_from_the_command_line(command, capsys: pytest.CaptureFixture[str]):
    assert command("plan", "--set", "--from", MONDAY.isoformat()) == 0
    assert f"daily   {WEST}\n" in capsys.readouterr().out
    assert command("run") == 0
    out = capsys.readouterr().out
    assert out.count("published  2026-11-02  WK034401  safe ") == 1
    assert command("run") == 0
    assert "nothing to release" in capsys.readouterr().out
    assert command("budget") == 0
    assert "ρ = 0.072 in any 30 days (ε = 1.79 at δ = 1e-6); the cap is ρ = 1.5 (ε = 9.85)" in capsys.readouterr().out


def test_a_budget_without_releases_is_nothing_yet(command, capsys: pytest.CaptureFixture[str]):
    assert command("budget") == 0
    assert "nothing yet" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("run",), ("plan",)])
def test_without_a_plan_a_command_says_how_to_make_one(command, words: tuple[str, ...]):
    with pytest.raises(UsageFault, match="analytics plan --set"):
        command(*words)


def test_a_wrong_day_is_a_usage_fault(command):
    with pytest.raises(UsageFault, match="2026-11-23"):
        command("plan", "--set", "--from", "soon")


def test_a_store_that_is_away_is_a_fault(command, store: MemoryStore, monkeypatch: pytest.MonkeyPatch):
    def away(*_: object) -> None:
        raise StoreUnavailable

    command("plan", "--set", "--from", MONDAY.isoformat())
    monkeypatch.setattr(store, "readings", away)
    with pytest.raises(Fault, match="WIJKPOLS_STORE_URL"):
        command("run")


def test_build_puts_analytics_on_a_registry(tmp_path: Path, store: MemoryStore):
    consents = Consents(cover(n) for n in range(85))
    analytics = build(f"sqlite:///{tmp_path}/new/registry.sqlite", store, consents, SetClock(NOW), grace_s=0)
    plan = analytics.make_plan(UTRECHT, holds_from=MONDAY)
    assert plan.holds_from == MONDAY
    assert len(analytics.run().published) == 6
