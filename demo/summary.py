"""What a demonstration did, counted: each minute is stored or dropped with a reason, and the sums must match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from contracts.release import Budget, Cell


class Minutes(msgspec.Struct, frozen=True, kw_only=True):
    """Minutes of wear: recorded by the bands, stored, or dropped on the way with a reason."""

    recorded: int
    stored: int
    dropped: dict[str, int]

    @property
    def unaccounted(self) -> int:
        """Minutes of which nobody knows where they went; anything but 0 is a fault of ours."""
        return self.recorded - self.stored - sum(self.dropped.values())


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """Readings as messages: acknowledged by the broker, stored by ingest, or rejected by it with a reason."""

    sent: int
    stored: int
    rejected: dict[str, int]

    @property
    def unaccounted(self) -> int:
        """Readings that the broker acknowledged and that were neither stored nor rejected."""
        return self.sent - self.stored - sum(self.rejected.values())


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The one JSON object of `wijkpols demo --once --json`."""

    bands: int
    minutes: Minutes
    readings: Readings
    releases: list[dict[str, Any]]
    suppressed: list[dict[str, Any]]
    budget: dict[str, float]
    seconds: float

    @property
    def fault(self) -> str | None:
        """Why this demonstration failed, or None."""
        if self.minutes.unaccounted:
            return f"{self.minutes.unaccounted} of {self.minutes.recorded} minutes are unaccounted for"
        if self.readings.unaccounted:
            return f"{self.readings.unaccounted} of {self.readings.sent} readings are unaccounted for"
        if not self.releases and not self.suppressed:
            return "no window was complete, so nothing was released: play more days (--days 14)"
        return None


def summarise(
    *, bands: int, minutes: Minutes, readings: Readings, cells: Iterable[Cell], budget: Budget, seconds: float
) -> Summary:
    """Put the counts and the released cells together."""
    found = list(cells)
    return Summary(
        bands=bands,
        minutes=minutes,
        readings=readings,
        releases=[
            {
                "district": c.area,
                "metric": c.metric,
                "window": c.window,
                "value": round(c.value, 1),
                "margin": round(c.margin, 1),
            }
            for c in found
            if c.value is not None and c.margin is not None
        ],
        suppressed=[
            {"district": c.area, "metric": c.metric, "window": c.window, "reason": c.reason}
            for c in found
            if c.value is None
        ],
        budget={"rho_spent": round(budget.rho_spent, 6), "rho_cap": budget.rho_cap},
        seconds=round(seconds, 1),
    )


def add_counts(*counts: Mapping[str, int]) -> dict[str, int]:
    """The sum of counters by reason, without the zeros, in order of name."""
    total: dict[str, int] = {}
    for counter in counts:
        for reason, n in counter.items():
            total[reason] = total.get(reason, 0) + n
    return {reason: total[reason] for reason in sorted(total) if total[reason]}


def in_words(summary: Summary) -> str:
    """The summary for a terminal."""
    m, r = summary.minutes, summary.readings
    lines = [
        f"bands       {summary.bands}",
        f"minutes     {m.recorded} recorded = {m.stored} stored{_reasons(m.dropped, 'dropped')}",
        f"readings    {r.sent} sent = {r.stored} stored{_reasons(r.rejected, 'rejected')}",
        f"released    {len(summary.releases)} cells, {len(summary.suppressed)} withheld (too few participants)",
        f"budget      rho {summary.budget['rho_spent']:.2f} spent of {summary.budget['rho_cap']:.2f} in 30 days",
        f"took        {summary.seconds:.0f} s",
    ]
    return "\n".join(lines)


def _reasons(counts: Mapping[str, int], word: str) -> str:
    return "".join(f" + {n} {word} ({reason})" for reason, n in counts.items()) or f" + 0 {word}"
