"""From a figure to its formula, its code and its evidence: what the page "how good is this figure" shows.

The numbers are those of `docs/explanation/method.md`, printed by the commands that stand beside them; a test holds them
against that page, and another against the recordings.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple


class Told(NamedTuple):
    """How well stress is told from something else: area under the ROC curve, the middle of 17 people and quartiles."""

    name: str  # of its words
    middle: float
    quarter: float
    three_quarters: float


#: `wijkpols evaluate` on Stress-Predict. .5 is tossing a coin, 1 is always right.
TOLD: Final = (
    Told("rest", 0.881, 0.83, 0.91),
    Told("later", 0.872, 0.84, 0.91),
    Told("placebo", 0.460, 0.25, 0.57),
)
PEOPLE: Final = 17
#: The parts of the page, each with the modules that compute it and the commands that print its evidence.
CODE: Final[dict[str, tuple[str, ...]]] = {
    "safe": ("records", "figures"),
    "happy": ("records", "figures"),
    "calm": ("rises", "baseline", "scores"),
    "safety": ("derived",),
    "wellbeing": ("derived",),
    "margin": ("figures", "mechanism", "budget"),
    "reasons": ("reasons", "mechanism"),
    "hours": ("profile", "mechanism"),
    "city": ("totals",),
    "after": ("after", "signals"),
}
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "safe": ("python bench/clip.py", "python bench/selfreport.py"),
    "happy": ("python bench/clip.py",),
    "calm": ("wijkpols evaluate DIR", "python bench/calm.py", "wijkpols simulate DIR"),
    "margin": ("wijkpols attack", "wijkpols analytics budget"),
    "city": ("wijkpols attack",),
    "after": ("wijkpols simulate DIR",),
}
_MODULES: Final = frozenset(name for names in CODE.values() for name in names)


@cache
def code_of(module: str) -> str | None:
    """The text of a module of analytics as it runs here; None for any but those of CODE."""
    if module not in _MODULES:
        return None
    found = find_spec(f"analytics.{module}")
    return None if found is None or found.origin is None else Path(found.origin).read_text(encoding="utf-8")
