"""The small form of `make soak-gateway`: two hours of two hundred bands, and all that goes wrong in a day."""

from __future__ import annotations

from pathlib import Path

from contracts.broker_url import BrokerAddress
from tests.fieldkit.liars import LIES
from tests.servers import Broker
from tests.soak.field import play


def test_every_record_of_two_hundred_bands_arrives_exactly_once_whatever_goes_wrong(broker: Broker, tmp_path: Path):
    address = BrokerAddress(broker.host, broker.port)
    outcome = play(tmp_path, address, name="field", bands=200, slots=5, hours=2, seed=1, liars=len(LIES))
    assert outcome.exact, outcome
    assert outcome.expected > 23_000
    assert outcome.compared > 500
    assert outcome.fair, outcome
    assert outcome.grown_bytes < 16 << 20
    assert all(outcome.faults.get(name, 0) > 0 for name in ("link", "address", "reboot", "radio", "gateway")), outcome
    assert outcome.turns["faulty"] > 0
