"""Guessing is slowed down, and memory stays bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.throttle import Guard, Throttle, network_of


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


def test_a_right_try_of_an_own_code_does_not_pay_for_guesses_at_others() -> None:
    guard = Guard(per_code=5, per_client=3, pause_s=60)
    for number in range(3):
        guard.failed(code=f"guess {number}", client="192.0.2.7", now=number)
        guard.succeeded(code="own")
    assert guard.pause(code="own", client="192.0.2.7", now=3) > 0
    assert guard.pause(code="own", client="192.0.2.8", now=3) == 0


def test_an_ipv6_subscriber_is_one_client() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("no address") == "unknown"
