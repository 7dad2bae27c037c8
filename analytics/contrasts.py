"""How districts differ in self-reports, when the same people answer often and not everywhere.

Two facts make the plain mean per district mislead: one volunteer's answers are alike, so that a hundred answers of five
people are not a hundred pieces of evidence; and who is in a district is not by chance. So: errors by clusters, and
differences within persons, drawn towards "no difference". All of it works on sums per person, which add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Shrinkages tried, in answers: a district's difference is halved when it rests on about so many.
SHRINKAGES: Final = (3.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, 300.0, 1000.0, 100_000.0)


class Answers(NamedTuple):
    """Answers to one question: arrays of one length."""

    person: Ints
    district: Ints  # 0 … districts − 1
    value: Floats  # points


class Personal(NamedTuple):
    """One person's answers to one question as sums, centred on the person's own mean."""

    gram: Floats  # [districts, districts] of the centred indicators
    moment: Floats  # [districts] of the centred indicators with the centred values
    variation: float  # sum of the squared centred values
    answers: Floats  # [districts] how many
    total: Floats  # [districts] sum of the values


class Mean(NamedTuple):
    """A district's mean with its standard error, as if answers were independent, and by persons."""

    value: float
    naive_error: float
    clustered_error: float
    answers: int
    people: int


def mean_of(answers: Answers, district: int) -> Mean:
    """A district's mean. Clustered error: the sandwich over persons with G/(G − 1) (Liang & Zeger 1986; CR1).

    Raises ValueError with fewer than two persons: their spread cannot be told from one.
    """
    rows = answers.district == district
    value, person = answers.value[rows], answers.person[rows]
    people, place = np.unique(person, return_inverse=True)
    if len(people) < 2:
        raise ValueError("a clustered error needs answers of two persons or more")
    deviation = value - value.mean()
    by_person = np.bincount(place, deviation)
    g, n = len(people), len(value)
    clustered = np.sqrt(g / (g - 1) * (by_person**2).sum()) / n
    return Mean(float(value.mean()), float(value.std(ddof=1) / np.sqrt(n)), float(clustered), n, g)


def personal(answers: Answers, *, districts: int) -> dict[int, Personal]:
    """Person -> sums."""
    found = {}
    for person in np.unique(answers.person).tolist():
        rows = answers.person == person
        indicator = np.eye(districts)[answers.district[rows]]
        value = answers.value[rows]
        centred, own = indicator - indicator.mean(axis=0), value - value.mean()
        found[person] = Personal(
            centred.T @ centred, centred.T @ own, float(own @ own), indicator.sum(axis=0), indicator.T @ value
        )
    return found


def person_centred(people: Sequence[Personal], shrinkage: float) -> Floats:
    """Districts' differences out of each person's own, by ridge regression. [districts], around 0.

    The same as normal random effects of districts with variance σ²/shrinkage, σ² that of an answer. `shrinkage` > 0.
    """
    gram = np.sum([p.gram for p in people], axis=0)
    return np.linalg.solve(gram + shrinkage * np.eye(len(gram)), np.sum([p.moment for p in people], axis=0))


def pooled(people: Sequence[Personal]) -> Floats:
    """Districts' plain means less the mean of all answers, whoever gave them; 0 where there are none, [districts]."""
    count, total = np.sum([p.answers for p in people], axis=0), np.sum([p.total for p in people], axis=0)
    return np.where(count > 0, total / np.maximum(count, 1) - total.sum() / count.sum(), 0.0)


def explained(people: Sequence[Personal], differences: Floats) -> float:
    """Share of these people's variation within themselves that the differences predict; 0 is "no difference".

    Below 0 when predicting a difference is worse than predicting none.
    """
    return saved(people, differences) / sum(p.variation for p in people)


def saved(people: Sequence[Personal], differences: Floats) -> float:
    """How much less squared error than with no difference, in points²: below 0 when it is more."""
    return sum(float(2 * differences @ p.moment - differences @ p.gram @ differences) for p in people)


def chosen_shrinkage(questions: Sequence[Sequence[Personal]]) -> float:
    """The shrinkage, one for all questions, that predicts each left-out person best out of the others.

    `questions`: for each question the sums of the same persons, in one order.
    """

    def score(shrinkage: float) -> float:
        total = 0.0
        for people in questions:
            variation = sum(p.variation for p in people)
            for i, left in enumerate(people):
                differences = person_centred([p for j, p in enumerate(people) if j != i], shrinkage)
                total += saved([left], differences) / variation
        return total

    return max(SHRINKAGES, key=score)
