"""What leaves analytics: a cell per area, metric and window, published or withheld, and what it cost."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import msgspec

from contracts.reading import Reason

#: Changes when a formula or a bound changes; part of the key of every cell.
METHOD_VERSION: Final = "3"

Metric = Literal["safe", "calm", "happy", "safety", "happiness", "wellbeing"]
#: Measured under differential privacy, and derived from those at no further cost.
MEASURED: Final[tuple[Metric, ...]] = ("safe", "calm", "happy")
DERIVED: Final[tuple[Metric, ...]] = ("safety", "happiness", "wellbeing")
#: The one reason for which a cell is withheld, whether 0, 1 or 20 people took part.
WITHHELD_REASON: Final = "too-few-participants"


class Cadence(StrEnum):
    """How often an area releases. A volunteer counts in one cadence alone: that of the district of enrolment."""

    DAILY = "daily"
    WEEKLY = "weekly"


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the public release plan: a district, or a fixed merge of neighbours."""

    code: str  # the district's code; of a merge the codes joined by '+'
    districts: tuple[str, ...]
    cadence: Cadence


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A local day ('2026-11-21') or ISO week ('2026-W47'), [start, end) in unix seconds."""

    name: str
    cadence: Cadence
    start: int
    end: int


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One published or withheld figure. A withheld cell has one shape: no value, no margin, one reason."""

    area: str
    districts: tuple[str, ...]
    metric: Metric
    window: str
    start: int
    end: int
    method: str
    status: Literal["published", "withheld"]
    value: float | None = None  # 0-100
    margin: float | None = None  # half width of the 95 % interval, self-selection left out
    participants: float | None = None  # the noisy count; only with a published value
    reason: str | None = None


class ReasonCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many volunteers of an area gave one reason in a week; each counts once. Withheld when too few did."""

    area: str
    districts: tuple[str, ...]
    reason: Reason
    window: str
    start: int
    end: int
    method: str
    status: Literal["published", "withheld"]
    people: float | None = None  # the noisy count
    margin: float | None = None  # half width of the 95 % interval of the noise


class ProfileBlock(msgspec.Struct, frozen=True, kw_only=True):
    """Three hours of the day in an area's week: how much calmer (or less) people were then than over their whole day.

    All blocks of an area and week are published, or all are withheld in one shape.
    """

    area: str
    districts: tuple[str, ...]
    from_hour: int  # local time
    to_hour: int
    window: str
    start: int
    end: int
    method: str
    status: Literal["published", "withheld"]
    value: float | None = None  # points above the same people's mean over the blocks, -10 to 10
    margin: float | None = None  # half width of the 95 % interval, self-selection left out
    participants: float | None = None  # the noisy count
    reason: str | None = None


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What the releases cost a volunteer at most (zero-concentrated differential privacy, ρ)."""

    rho_spent: float  # the most that any volunteer lost in any 30 days
    rho_cap: float
    days: int = 30
