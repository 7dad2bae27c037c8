"""Whose turn it is: fair, bounded, and never the same band in vain again and again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from gateway.rotation import BANDS_MAX, NEARLY, PAST_S_MAX, REVISIT_S, Ended, Past, Rotation

A, B = "hci0", "hci1"


def rotation_of(slots: int = 1) -> Rotation:
    return Rotation(slots={A: slots})


def hear(rotation: Rotation, names: Sequence[str], now_s: float, radio: str = A) -> None:
    for name in names:
        rotation.heard(name, radio, now_s)


def end(rotation: Rotation, name: str, how: Ended, now_s: float) -> None:
    """The turn is over, and the band advertises again."""
    rotation.ended(name, how, now_s)
    rotation.heard(name, A, now_s)


def test_a_band_must_be_heard_again_after_its_turn():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    rotation.next(A, 0)
    rotation.ended("A", Ended.LOST, 1)
    assert rotation.next(A, 5) is None
    hear(rotation, "A", 6)
    assert rotation.next(A, 6) == "A"


def test_no_more_bands_than_slots_are_read_at_once():
    rotation = rotation_of(2)
    hear(rotation, "ABC", 0)
    assert [rotation.next(A, 0), rotation.next(A, 0), rotation.next(A, 0)] == ["A", "B", None]
    end(rotation, "A", Ended.LOST, 1)
    assert rotation.next(A, 1) == "C"


def test_the_longest_unread_goes_first():
    rotation = rotation_of()
    hear(rotation, "AB", 0)
    assert rotation.next(A, 0) == "A"
    end(rotation, "A", Ended.MORE, 1)
    assert rotation.next(A, 10) == "B"
    end(rotation, "B", Ended.MORE, 20)
    assert rotation.next(A, 25) == "A"


def test_a_lost_link_keeps_the_bands_place_twice_and_then_it_goes_to_the_back():
    rotation, order = rotation_of(), ""
    hear(rotation, "AB", 0)
    for at, name in ((0, "A"), (10, "B")):
        assert rotation.next(A, at) == name
        end(rotation, name, Ended.MORE, at + 1)
    for now in range(20, 70, 10):
        hear(rotation, "AB", now)
        name = rotation.next(A, now)
        assert name is not None
        order += name
        end(rotation, name, Ended.LOST, now + 1)
    assert order == "AAABB"


def test_a_band_that_is_not_heard_any_more_is_not_tried():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    assert rotation.next(A, 31) is None


def test_without_consent_a_band_waits_until_one_comes():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    rotation.next(A, 0)
    end(rotation, "A", Ended.NO_CONSENT, 0)
    hear(rotation, "A", 20)
    assert rotation.next(A, 20) is None
    assert rotation.counts(20)._asdict() == {
        "heard": 1, "connected": 0, "waiting": 0, "read": 0, "without_consent": 1,
    }  # fmt: skip
    rotation.may_try_again()
    assert rotation.next(A, 20) == "A"
    assert rotation.counts(20).without_consent == 0


@pytest.mark.parametrize("how", [Ended.NO_CONSENT, Ended.NOT_PAIRED])
def test_what_is_allowed_during_a_turn_that_ends_refused_is_tried_at_once(how: Ended):
    rotation = rotation_of()
    hear(rotation, "A", 0)
    rotation.next(A, 0)
    rotation.may_try_again()
    end(rotation, "A", how, 1)
    assert rotation.next(A, 2) == "A"
    end(rotation, "A", how, 3)
    assert rotation.next(A, 4) is None


def test_without_consent_a_band_is_asked_again_after_a_minute():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    rotation.next(A, 0)
    end(rotation, "A", Ended.NO_CONSENT, 0)
    hear(rotation, "A", 60)
    assert rotation.next(A, 60) == "A"


@pytest.mark.parametrize(("how", "first_s", "most_s"), [(Ended.FAILED, 2, 300), (Ended.FAULTY, 60, 3600)])
def test_a_band_in_vain_waits_twice_as_long_each_time(how: Ended, first_s: float, most_s: float):
    rotation, now, waits = rotation_of(), 0.0, []
    for turn in range(12):
        hear(rotation, "A", now)
        assert rotation.next(A, now) == "A"
        end(rotation, "A", Ended.LOST if turn == 10 else how, now)
        asked = now
        while rotation.next(A, now) is None:
            now += 1
            hear(rotation, "A", now)
        end(rotation, "A", how, now) if turn == 0 else None
        waits.append(now - asked)
        rotation._bands["A"].radio, rotation._bands["A"].not_before_s = None, now
    assert waits[0] == first_s
    assert waits[1] == 4 * first_s
    assert max(waits) == most_s
    assert waits[11] == first_s  # it was read in between


def test_a_band_that_was_read_is_left_alone_and_one_low_on_charge_or_room_less_long():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    for turn, (battery, filled, wait_s) in enumerate(
        [(80, 0.1, REVISIT_S), (15, 0.1, REVISIT_S / 4), (80, 0.6, REVISIT_S / 4), (80, 0.0, REVISIT_S)]
    ):
        begun = turn * 10_000.0
        hear(rotation, "A", begun)
        assert rotation.next(A, begun) == "A"
        rotation.noted("A", live=False, battery=battery)
        rotation.noted("A", filled=filled)
        end(rotation, "A", Ended.DRAINED, begun)
        hear(rotation, "A", begun + wait_s)
        assert rotation.next(A, begun + wait_s - 1) is None
        assert rotation.next(A, begun + wait_s) == "A"
        end(rotation, "A", Ended.MORE, begun + wait_s)


def test_flat_and_full_bands_go_first_but_nobody_starves():
    rotation = rotation_of()
    hear(rotation, "ABC", 0)
    for at, name in enumerate("ABC"):
        assert rotation.next(A, at) == name
        rotation.noted(name, battery=5 if name == "C" else 90)
        end(rotation, name, Ended.MORE, at + 1)
    order, now = "", 100.0
    for _ in range(12):
        hear(rotation, "ABC", now)
        name = rotation.next(A, now)
        assert name is not None
        order += name
        now += 20
        end(rotation, name, Ended.MORE, now)
    assert order[0] == "C"
    assert order.count("C") > order.count("A") >= 3
    assert order.count("B") >= 3


def test_a_memory_of_several_turns_does_not_keep_the_others_waiting():
    rotation = rotation_of()
    hear(rotation, "AB", 0)
    assert rotation.next(A, 0) == "A"
    end(rotation, "A", Ended.MORE, 10)
    assert rotation.next(A, 10) == "B"
    end(rotation, "B", Ended.MORE, 20)
    assert rotation.next(A, 20) == "A"


def test_a_changed_address_keeps_the_bands_history():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    rotation.next(A, 0)
    rotation.identified("A", "token")
    end(rotation, "A", Ended.DRAINED, 5)
    hear(rotation, "N", 20)
    assert rotation.next(A, 20) == "N"
    rotation.identified("N", "token")
    assert rotation.counts(20)[:4] == (1, 1, 0, 1)
    assert "A" not in rotation._bands


def test_a_band_that_bonded_in_its_turn_is_left_alone_under_its_identity_too():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    rotation.next(A, 0)
    rotation.identified("A", "token", "identity")
    rotation.ended("A", Ended.DRAINED, 5)
    hear(rotation, ["identity"], 20)
    assert rotation.next(A, 20) is None
    assert rotation.past(20) == {"identity": (15, 15, REVISIT_S - 15)}
    hear(rotation, ["identity"], 5 + REVISIT_S)
    assert rotation.next(A, 5 + REVISIT_S) == "identity"


def test_a_turn_under_an_identity_is_not_overwritten_by_one_under_an_address():
    rotation = Rotation(slots={A: 1, B: 1})
    hear(rotation, "A", 0)
    hear(rotation, ["identity"], 0, B)
    assert (rotation.next(A, 0), rotation.next(B, 0)) == ("A", "identity")
    rotation.identified("A", "token", "identity")
    rotation.ended("A", Ended.DRAINED, 5)
    hear(rotation, "N", 6, B)
    assert rotation.next(B, 6) is None  # the slot is still taken


def test_a_radio_that_is_lost_costs_no_band_its_place():
    rotation = rotation_of(2)
    hear(rotation, "AB", 0)
    hear(rotation, "C", 3)
    for name in "AB":
        assert rotation.next(A, 3) == name
        rotation.ended(name, Ended.RADIO_LOST, 5)
    hear(rotation, "AB", 6)
    assert [rotation.next(A, 6), rotation.next(A, 6)] == ["A", "B"]


def test_after_a_restart_who_waited_longest_is_first():
    before = rotation_of()
    hear(before, "AB", 0)
    for at, name in ((3, "A"), (5, "B"), (6, "A")):
        assert before.next(A, at) == name
        end(before, name, Ended.MORE, at if name == "B" else at + 2)
    hear(before, "C", 9)
    past = before.past(10)
    assert past == {"A": (2, 2, 0), "B": (5, 5, 0)}  # C was never met: there is nothing to know
    after = restarted(past, 100)
    assert after.next(A, 100) == "B"


def restarted(past: Mapping[str, Past], now_s: float, revisit_s: float = REVISIT_S) -> Rotation:
    """Another gateway's life, and these bands heard in it."""
    rotation = Rotation(slots={A: 1}, revisit_s=revisit_s)
    for name in past:
        rotation.heard(name, A, now_s, past=past.get)
    return rotation


def test_after_a_restart_what_was_read_counts_as_read_and_is_left_alone_until_its_time():
    before = rotation_of()
    for at, name, how in ((0, "A", Ended.DRAINED), (50, "B", Ended.MORE)):
        hear(before, "AB", at)
        assert before.next(A, at) == name
        end(before, name, how, at)
    after = restarted(before.past(100), 1_000)
    assert after.counts(1_000)._asdict() == {
        "heard": 2, "connected": 0, "waiting": 1, "read": 2, "without_consent": 0,
    }  # fmt: skip
    assert after.next(A, 1_000) == "B"  # its memory holds more
    end(after, "B", Ended.DRAINED, 1_001)
    rests_until = 1_000 + REVISIT_S - 100
    hear(after, "A", rests_until)
    assert after.next(A, rests_until - 1) is None
    assert after.next(A, rests_until) == "A"


@pytest.mark.parametrize("how", [Ended.FAULTY, Ended.FAILED, Ended.NO_CONSENT, Ended.NOT_PAIRED, Ended.BOND_LOST])
def test_after_a_restart_nobody_waits_for_a_failure_or_a_refusal(how: Ended):
    before = rotation_of()
    hear(before, "A", 0)
    for at, ended in ((0, Ended.DRAINED), (REVISIT_S, how)):
        hear(before, "A", at)
        assert before.next(A, at) == "A"
        end(before, "A", ended, at)
    assert before.next(A, REVISIT_S + 1) is None
    after = restarted(before.past(REVISIT_S + 1), 0)
    assert after.counts(0).without_consent == 0
    assert after.next(A, 0) == "A"


def test_no_clock_that_was_put_back_lets_a_band_rest_for_longer_than_it_may():
    past = {"A": Past(turn_s=0, read_s=0, rest_s=86_400)}
    after = restarted(past, 0, revisit_s=60)
    hear(after, "A", 60)
    assert after.next(A, 59) is None
    assert after.next(A, 60) == "A"


def test_only_what_changed_since_the_last_time_is_noted_and_also_of_a_band_that_is_gone():
    rotation = rotation_of()
    hear(rotation, "AB", 0)
    for at, name in ((0, "A"), (10, "B")):
        assert rotation.next(A, at) == name
        rotation.ended(name, Ended.DRAINED, at)
    assert set(rotation.past(100)) == {"A", "B"}
    assert set(rotation.past(100, since_s=10)) == {"B"}
    assert not rotation.past(100, since_s=11)


def test_a_band_that_was_never_met_is_not_behind_all_that_are_known():
    """Its address, and so its wait, begins anew every 15 minutes."""
    rotation, now, name = rotation_of(), 0.0, None
    hear(rotation, "ABCD", 0)
    for known in "ABCD":
        assert rotation.next(A, now) == known
        now += 400
        hear(rotation, "ABCD", now)
        end(rotation, known, Ended.MORE, now)
    for turn in range(8):
        address = f"new{turn // 2}"  # another one every second turn, of 400 s
        for heard in (*"ABCD", address):
            rotation.heard(heard, A, now)
        name = rotation.next(A, now)
        if name == address:
            break
        assert name is not None
        now += 400
        end(rotation, name, Ended.MORE, now)
    assert name is not None
    assert name.startswith("new")


def test_of_those_that_waited_about_as_long_the_one_that_advertises_next_is_taken():
    rotation = rotation_of(2)
    for at in (0, 5, 10):
        for late, name in enumerate("ABC"):
            rotation.heard(name, A, at + late)
    assert rotation.next(A, 12.5) == "A"  # each advertises every 5 s: A at 15 s, B at 16 s, C at 17 s
    rotation.heard("B", A, 16)
    assert rotation.next(A, 16.5) == "C"


def test_an_advertisement_that_comes_before_the_radio_is_ready_is_not_waited_for():
    rotation = rotation_of()
    for at in (0, 1, 2):
        rotation.heard("A", A, at)
        rotation.heard("B", A, at + 0.5)
    assert rotation.next(A, 2.95) == "B"  # A's next one, in 50 ms, is missed, and the one after comes in 1.05 s


def test_a_band_that_was_just_heard_goes_before_one_that_was_due_and_not_heard():
    rotation = rotation_of()
    for at in (0, 10, 20):
        hear(rotation, "AB", at)
    rotation.heard("B", A, 30)
    assert rotation.next(A, 31) == "B"


def test_who_waited_much_longer_goes_first_whoever_advertises_next():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    hear(rotation, "B", 30)
    for at in range(33, 100, 3):
        rotation.heard("B", A, at)
    hear(rotation, "A", 99)
    assert rotation.next(A, 100) == "A"


def test_new_addresses_without_end_have_every_other_turn_and_leave_the_rest_to_who_waited_longer():
    rotation, order = rotation_of(), ""
    known = "ABCDEF"
    hear(rotation, known, 0)
    for at, name in enumerate(known):
        assert rotation.next(A, at) == name
        end(rotation, name, Ended.MORE, at + 0.5)
    for now in range(1_000, 1_120, 10):
        hear(rotation, known, now)
        for number in range(50):
            rotation.heard(f"x{now}-{number}", A, now - 9)
        name = rotation.next(A, now)
        assert name is not None
        order += name[0]
        end(rotation, name, Ended.FAILED if name[0] == "x" else Ended.MORE, now + 5)
    assert order[::2] == "xxxxxx" or order[1::2] == "xxxxxx"
    assert set(order) == {*known, "x"}  # each of those that are known had a turn


def test_each_radio_has_its_own_slots_and_connects_what_it_hears_itself():
    rotation = Rotation(slots={A: 1, B: 2})
    hear(rotation, "XYZ", 0, A)
    hear(rotation, "Y", 0, B)
    assert rotation.next(B, 0) == "Y"
    assert rotation.next(B, 0) is None
    assert rotation.next(A, 0) == "X"
    assert rotation.next(A, 0) is None


def test_live_bands_leave_one_slot_to_those_with_a_memory():
    rotation = rotation_of(3)
    hear(rotation, "ABCM", 0)
    for name in "ABCM":
        rotation.noted(name, live=name != "M")
    assert [rotation.next(A, 0) for _ in range(4)] == ["A", "B", "M", None]
    end(rotation, "M", Ended.DRAINED, 5)
    assert rotation.next(A, 5) is None
    hear(rotation, "C", 40)
    assert rotation.next(A, 40) == "C"  # no memory is near any more


def test_a_live_band_is_pressed_when_another_waits_for_its_slot():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    rotation.next(A, 0)
    assert not rotation.pressed("A", 1)
    hear(rotation, "B", 1)
    assert rotation.pressed("A", 1)


def test_the_addresses_that_it_knows_are_bounded():
    rotation = rotation_of()
    hear(rotation, ["kept"], 0)  # type: ignore[arg-type]
    assert rotation.next(A, 0) == "kept"
    for number in range(3 * BANDS_MAX):
        rotation.heard(str(number), A, number)
        assert len(rotation._bands) <= BANDS_MAX
    assert len(rotation._bands) > 0.9 * BANDS_MAX
    end(rotation, "kept", Ended.LOST, 0)


@pytest.mark.parametrize(
    ("how", "times", "wait_s"), [(Ended.DRAINED, 1, REVISIT_S), (Ended.FAULTY, 3, 240), (Ended.FAILED, 4, 16)]
)
def test_no_number_of_passers_by_makes_a_band_that_waits_a_new_one(how: Ended, times: int, wait_s: float):
    rotation, now = rotation_of(), 0.0
    for turn in range(times):
        now += 1_000
        hear(rotation, "A", now)
        assert rotation.next(A, now) == "A"
        for number in range(BANDS_MAX):
            rotation.heard(f"{turn}-{number}", A, now - 60)
        rotation.ended("A", how, now)
    for number in range(3 * BANDS_MAX):
        rotation.heard(f"late {number}", A, now - 40 + number / BANDS_MAX)
    hear(rotation, "A", now + wait_s - 1)
    assert rotation.next(A, now + wait_s - 1) is None
    assert rotation.next(A, now + wait_s) == "A"


@pytest.mark.parametrize("met", [0, BANDS_MAX], ids=["the table full of strangers", "full of bands that had a turn"])
def test_a_new_band_has_its_turn_among_new_addresses_without_end(met: int):
    """200 a second, 10 s a turn: who is heard once only is gone after 30 s, so that the new band waited longest."""
    rotation, band = rotation_of(), "a band that advertises every 10 s"
    for number in range(BANDS_MAX):
        rotation.heard(f"old {number}", A, 0, past=lambda _key: Past(0) if met else None)
    turns: list[str] = []
    for second in range(100, 200):
        if second % 10 == 0:
            rotation.heard(band, A, second)
        for number in range(200):
            rotation.heard(f"{second} {number}", A, second + number / 200)
        if second % 10 == 9 and (name := rotation.next(A, second + 1)) is not None:
            turns.append(name)
            end(rotation, name, Ended.FAILED, second + 1)
    assert band in turns[:6]


def test_who_was_seen_last_a_day_ago_is_forgotten_but_not_who_is_connected():
    rotation = rotation_of()
    hear(rotation, "A", 0)
    assert rotation.next(A, 0) == "A"
    for number in range(1_000):
        rotation.heard(f"{number}", A, 10)
    hear(rotation, "B", 20)
    assert rotation.next(A, 10 + PAST_S_MAX) is None
    assert len(rotation._bands) == 1_002
    assert rotation.next(A, 15 + PAST_S_MAX) is None
    assert set(rotation._bands) == {"A", "B"}


@pytest.mark.parametrize("seed", range(5))
def test_two_hundred_bands_on_five_slots_wait_no_longer_than_a_round_whatever_a_tenth_of_them_does(seed: int):
    """A round is the time in which all have had one turn: (bands x longest turn) / slots.

    Who advertises next goes first among those that waited at least 3/4 of the longest wait. So while somebody's wait
    grows from a quarter of itself to the whole, each other band is taken once at most: it would have to have waited
    for 3/4 of that wait again. 3/4 of a wait is then a round at most, and a wait 4/3 of one.
    """
    chance, rotation = random.Random(seed), rotation_of(5)
    bands = {f"{i}": chance.randrange(10) for i in range(200)}  # and at which second of ten it advertises
    bad = set(chance.sample(sorted(bands), 20))
    now, until, last, longest = 0, {}, dict.fromkeys(bands, 0.0), 0.0
    while now < 20_000:
        for name, second in bands.items():
            if now % 10 == second and name not in until:
                rotation.heard(name, A, now)
        for name, over in list(until.items()):
            if over <= now:
                del until[name]
                end(rotation, name, chance.choice(list(Ended)[:4]) if name in bad else Ended.DRAINED, now)
        while (name := rotation.next(A, now)) is not None:
            longest = (
                max(longest, now - last[name] - (REVISIT_S if now > REVISIT_S else 0)) if name not in bad else longest
            )
            last[name] = now
            until[name] = now + (120 if name in bad else chance.uniform(5, 30))
        now += 1
    assert longest <= (180 * 30 + 20 * 120) / 5 / NEARLY + 30
