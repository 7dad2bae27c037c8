"""docs/reference/gateway.md names every setting and every reason that the code can give."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts import wire
from gateway import bonds, consent_gate, drain, epochs, gatt_codec, memory, minutes, session, uplink
from gateway.rotation import Ended
from gateway.settings import GatewaySettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "gateway.md").read_text()


@pytest.mark.parametrize(
    "name",
    [
        *(f"WIJKPOLS_{name.upper()}" for name in GatewaySettings.model_fields),
        *wire.GatewayStatus.__struct_fields__[1:],
        *gatt_codec.REASONS,
        *(epochs.NOT_WORN, epochs.NO_DATA, epochs.TOO_LITTLE, epochs.OUT_OF_RANGE),
        *(minutes.NOT_HEARD, minutes.CLOCK, minutes.WITHDRAWN, minutes.LATE, minutes.RATE, minutes.TOO_MANY),
        *(consent_gate.CONSENT_MISSING, consent_gate.CONSENT_CATEGORY, consent_gate.BEFORE_CONSENT),
        *(uplink.OUTBOX_FULL, uplink.OUTBOX_WITHDRAWN, uplink.OUTBOX_EXPIRED, uplink.OUTBOX_FAILED),
        *("no-beat-timing", "beats-differ", session.INTERNAL),
        *(how.name.lower().replace("_", "-") for how in Ended),
        *(bonds.LOST, bonds.MISSING, bonds.OTHER, bonds.FAILED),
        *(memory.ORDER, memory.RANGE, drain.COUNT, drain.UNASKED, drain.KEPT),
    ],
)
def test_the_page_names_it(name: str):
    assert f"`{name}`" in PAGE
