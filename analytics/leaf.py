"""What was drawn of an area and window, kept for the totals."""

from __future__ import annotations

from typing import Literal

import msgspec

from contracts.release import Cadence


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one draw. With the noise in them they are as private as what is shown; nothing shows them bare."""

    area: str
    districts: tuple[str, ...]
    cadence: Cadence
    window: str
    start: int
    end: int
    method: str
    status: Literal["published", "withheld"]
    participants: int
    safe: int  # centred centi-points, as in `mechanism.Draw`
    calm: int
    happy: int
