"""Guessing is slowed down, memory stays bounded, and nobody is held up by somebody else's tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.throttle import CODE_SPAN_S, PAUSE_S, PER_CLIENT, PER_CODE, Guard, Throttle, Try, network_of

YEAR_S = 365.25 * 86_400


def test_a_key_waits_after_so_many_failures_and_starts_anew_after_the_pause() -> None:
    throttle = Throttle(failures_max=3, pause_s=100)
    for second in range(2):
        throttle.failed("a", second)
    assert throttle.pause("a", 2) == 0
    throttle.failed("a", 2)
    assert throttle.pause("a", 2) == 100
    assert throttle.pause("a", 101.5) == 1
    assert throttle.pause("a", 102) == 0
    throttle.failed("a", 103)
    assert throttle.pause("a", 103) == 0


def test_each_failure_after_a_pause_doubles_the_next_one_up_to_the_span() -> None:
    throttle, now, pauses = Throttle(failures_max=2, pause_s=100, span_s=1000), 0.0, []
    throttle.failed("a", now)
    for _ in range(5):
        throttle.failed("a", now)
        pauses.append(throttle.pause("a", now))
        now += pauses[-1]
    assert pauses == [100, 200, 400, 800, 0]  # the span was over before the last one


def test_old_failures_are_forgotten_and_a_success_clears_them() -> None:
    throttle = Throttle(failures_max=2, pause_s=100)
    throttle.failed("a", 0)
    throttle.failed("a", 101)
    assert throttle.pause("a", 101) == 0
    throttle.succeeded("a")
    throttle.failed("a", 102)
    assert throttle.pause("a", 102) == 0


@given(st.lists(st.integers(0, 1000), max_size=300))
def test_memory_is_bounded_whatever_is_tried(keys: list[int]) -> None:
    throttle = Throttle(failures_max=2, keys_max=10)
    for now, key in enumerate(keys):
        throttle.failed(str(key), now)
    assert len(throttle) <= 10


def test_a_code_that_exists_pays_for_no_guess_at_others_from_its_address() -> None:
    guard = Guard()
    for now in range(PER_CLIENT):
        guard.failed(Try(None, "192.0.2.7"), now=now)
    assert guard.pause(Try(None, "192.0.2.7"), now=PER_CLIENT) > 0
    assert guard.pause(Try(None, "192.0.2.8"), now=PER_CLIENT) == 0
    assert guard.pause(Try("own", "192.0.2.7"), now=PER_CLIENT) == 0


def test_a_code_is_held_up_from_whatever_address_it_is_tried() -> None:
    guard = Guard()
    for number in range(PER_CODE):
        guard.failed(Try("own", f"192.0.2.{number}"), now=0)
    assert guard.pause(Try("own", "198.51.100.1"), now=0) == PAUSE_S
    assert guard.pause(Try("another", "192.0.2.1"), now=0) == 0


def tries_of_a_year(tried: Try, *, patience_s: float) -> int:
    """How many guesses somebody gets in who tries whenever it is free, or waits so long once it is not."""
    guard, now, tries = Guard(), 0.0, 0
    while now < YEAR_S:
        waits = guard.pause(tried, now=now)
        if waits:
            now += max(waits, patience_s)
            continue
        guard.failed(tried, now=now)
        tries += 1
    return tries


def test_a_year_of_guessing_is_what_the_reference_says() -> None:
    address = tries_of_a_year(Try(None, "192.0.2.7"), patience_s=0)
    assert 1_050_000 <= address <= 1_055_000
    assert address * 100_000 / 2**80 < 1e-12  # a hundred thousand codes in use
    greedy = tries_of_a_year(Try("code", ""), patience_s=0)
    patient = tries_of_a_year(Try("code", ""), patience_s=CODE_SPAN_S)
    assert max(greedy, patient) <= 10 * 366 * 1.2


def test_an_ipv6_subscriber_is_one_client() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("no address") == "unknown"
