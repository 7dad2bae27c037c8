"""Who lives in the demonstration: a fixed spread of invented volunteers over the districts, and what they choose.

Only the physiology and the answers are simulated. Enrolment, consent, transport, storage and release are the real
ones.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from contracts.consent import Purpose
from contracts.district import District
from contracts.reading import Category

#: Share of the volunteers per district, by its place in the list: the third releases daily, four weekly, and five are
#: merged with neighbours.
_SHARES: Final = (42, 6, 100, 42, 42, 6, 5, 46, 6, 5)
#: In the fourth district most bands lie in a drawer: many enrolled, few took part, and the cells are withheld.
_DRAWER_PLACE: Final = 3
_DRAWER_SHARE: Final = 0.65
VOLUNTEERS_DEFAULT: Final = sum(_SHARES)


class Volunteer(msgspec.Struct, frozen=True, kw_only=True):
    """One invented volunteer with a band, the district lived in and the choices made."""

    number: int  # of the simulated person, from 1
    serial: str
    district: str
    choices: Mapping[Purpose, Sequence[Category]]
    wears: bool = True  # or the band lies in a drawer


def spread(volunteers: int, districts: Sequence[District]) -> dict[str, int]:
    """How many volunteers live where: the shares above, scaled; districts beyond the tenth get the smallest share."""
    codes = [d.code for d in sorted(districts, key=lambda d: d.code)]
    shares = [_SHARES[i] if i < len(_SHARES) else min(_SHARES) for i in range(len(codes))]
    exact = [volunteers * share / sum(shares) for share in shares]
    counts = [int(x) for x in exact]
    by_remainder = sorted(range(len(codes)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: volunteers - sum(counts)]:
        counts[i] += 1
    return dict(zip(codes, counts, strict=True))


def population(counts: Mapping[str, int], *, seed: int) -> list[Volunteer]:
    """The volunteers of a city, numbered from 1, with the choices that a seeded throw gives each."""
    dice = random.Random(seed)  # noqa: S311  choices of invented people, no secret
    found: list[Volunteer] = []
    for place, (district, count) in enumerate(counts.items()):
        for _ in range(count):
            number = 1 + len(found)
            choices, drawer = _choices(dice.random()), dice.random() < _DRAWER_SHARE
            found.append(
                Volunteer(
                    number=number,
                    serial=serial(number),
                    district=district,
                    choices=choices,
                    wears=not (drawer and place == _DRAWER_PLACE),
                )
            )
    return found


def serial(number: int) -> str:
    """The serial of the simulated band with this number (docs/reference/band-profile.md)."""
    return f"WP-{number:06d}"


def everything() -> dict[Purpose, Sequence[Category]]:
    """Yes to the district index, with every category; no to research."""
    return {Purpose.DISTRICT_INDEX: tuple(Category)}


def _choices(throw: float) -> dict[Purpose, Sequence[Category]]:
    """Of a hundred volunteers 84 say yes to all, 6 keep their skin, 5 their motion and 5 everything to themselves."""
    if throw < 0.84:
        return everything()
    if throw < 0.90:
        return {Purpose.DISTRICT_INDEX: (Category.HEART, Category.MOTION, Category.SELF_REPORT)}
    if throw < 0.95:
        return {Purpose.DISTRICT_INDEX: (Category.HEART, Category.SKIN, Category.SELF_REPORT)}
    return {}
