"""The mechanism is what it says: sensitivity, noise scale, budget, threshold; one shape for what is withheld."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.mechanism import BOUNDS, CENTRES, REACH, Draw, clamped_sum, draw, epsilon, measurement, noise
from analytics.release import cells_of, margin_of, value_of
from analytics.windows import day_window
from contracts.release import WITHHELD_REASON, Cadence
from tests.analytics_parts.city import AREAS, MONDAY

DRAWS = 4000
SCORES = st.lists(st.tuples(*[st.integers(-(10**6), 10**6)] * 3), max_size=8)


def records(rows: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, 3)


@given(SCORES, st.tuples(*[st.integers(-(10**6), 10**6)] * 3), st.integers(0, 8))
def test_one_person_moves_each_sum_by_the_reach_at_most(rows: list, person: tuple, at: int):
    with_person = [*rows[:at], person, *rows[at:]]
    for metric in range(3):
        total = clamped_sum(metric)
        assert abs(total(records(with_person)) - total(records(rows))) <= REACH


@given(SCORES)
def test_scores_are_centred_and_clamped_to_the_public_bounds(rows: list):
    for metric in range(3):
        expected = sum(min(max(row[metric], -REACH), REACH) for row in rows)
        assert clamped_sum(metric)(records(rows)) == expected


@pytest.mark.parametrize("cadence", Cadence)
def test_the_composition_spends_its_budget_and_no_more(cadence: Cadence):
    spent = measurement(cadence).map(1)
    assert noise(cadence).rho * (1 - 1e-9) <= spent <= noise(cadence).rho
    assert measurement(cadence).map(2) > 3.9 * noise(cadence).rho  # two records of one person would cost four times


def scale_is(sample: np.ndarray, sigma: float) -> bool:
    """Whether a sample of Gaussian noise has this scale: its variance within six of its own standard errors."""
    return abs(sample.var() / sigma**2 - 1) < 6 * math.sqrt(2 / len(sample))


@pytest.mark.parametrize("cadence", Cadence)
def test_the_noise_has_its_scale_and_not_one_30_percent_off(cadence: Cadence):
    people = records([(BOUNDS["safe"].low, BOUNDS["calm"].centre, BOUNDS["happy"].high)] * 50)
    drawn = [draw(people, cadence) for _ in range(DRAWS)]
    samples = np.array([(d.participants, *d.sums) for d in drawn], float)
    for column, exact, sigma in zip(
        samples.T, (50, -50 * REACH, 0, 50 * REACH), (noise(cadence).sigma_count,) + (noise(cadence).sigma_sum,) * 3,
        strict=True,
    ):  # fmt: skip
        assert abs(column.mean() - exact) < 6 * sigma / math.sqrt(DRAWS)
        assert scale_is(column, sigma)
        assert not scale_is(column, 1.3 * sigma)
        assert not scale_is(column, 0.7 * sigma)


def test_the_parts_noise_is_independent():
    drawn = [draw(records([]), Cadence.WEEKLY) for _ in range(DRAWS)]
    correlation = np.corrcoef(np.array([(d.participants, *d.sums) for d in drawn], float).T)
    assert np.abs(correlation - np.eye(4)).max() < 6 / math.sqrt(DRAWS)


def test_noise_is_never_repeated():
    people = records([(7000, 7000, 7000)] * 50)
    assert len({draw(people, Cadence.DAILY) for _ in range(20)}) == 20


@pytest.mark.parametrize("scores", [np.zeros((3, 3)), np.zeros(3, np.int64), np.zeros((3, 2), np.int64)])
def test_anything_but_whole_centipoints_is_refused(scores: np.ndarray):
    with pytest.raises(TypeError):
        draw(scores, Cadence.DAILY)


def test_the_constants_are_those_of_the_method():
    weekly, daily = noise(Cadence.WEEKLY), noise(Cadence.DAILY)
    assert weekly.threshold == pytest.approx(24.4, abs=0.05)
    assert daily.threshold == pytest.approx(44.0, abs=0.05)
    assert (weekly.rho, daily.rho) == (0.2, 0.036)
    assert epsilon(0.2) == pytest.approx(3.13, abs=0.005)
    assert epsilon(0.036) == pytest.approx(1.23, abs=0.006)
    assert epsilon(1.5) == pytest.approx(9.85, abs=0.005)


@pytest.mark.parametrize("exact", [0, 1, 10, 20])
def test_what_is_withheld_has_one_shape(exact: int):
    shapes = {
        (cell.status, cell.value, cell.margin, cell.participants, cell.reason)
        for _ in range(200)
        for cell in cells_of(
            draw(records([(7000, 5000, 8000)] * exact), Cadence.DAILY),
            noise(Cadence.DAILY),
            area=AREAS[0],
            window=day_window(MONDAY),
        )
    }
    # 20 lie 3.4 σ below the threshold: a rare figure may be published, and looks like any other.
    assert {shape for shape in shapes if shape[0] == "withheld"} == {("withheld", None, None, None, WITHHELD_REASON)}
    if exact <= 10:
        assert len(shapes) == 1


def test_the_noisy_count_alone_decides():
    constants = noise(Cadence.WEEKLY)

    def statuses(participants: int) -> set[str]:
        drawn = Draw(participants, (0, 0, 0))
        return {c.status for c in cells_of(drawn, constants, area=AREAS[1], window=day_window(MONDAY))}

    assert statuses(math.ceil(constants.threshold)) == {"published"}
    assert statuses(math.floor(constants.threshold)) == {"withheld"}
    assert statuses(-40) == {"withheld"}


@given(st.integers(-(10**9), 10**9), st.integers(-100, 10**6))
def test_a_value_stays_within_the_public_bounds(total: int, count: int):
    for metric, bounds in BOUNDS.items():
        assert bounds.low / 100 <= value_of(total, count, metric) <= bounds.high / 100


def test_each_metric_has_its_own_centre():
    assert CENTRES.tolist() == [6500, 5500, 6500]
    assert [value_of(0, 100, metric) for metric in BOUNDS] == [65, 55, 65]


@pytest.mark.parametrize(
    ("value", "n", "margin"), [(55.0, 30, 9.19), (75.0, 30, 9.92), (75.0, 100, 3.86), (75.0, 0, 253)]
)
def test_the_margin_holds_the_noise_of_sum_and_count_and_the_spread_of_people(value: float, n: int, margin: float):
    assert margin_of(value, n, noise(Cadence.WEEKLY), "calm") == pytest.approx(margin, rel=0.005)


def test_the_margin_covers_the_truth_at_its_rate():
    random = np.random.default_rng(5)
    constants = noise(Cadence.WEEKLY)
    truth, inside, shown = 72.0, 0, 0
    for _ in range(1500):
        people = np.rint(100 * np.clip(random.normal(truth, 15, (60, 1)), 0, 100)).astype(np.int64) * np.ones(3, int)
        drawn = draw(people.astype(np.int64), Cadence.WEEKLY)
        if drawn.participants < constants.threshold:
            continue
        shown += 1
        value = value_of(drawn.sums[0], drawn.participants, "safe")
        inside += abs(value - truth) <= margin_of(value, drawn.participants, constants, "safe")
    assert shown > 1400
    assert inside / shown > 0.93
