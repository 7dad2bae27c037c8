"""The demonstration's bands on the air, and its gateway: the same folder may see them more than once."""

from __future__ import annotations

import time
from pathlib import Path

from gateway_parts import DISTRICT, KEY, eventually, town_of, wearer

from contracts.broker_url import BrokerAddress
from demo.radio import GATEWAY, Radio, RadioPlan
from tests.servers import Broker

MINUTES = 3


def plan() -> RadioPlan:
    """Two bands, an hour ago: what is older than 35 days would not be sent."""
    start = int(time.time()) // 60 * 60 - 3600
    words = ["--synthetic", "2", "--start", str(start), "--district", DISTRICT, "--minutes", str(MINUTES)]
    return RadioPlan(district=DISTRICT, words=words, bands=2, speed=240.0, seconds=MINUTES * 60 / 240)


def test_bands_that_go_on_the_air_again_are_read_again(broker: Broker, tmp_path: Path):
    both = {wearer(number)[1] for number in (1, 2)}
    with town_of(BrokerAddress(broker.host, broker.port), GATEWAY) as town:
        for number in (1, 2):
            town.give(*wearer(number))
        for _start in range(2):
            town.readings.clear()
            with Radio(plan(), broker_url=broker.url, band_key=KEY.hex(), folder=tmp_path, logs=tmp_path) as radio:
                radio.wait_until_done()
            eventually(lambda: {reading.pseudonym for reading in town.readings} == both, what="a minute of each band")
