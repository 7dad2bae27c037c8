"""What every store must do: the same suite on DuckDB and on a real InfluxDB server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from contracts.ports import (
    Extent,
    Holdings,
    ReadingColumns,
    ReadingStore,
    StoredReading,
    StoredReport,
    StoreRefused,
    StoreUnavailable,
)
from contracts.reading import FIELDS, Category, Reading, Reason, SelfReport
from tests.ingestkit.people import BASE, OVERVECHT, WEST, pseudonym, stored, stored_report

DAY = 86_400
FULL = {
    "hr": 61.37,
    "rmssd": 41.2,
    "sdnn": 55.0,
    "rr_coverage": 0.8,
    "worn": 1.0,
    "eda": 2.51,
    "scr": 3.0,
    "skin_temp": 33.1,
    "motion": 0.013,
}


def rows(chunks: list[ReadingColumns]) -> list[tuple[str, str, int, dict[str, float]]]:
    found = []
    for chunk in chunks:
        for i in range(len(chunk.minute)):
            values = {name: float(column[i]) for name, column in chunk.fields.items() if not np.isnan(column[i])}
            found.append(
                (chunk.pseudonyms[chunk.person[i]], chunk.districts[chunk.district[i]], int(chunk.minute[i]), values)
            )
    return found


def all_rows(store: ReadingStore) -> list[tuple[str, str, int, dict[str, float]]]:
    return rows(list(store.readings(BASE - DAY, BASE + DAY)))


def test_a_reading_comes_back_to_the_last_digit(store: ReadingStore):
    store.write([stored(1, 0, **FULL)], [])
    assert all_rows(store) == [(pseudonym(1), WEST, BASE, FULL)]


def test_an_absent_field_comes_back_as_nan(store: ReadingStore):
    store.write([stored(1, 0, eda=2.5)], [])
    (chunk,) = store.readings(BASE, BASE + 60)
    assert set(chunk.fields) == set(FIELDS)
    assert np.isnan(chunk.fields["hr"]).all()
    assert chunk.fields["eda"].tolist() == [2.5]


def test_columns_have_the_types_of_the_contract(store: ReadingStore):
    store.write([stored(1)], [stored_report(1)])
    (chunk,) = store.readings(BASE, BASE + 60)
    assert (chunk.person.dtype, chunk.district.dtype, chunk.minute.dtype) == (np.int32, np.int32, np.int64)
    assert {column.dtype for column in chunk.fields.values()} == {np.dtype(np.float64)}
    reports = store.reports(BASE, BASE + 60)
    assert (reports.person.dtype, reports.district.dtype, reports.at.dtype) == (np.int32, np.int32, np.int64)
    assert (reports.safe.dtype, reports.happy.dtype, reports.reason.dtype) == (np.int16, np.int16, np.dtype(object))
    assert not isinstance(reports.reason, np.ma.MaskedArray)


def test_readings_are_sorted_by_person_then_minute(store: ReadingStore):
    for minute in (2, 0, 1):
        store.write([stored(person, minute) for person in (3, 1, 2)], [])
    found = [(person, minute) for person, _, minute, _ in all_rows(store)]
    assert found == sorted(found)
    assert len(found) == 9


def test_writing_twice_keeps_one_row(store: ReadingStore):
    batch = [stored(person, minute) for person in range(3) for minute in range(5)]
    store.write(batch, [stored_report(1)])
    store.write(batch, [stored_report(1)])
    assert store.holdings() == Holdings(15, 1)
    assert len(all_rows(store)) == 15


def test_a_key_twice_in_one_batch_keeps_one_row(store: ReadingStore):
    store.write([stored(1, 0, hr=60.0), stored(1, 0, hr=61.0)], [stored_report(1, safe=1), stored_report(1, safe=9)])
    assert store.holdings() == Holdings(1, 1)
    assert all_rows(store) == [(pseudonym(1), WEST, BASE, {"hr": 61.0})]


def test_a_minute_heard_in_two_districts_is_one_row(store: ReadingStore):
    store.write([stored(1, 0, WEST), stored(1, 1, WEST)], [])
    store.write([stored(1, 0, OVERVECHT)], [stored_report(1, 0, OVERVECHT)])
    assert [(person, minute) for person, _, minute, _ in all_rows(store)] == [
        (pseudonym(1), BASE),
        (pseudonym(1), BASE + 60),
    ]
    assert store.holdings() == Holdings(2, 1)
    assert len(store.person(pseudonym(1))[0]) == 2


def test_spans_are_half_open(store: ReadingStore):
    store.write([stored(1, minute) for minute in range(4)], [stored_report(1, second) for second in (0, 60, 120)])
    found = rows(list(store.readings(BASE + 60, BASE + 180)))
    assert [minute for _, _, minute, _ in found] == [BASE + 60, BASE + 120]
    assert store.reports(BASE + 60, BASE + 120).at.tolist() == [BASE + 60]


def test_each_person_is_wholly_in_one_chunk_and_chunks_are_bounded(store: ReadingStore):
    sizes = {1: 30, 2: 50, 3: 10, 4: 120, 5: 20, 6: 5}
    store.write([stored(person, minute) for person, n in sizes.items() for minute in range(n)], [])
    chunks = list(store.readings(BASE - DAY, BASE + DAY, rows_max=60))
    people = [person for chunk in chunks for person in chunk.pseudonyms]
    assert sorted(people) == sorted(pseudonym(person) for person in sizes)
    assert all(len(chunk.minute) <= 60 or len(chunk.pseudonyms) == 1 for chunk in chunks)
    assert sum(len(chunk.minute) for chunk in chunks) == sum(sizes.values())
    assert len(chunks) > 3


def test_an_empty_store_gives_nothing(store: ReadingStore):
    assert list(store.readings(0, 2**33)) == []
    reports = store.reports(0, 2**33)
    assert (len(reports.at), reports.pseudonyms) == (0, ())
    assert store.person(pseudonym(1)) == ([], [])
    assert store.holdings() == store.holdings(pseudonym(1)) == Holdings(0, 0)
    store.write([], [])


def test_reports_come_back_by_person_and_time(store: ReadingStore):
    given = [
        stored_report(2, 5, safe=3, reason=Reason.LIGHT),
        stored_report(1, 9, OVERVECHT),
        stored_report(2, 1, happy=0),
    ]
    store.write([], given)
    found = store.reports(BASE, BASE + 60)
    back = [
        StoredReport(
            found.districts[found.district[i]],
            SelfReport(
                pseudonym=found.pseudonyms[found.person[i]],
                at=int(found.at[i]),
                safe=int(found.safe[i]),
                happy=int(found.happy[i]),
                reason=found.reason[i] and Reason(found.reason[i]),
            ),
        )
        for i in range(len(found.at))
    ]
    assert back == sorted(given, key=lambda stored: (stored.report.pseudonym, stored.report.at))


def test_a_person_gets_all_that_is_held_and_nobody_elses(store: ReadingStore):
    mine = [stored(1, 1, OVERVECHT, hr=70.5), stored(1, 0, **FULL)]
    answers = [stored_report(1, 7, reason=Reason.NOISE), stored_report(1, 3)]
    store.write([*mine, stored(2, 0)], [*answers, stored_report(2)])
    assert store.person(pseudonym(1)) == (mine[::-1], answers[::-1])
    assert store.holdings(pseudonym(1)) == Holdings(2, 2)


def test_erasing_takes_one_person_and_leaves_the_others(store: ReadingStore):
    store.write([stored(p, m) for p in (1, 2) for m in range(10)], [stored_report(p) for p in (1, 2)])
    assert store.erase(pseudonym(1)) == Holdings(10, 1)
    assert store.holdings(pseudonym(1)) == Holdings(0, 0)
    assert store.person(pseudonym(1)) == ([], [])
    assert {person for person, *_ in all_rows(store)} == {pseudonym(2)}
    assert store.holdings() == Holdings(10, 1)


def test_erasing_is_repeatable_and_writing_works_after_it(store: ReadingStore):
    assert store.erase(pseudonym(1)) == Holdings(0, 0)
    store.write([stored(1)], [])
    assert store.erase(pseudonym(1)) == Holdings(1, 0)
    assert store.erase(pseudonym(1)) == Holdings(0, 0)
    store.write([stored(1, 5), stored(2)], [])
    assert store.holdings() == Holdings(2, 0)
    assert {person for person, *_ in all_rows(store)} == {pseudonym(1), pseudonym(2)}


HEART = Extent(frozenset(Category) - {Category.HEART}, BASE + 300)
LEFT = {name: value for name, value in FULL.items() if FIELDS[name].category is not Category.HEART}


def test_erasing_some_kinds_of_before_a_time_leaves_all_else(store: ReadingStore):
    store.write(
        [*(stored(p, m, **FULL) for p in (1, 2) for m in range(10)), stored(1, -1, hr=60.0)],
        [stored_report(p) for p in (1, 2)],
    )
    assert store.holdings(pseudonym(1), HEART) == Holdings(6, 0)
    assert store.erase(pseudonym(1), HEART) == Holdings(6, 0)
    assert store.holdings(pseudonym(1), HEART) == Holdings(0, 0)
    readings, reports = store.person(pseudonym(1))
    assert readings == [stored(1, m, **(LEFT if m < 5 else FULL)) for m in range(10)]  # the minute of heart alone went
    assert reports == [stored_report(1)]
    assert len(store.person(pseudonym(2))[0]) == 10
    assert all(values == FULL for person, _, _, values in all_rows(store) if person == pseudonym(2))
    assert store.erase(pseudonym(1), HEART) == Holdings(0, 0)
    store.write([stored(1, 0, **FULL)], [])
    assert all_rows(store)[0] == (pseudonym(1), WEST, BASE, FULL) or pseudonym(2) < pseudonym(1)


def test_erasing_answers_alone_leaves_the_readings(store: ReadingStore):
    store.write([stored(1, m) for m in range(3)], [stored_report(1, 7), stored_report(1, 8)])
    extent = Extent(frozenset(Category) - {Category.SELF_REPORT}, BASE + 8)
    assert store.erase(pseudonym(1), extent) == Holdings(0, 1)
    assert store.person(pseudonym(1)) == ([stored(1, m) for m in range(3)], [stored_report(1, 8)])


def test_erasing_all_kinds_of_before_a_time_leaves_what_is_newer(store: ReadingStore):
    store.write([stored(1, m) for m in range(10)], [stored_report(1, 299), stored_report(1, 300)])
    assert store.erase(pseudonym(1), Extent(before=BASE + 300)) == Holdings(5, 1)
    assert store.person(pseudonym(1)) == ([stored(1, m) for m in range(5, 10)], [stored_report(1, 300)])


def test_erasing_in_part_twice_after_all_was_erased_brings_nothing_back(store: ReadingStore):
    store.write([stored(1, m, **FULL) for m in range(10)], [])
    store.erase(pseudonym(1), HEART)
    store.erase(pseudonym(1))
    assert store.erase(pseudonym(1), HEART) == Holdings(0, 0)
    assert store.person(pseudonym(1)) == ([], [])


def test_what_was_written_is_there_after_opening_again(opened: Callable[[], ReadingStore]):
    first = opened()
    first.write([stored(1), stored(2)], [stored_report(1)])
    first.close()
    first.close()
    again = opened()
    assert again.holdings() == Holdings(2, 1)
    again.write([stored(3, 0, OVERVECHT), stored(1, 1, OVERVECHT)], [])
    assert [(person, district) for person, district, *_ in all_rows(again)] == sorted(
        [(pseudonym(1), WEST), (pseudonym(1), OVERVECHT), (pseudonym(2), WEST), (pseudonym(3), OVERVECHT)],
        key=lambda row: (row[0], row[1] != WEST),
    )


def test_a_bad_row_is_refused_with_its_index(store: ReadingStore):
    good = [stored(1, minute) for minute in range(3)]
    bad = StoredReading(WEST, Reading(pseudonym=pseudonym(1), minute=2**62, hr=60.0))
    with pytest.raises(StoreRefused) as caught:
        store.write([*good, bad], [])
    assert caught.value.index == 3
    with pytest.raises(StoreRefused) as caught:
        store.write(good, [stored_report(1), stored_report(1, 5, safe=200)])
    assert caught.value.index == 4
    assert pseudonym(1) not in str(caught.value)


def test_one_thread_reads_while_another_writes(store: ReadingStore):
    store.write([stored(1, minute) for minute in range(60)], [])

    def write() -> None:
        for person in range(2, 22):
            store.write([stored(person, minute) for minute in range(50)], [stored_report(person)])

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write)
        while not writing.done():
            for chunk in store.readings(BASE - DAY, BASE + DAY, rows_max=300):
                assert len(set(chunk.pseudonyms)) == len(chunk.pseudonyms)
            assert len(store.person(pseudonym(1))[0]) == 60
        writing.result()
    assert store.holdings() == Holdings(60 + 20 * 50, 20)


def test_two_writers_and_an_eraser_leave_only_whole_persons(store: ReadingStore):
    def write(start: int) -> None:
        for round_ in range(8):
            store.write([stored(person, round_) for person in range(start, start + 10)], [])

    def erase() -> None:
        for _ in range(8):
            with contextlib.suppress(StoreUnavailable):  # a server may say that somebody wrote meanwhile
                store.erase(pseudonym(0))

    with ThreadPoolExecutor() as pool:
        for work in [pool.submit(write, 0), pool.submit(write, 10), pool.submit(erase)]:
            work.result()
    store.erase(pseudonym(0))
    assert store.holdings() == Holdings(19 * 8, 0)
    assert len({person for person, *_ in all_rows(store)}) == 19


def test_a_killed_process_loses_nothing_that_was_written(store_url: str, opened: Callable[[], ReadingStore]):
    script = (
        "import sys\n"
        "sys.path.insert(0, '.')\n"
        "from tests.ingestkit.people import stored, stored_report\n"
        "from ingest.app import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "for batch in range(1000):\n"
        "    store.write([stored(person, batch) for person in range(20)], [stored_report(batch)])\n"
        "    print(batch, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, store_url], stdout=subprocess.PIPE, text=True)
    with writer:
        told = [next(writer.stdout) for _ in range(12)]
        writer.kill()
        told += list(writer.stdout)
    kept = opened().holdings()
    assert kept.readings >= 20 * len(told)
    assert kept.readings % 20 == 0
    assert kept.reports >= len(told)
