"""What the API needs of the analytics: the released figures, and what they cost. Never a reading."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from contracts.release import Area, Budget, Cell, Metric, ProfileBlock, ReasonCount


class Charge(Protocol):
    """What one release of an area and window cost each volunteer in it."""

    @property
    def area(self) -> str:
        """The area's code."""

    @property
    def window(self) -> str:
        """The window's name."""

    @property
    def rho(self) -> float:
        """The loss (zero-concentrated differential privacy)."""


class ReleaseSource(Protocol):
    """The release log, to read."""

    def cells(
        self,
        *,
        districts: Collection[str] | None = None,
        metrics: Collection[Metric] | None = None,
        start: int | None = None,
        end: int | None = None,
        derived: bool = True,
    ) -> list[Cell]:
        """The cells of windows that begin in [start, end), unix seconds. An absent filter keeps everything.

        `derived` adds the figures that are computed out of the measured ones.
        """

    def reasons(
        self, *, districts: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[ReasonCount]:
        """The reasons of weeks that begin in [start, end), unix seconds."""

    def profiles(
        self, *, districts: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[ProfileBlock]:
        """The profiles of weeks that begin in [start, end), unix seconds."""

    def totals(self, *, start: int | None = None, end: int | None = None) -> list[Cell]:
        """The city's figures of weeks that begin in [start, end), unix seconds."""

    def budget(self, now: float) -> Budget:
        """What was spent in the days before `now` (unix seconds), and the cap."""

    def ledger(self) -> Sequence[Charge]:
        """All charges, in the order in which they were made."""

    def plan(self) -> tuple[Area, ...]:
        """The public release plan in force."""
