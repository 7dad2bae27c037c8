"""The whole way of a withdrawal, with any one part killed right after the button was pressed, while readings come.

`make bench-withdrawal` is the large form, with the distribution.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from contracts.ports import Holdings
from tests.ingestkit.gateways import eventually
from tests.withdrawals.city import City

PARTS = ("none", "ingest", "mosquitto", "influxd", "api", "postgres")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with City(tmp_path_factory.mktemp("city"), people=40) as started:
        started.load(400)
        eventually(lambda: started.stored() > 1_000, seconds=60)
        yield started


def test_it_takes_effect_whatever_is_killed(city: City):
    pairs = dict(zip(PARTS, zip(city.volunteers[::2], city.volunteers[1::2], strict=True), strict=False))
    for part, (leaving, erased) in pairs.items():
        city.press(leaving, erase=False)
        city.press(erased, erase=True)
        if part != "none":
            city.kill_and_start(part, away_s=1.0)
    wanted = {erased.pseudonym for _, erased in pairs.values()}
    eventually(lambda: wanted <= set(city.erased()), seconds=60)
    left = [leaving.pseudonym for leaving, _ in pairs.values()]
    before, total = city.rows(left), city.stored()
    eventually(lambda: city.stored() > total + 500, seconds=60)  # the gateways still send, and others are stored
    assert city.rows(left) == before
    assert min(before.values()) > 0
    for _, erased in pairs.values():
        assert city.left(erased.pseudonym) == Holdings(0, 0)


def test_it_is_measured_from_the_button_to_the_end(city: City):
    leaving, erased = city.volunteers[-2:]
    for person, erase in ((leaving, False), (erased, True)):
        city.press(person, erase=erase)
    eventually(lambda: erased.pseudonym in city.erased(), seconds=60)
    time.sleep(1.0)  # to look at the store a few times
    found = {one.pseudonym: one for one in city.outcomes()}
    for person in (leaving, erased):
        one = found[person.pseudonym]
        assert one.heard_s is not None
        assert 0 < one.heard_s < 60
        assert 0 < one.last_stored_s < 60
    assert found[leaving.pseudonym].erased_s is None
    assert 0 < found[erased.pseudonym].erased_s < 60


def test_it_is_measured_from_the_bands_button_too(city: City):
    wearing = city.volunteers[len(PARTS) * 2]
    city.wear([wearing])
    city.hold(wearing)
    eventually(lambda: city.outcomes()[-1].ledger_s is not None, seconds=60)
    time.sleep(1.0)  # to look at the store a few times
    one = city.outcomes()[-1]
    assert (one.pseudonym, one.answered_s, one.erased_s) == (wearing.pseudonym, None, None)
    assert 0 < one.ledger_s < 60
    assert 0 < one.heard_s < 60
    assert 0 < one.last_stored_s < 60
