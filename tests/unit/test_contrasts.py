"""Differences of districts in self-reports: errors by persons, and differences within them."""

from __future__ import annotations

import numpy as np
import pytest

from analytics.contrasts import (
    Answers,
    chosen_shrinkage,
    explained,
    mean_of,
    person_centred,
    personal,
    pooled,
)


def town(seed: int, *, difference: float, people: int = 16, sorted_by_mood: bool = False) -> Answers:
    """Ten to forty answers a person in two districts; with `sorted_by_mood` the happy are mostly in the second."""
    random = np.random.default_rng(seed)
    person, district, value = [], [], []
    for i in range(people):
        mood = random.normal(0, 10)
        n = int(random.integers(10, 40))
        where = random.random(n) < ((0.9 if mood > 0 else 0.1) if sorted_by_mood else 0.5)
        person += [i] * n
        district += where.astype(int).tolist()
        value += (60 + mood + difference * where + random.normal(0, 10, n)).tolist()
    return Answers(np.array(person), np.array(district), np.array(value))


def test_the_naive_error_is_that_of_a_mean():
    answers = town(1, difference=0)
    rows = answers.value[answers.district == 0]
    assert mean_of(answers, 0).naive_error == pytest.approx(rows.std(ddof=1) / np.sqrt(len(rows)))


def test_the_clustered_error_is_right_where_the_naive_one_is_too_small():
    means, naive, clustered = zip(*(mean_of(town(seed, difference=0), 0)[:3] for seed in range(300)), strict=True)
    assert np.mean(clustered) == pytest.approx(np.std(means), rel=0.15)
    assert np.mean(naive) < 0.5 * np.std(means)


def test_a_single_person_has_no_clustered_error():
    with pytest.raises(ValueError, match="two persons"):
        mean_of(Answers(np.zeros(5, int), np.zeros(5, int), np.arange(5.0)), 0)


def test_differences_within_persons_are_those_of_dummy_regression():
    answers = town(2, difference=5)
    people = list(personal(answers, districts=2).values())
    dummies = np.eye(16)[answers.person]
    design = np.column_stack([dummies, answers.district])
    slope = np.linalg.lstsq(design, answers.value, rcond=None)[0][-1]
    low, high = person_centred(people, 1e-9)
    assert high - low == pytest.approx(slope, abs=1e-6)


def test_who_is_where_does_not_pass_for_a_difference():
    answers = town(3, difference=0, people=40, sorted_by_mood=True)
    people = list(personal(answers, districts=2).values())
    assert np.diff(pooled(people))[0] > 8
    assert abs(np.diff(person_centred(people, 1e-6))[0]) < 2.5


def test_shrinkage_draws_to_no_difference():
    people = list(personal(town(4, difference=8), districts=2).values())
    sizes = [np.ptp(person_centred(people, shrinkage)) for shrinkage in (1e-6, 30, 1000, 1e9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-3


@pytest.mark.parametrize(("difference", "low", "high"), [(0.0, 100.0, 1e6), (30.0, 0.0, 30.0)])
def test_the_shrinkage_follows_what_the_answers_say(difference: float, low: float, high: float):
    people = list(personal(town(6, difference=difference), districts=2).values())
    assert low <= chosen_shrinkage([people]) <= high


def test_no_difference_explains_nothing_and_the_truth_something():
    people = list(personal(town(7, difference=10), districts=2).values())
    assert explained(people, np.zeros(2)) == 0
    assert explained(people, np.array([0.0, 10.0])) > 0.1
    assert explained(people, np.array([0.0, -10.0])) < 0


def test_sums_predict_the_error_of_the_answers_themselves():
    answers = town(8, difference=4, people=1)
    own = personal(answers, districts=2)[0]
    guess = np.array([1.0, 3.0])
    centred = guess[answers.district] - guess[answers.district].mean()
    left = answers.value - answers.value.mean()
    assert explained([own], guess) == pytest.approx(1 - ((left - centred) ** 2).sum() / (left**2).sum())
