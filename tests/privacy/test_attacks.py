"""The attacks hold on the real engine, and each catches its broken engines; the command says so."""

from __future__ import annotations

import argparse
import json

import pytest

from analytics.mechanism import epsilon, noise
from attacks import app
from attacks.app import add_arguments, attack_all, run
from attacks.cells import chance_published
from attacks.verdict import Verdict, advantage, judge, slack
from contracts.ports import UsageFault
from contracts.release import Cadence

WANTED = {
    "averaging", "timestamps", "withdrawal", "differencing over merges", "differencing over totals", "small cells",
    "homogeneity", "membership", "membership, by hours", "value change", "reconstruction of 60 volunteers, 26 weeks",
    "reconstruction of 60 volunteers, 180 days",
}  # fmt: skip


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_every_attack_is_held_off_and_catches_its_broken_engines(capsys: pytest.CaptureFixture[str]):
    assert run(parsed("--json")) == 0
    verdicts = json.loads(capsys.readouterr().out)
    assert {verdict["attack"] for verdict in verdicts} >= WANTED
    assert all(set(v) == {"attack", "measured", "limit", "passed", "mutant", "mutant_caught"} for v in verdicts)
    assert all(verdict["passed"] and verdict["mutant_caught"] for verdict in verdicts)


@pytest.mark.parametrize(("measured", "broken"), [(2.0, 3.0), (0.5, 0.5)])
def test_a_broken_engine_or_a_blind_attack_fails_the_command(
    measured: float, broken: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    verdict = judge("an attack", measured=measured, limit=1, mutants={"broken": broken})
    monkeypatch.setattr(app, "attack_all", lambda **_: iter([verdict]))
    assert run(parsed()) == 1
    assert ("BROKEN" in (out := capsys.readouterr().out)) != ("NOT CAUGHT" in out)


@pytest.mark.parametrize("words", [("--runs", "10"), ("--url", "example.org")])
def test_a_useless_option_says_what_to_do(words: tuple[str, ...]):
    with pytest.raises(UsageFault, match=words[0]):
        run(parsed(*words))


def test_the_limits_are_those_of_the_theory():
    assert advantage((2 * 0.2) ** 0.5) == pytest.approx(0.2482, abs=1e-4)
    assert slack(0.2482, 250_000) == 0.005
    # The advantage that (ε, δ) allows is far above that of the Gaussian itself.
    assert advantage((2 * 0.2) ** 0.5) < 1 - 2 / (1 + 2.718281828 ** epsilon(0.2))


def test_ten_people_are_published_less_than_once_in_a_hundred_thousand():
    for cadence in Cadence:
        assert chance_published(noise(cadence), 10) < 1e-5
        assert chance_published(noise(cadence), 200) == pytest.approx(1)


def test_a_verdict_needs_all_of_its_broken_engines_caught():
    assert not judge("x", measured=0, limit=1, mutants={"a": 2, "b": 0.5}).mutant_caught
    assert isinstance(judge("x", measured=0, limit=1, mutants={"a": 2}), Verdict)


def test_the_short_form_has_no_need_of_a_running_api():
    assert next(iter(attack_all())).attack == "averaging"
