"""Candles: immutable columns, prefixes without copies, growth that leaves old objects alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.candles import Candles
from milo.model import Candle

ROWS = [(60_000 * i, 10.0 + i, 12.0 + i, 9.0 + i, 11.0 + i, 100.0 * i) for i in range(5)]


def candle(i: int, close: float = 11.0) -> Candle:
    return Candle(60_000 * i, 10.0, 12.0, 9.0, close, 100.0)


def test_rows_become_columns_of_plain_types() -> None:
    candles = Candles.from_rows(ROWS)

    assert len(candles) == 5
    assert candles.open_ms.dtype == np.int64
    assert candles.close.dtype == np.float64
    assert candles.close.tolist() == [11.0, 12.0, 13.0, 14.0, 15.0]
    assert candles.candle(-1) == Candle(*ROWS[-1])
    assert type(candles.candle(0).open_ms) is int
    assert type(candles.candle(0).close) is float


def test_rows_of_the_exchange_with_more_items_fit() -> None:
    candles = Candles.from_rows([(*row, row[0] + 59_999) for row in ROWS])

    assert list(candles) == [Candle(*row) for row in ROWS]


def test_columns_cannot_be_written() -> None:
    candles = Candles.from_rows(ROWS)

    with pytest.raises(ValueError, match="read-only"):
        candles.close[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        candles.prefix(2).open_ms[0] = 1


def test_changing_the_source_changes_nothing() -> None:
    columns = [np.array([row[i] for row in ROWS]) for i in range(6)]
    columns[0] = columns[0].astype(np.int64)
    candles = Candles.from_columns(*columns)

    columns[4][0] = 99.0

    assert candles.close[0] == 11.0


def test_read_only_columns_are_taken_without_a_copy() -> None:
    columns = [np.array([row[i] for row in ROWS]) for i in range(6)]
    columns[0] = columns[0].astype(np.int64)
    for column in columns:
        column.setflags(write=False)

    candles = Candles.from_columns(*columns)
    longer = candles.appended(candle(9))

    assert np.shares_memory(candles.close, columns[4])
    assert longer.close[-1] == 11.0


def test_prefix_is_a_view() -> None:
    candles = Candles.from_rows(ROWS)

    prefix = candles.prefix(3)

    assert np.shares_memory(prefix.close, candles.close)
    assert list(prefix) == list(candles)[:3]
    assert candles.prefix(5) is candles
    assert len(candles.prefix(0)) == 0


@pytest.mark.parametrize("count", [-1, 6])
def test_prefix_outside_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        Candles.from_rows(ROWS).prefix(count)


@pytest.mark.parametrize("index", [-6, 5])
def test_candle_outside_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        Candles.from_rows(ROWS).candle(index)


def test_appending_leaves_older_objects_as_they_were() -> None:
    older = Candles.from_rows(ROWS)
    before = list(older)

    newer = older.appended(candle(5)).appended(candle(6))

    assert list(older) == before
    assert list(newer) == [*before, candle(5), candle(6)]


def test_appending_twice_to_the_same_object_makes_two_histories() -> None:
    older = Candles.empty().appended(candle(0))

    first = older.appended(candle(1, close=1.0))
    second = older.appended(candle(1, close=2.0))
    third = first.prefix(1).appended(candle(1, close=3.0))

    assert [c.candle(1).close for c in (first, second, third)] == [1.0, 2.0, 3.0]


def test_replacing_the_last_candle_leaves_older_objects_as_they_were() -> None:
    older = Candles.from_rows(ROWS).appended(candle(5, close=1.0))

    newer = older.replaced_last(candle(5, close=2.0))

    assert older.candle(-1).close == 1.0
    assert newer.candle(-1).close == 2.0
    assert list(newer)[:5] == list(older)[:5]


def test_replacing_another_candle_than_the_last_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot replace"):
        Candles.from_rows(ROWS).replaced_last(candle(3))
    with pytest.raises(ValueError, match="cannot replace"):
        Candles.empty().replaced_last(candle(0))


def test_appending_reuses_the_buffer() -> None:
    candles = Candles.empty()
    grown = 0

    for i in range(10_000):
        longer = candles.appended(candle(i))
        grown += not np.shares_memory(longer.close[:1], candles.close[:1]) if i else 0
        candles = longer

    assert len(candles) == 10_000
    assert grown < 10


@pytest.mark.parametrize("open_ms", [0, 240_000])
def test_appending_an_earlier_candle_is_refused(open_ms: int) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        Candles.from_rows(ROWS).appended(Candle(open_ms, 1.0, 1.0, 1.0, 1.0, 1.0))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="candle 1: high is"):
        Candles.from_rows([ROWS[0], (60_000, 1.0, bad, 1.0, 1.0, 1.0)])
    with pytest.raises(ValueError, match="volume is"):
        Candles.empty().appended(Candle(0, 1.0, 1.0, 1.0, 1.0, bad))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[1], ROWS[0]], "candle 1 at 0 is not later"),
        ([ROWS[0], ROWS[0]], "not later"),
        ([ROWS[0], ROWS[1][:5]], "candle 1 has 5 items"),
        ([(0, "1", 1.0, 1.0, 1.0, 1.0)], "open holds something else"),
        ([(0, 1.0, 1.0, 1.0, None, 1.0)], "close holds something else"),
        ([(0.5, 1.0, 1.0, 1.0, 1.0, 1.0)], "open_ms holds something else"),
        ([("0", 1.0, 1.0, 1.0, 1.0, 1.0)], "open_ms holds something else"),
    ],
)
def test_rows_that_are_no_candles_are_refused(rows: list[tuple[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Candles.from_rows(rows)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="low is not one column of 2"):
        Candles.from_columns([0, 1], [1.0, 1.0], [1.0, 1.0], [1.0], [1.0, 1.0], [1.0, 1.0])


def test_no_rows_are_no_candles() -> None:
    assert len(Candles.from_rows([])) == 0
    assert Candles.empty().close.tolist() == []
    assert list(Candles.from_columns([], [], [], [], [], [])) == []


@settings(deadline=None)
@given(st.lists(st.sampled_from(["append", "fork", "replace", "prefix"]), max_size=60))
def test_any_history_of_changes_equals_plain_lists(steps: list[str]) -> None:
    known: list[tuple[Candles, list[Candle]]] = [(Candles.empty(), [])]
    for number, step in enumerate(steps):
        candles, model = known[-1] if step != "fork" else known[number // 2]
        count = len(model)
        if step == "prefix":
            known.append((candles.prefix(count // 2), model[: count // 2]))
        elif step == "replace" and count:
            new = candle(model[-1].open_ms // 60_000, close=float(number))
            known.append((candles.replaced_last(new), [*model[:-1], new]))
        else:
            new = candle(count, close=float(number))
            known.append((candles.appended(new), [*model, new]))

    for candles, model in known:
        assert list(candles) == model
