"""What was acknowledged a moment ago is sent again when the connection breaks."""

from __future__ import annotations

from gateway.lately import Lately
from gateway.outbox import Row


def row(seq: int, pseudonym: str = "a") -> Row:
    return Row(seq, pseudonym, 1, b"%d" % seq)


def test_what_was_acknowledged_within_the_time_is_due_again_once_and_in_order():
    lately = Lately(keep_s=10)
    lately.acknowledged([row(1)], at=100)
    lately.acknowledged([row(2), row(3)], at=105)
    assert lately.take(9) == []
    lately.lost(at=112)
    assert lately.take(1) == [row(2)]
    assert lately.take(9) == [row(3)]
    lately.lost(at=113)
    assert lately.take(9) == []


def test_what_is_due_again_survives_a_second_break():
    lately = Lately(keep_s=10)
    lately.acknowledged([row(1)], at=100)
    lately.lost(at=101)
    lately.lost(at=200)
    assert lately.take(9) == [row(1)]


def test_memory_is_bounded_by_time_and_by_number_and_the_newest_stay():
    lately = Lately(keep_s=10, keep_rows=3)
    lately.acknowledged([row(number) for number in range(5)], at=100)
    lately.lost(at=100)
    assert lately.take(9) == [row(2), row(3), row(4)]


def test_what_was_taken_to_be_sent_and_could_not_be_is_forgotten_too():
    lately = Lately(keep_s=10)
    lately.acknowledged([row(1), row(2, "b")], at=100)
    lately.lost(at=101)
    taken = lately.take(9)
    lately.forget("a")
    lately.keep(taken)
    assert lately.take(9) == [row(2, "b")]


def test_nothing_of_a_wearer_whose_consent_changed_is_sent_again():
    lately = Lately()
    lately.acknowledged([row(1, "a"), row(2, "b")], at=1)
    lately.lost(at=2)
    lately.acknowledged([row(3, "a"), row(4, "b")], at=3)
    lately.forget("a")
    lately.lost(at=4)
    assert lately.take(9) == [row(2, "b"), row(4, "b")]


def test_what_could_not_be_sent_now_is_due_again_behind_the_others():
    lately = Lately()
    lately.acknowledged([row(1), row(2), row(3)], at=1)
    lately.lost(at=2)
    lately.keep(lately.take(1))
    assert lately.take(9) == [row(2), row(3), row(1)]
