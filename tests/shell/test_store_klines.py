"""Closed candles in SQLite: upsert, ranges, gaps, discarding."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milo.errors import StoreError
from milo.intervals import INTERVALS, next_open_ms, open_of
from milo.klinefile import KlineRow
from milo.store import klines
from milo.store.connections import open_writer
from milo.store.migrations import MARKET

MINUTE = 60_000
START = 1_700_000_040_000


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_writer(tmp_path / "market.db", MARKET, is_durable=False)
    yield opened
    opened.close()


def row(index: int, close: float = 2.5) -> KlineRow:
    return (START + index * MINUTE, 2.0, 3.0, 1.0, close, float(index))


def put(conn: sqlite3.Connection, *indices: int, symbol: str = "BTCUSDT") -> int:
    return klines.upsert_klines(conn, symbol, "1m", [row(index) for index in indices])


def opens(conn: sqlite3.Connection, **scope: int) -> list[int]:
    loaded = klines.load_candles(conn, "BTCUSDT", "1m", **scope)
    return [(open_ms - START) // MINUTE for open_ms in loaded.open_ms.tolist()]


def test_loaded_candles_equal_the_stored_rows(conn: sqlite3.Connection) -> None:
    stored = [(START, 0.1, 0.30000000000000004, 1e-8, 0.2, 1e15), row(1)]
    klines.upsert_klines(conn, "1000PEPEUSDT", "1m", stored)

    loaded = klines.load_candles(conn, "1000PEPEUSDT", "1m")

    columns = (loaded.open_ms, loaded.open, loaded.high, loaded.low, loaded.close, loaded.volume)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == stored
    assert loaded.open_ms.dtype == np.int64


def test_nothing_stored_is_no_candles(conn: sqlite3.Connection) -> None:
    assert len(klines.load_candles(conn, "BTCUSDT", "1m")) == 0
    assert klines.first_open_ms(conn, "BTCUSDT", "1m") is None
    assert klines.last_open_ms(conn, "BTCUSDT", "1m") is None
    assert klines.list_series(conn) == []


def test_upsert_counts_what_differed(conn: sqlite3.Connection) -> None:
    assert put(conn, 0, 1, 2) == 3
    assert put(conn, 1, 2, 3) == 1
    assert klines.upsert_klines(conn, "BTCUSDT", "1m", [row(2, close=1.5)]) == 1
    assert klines.load_candles(conn, "BTCUSDT", "1m").close.tolist() == [2.5, 2.5, 1.5, 2.5]


def test_symbols_and_intervals_do_not_mix(conn: sqlite3.Connection) -> None:
    put(conn, 0)
    put(conn, 1, symbol="币安人生USDT")
    klines.upsert_klines(conn, "BTCUSDT", "1h", [(open_of(START, "1h"), 2.0, 3.0, 1.0, 2.0, 0.0)])

    counts = [(item.symbol, item.interval, item.count) for item in klines.count_series(conn)]

    assert counts == [("BTCUSDT", "1h", 1), ("BTCUSDT", "1m", 1), ("币安人生USDT", "1m", 1)]
    assert opens(conn) == [0]


def test_limit_keeps_the_newest_within_the_range(conn: sqlite3.Connection) -> None:
    put(conn, *range(10))

    assert opens(conn, limit=3) == [7, 8, 9]
    assert opens(conn, limit=3, before_ms=row(8)[0]) == [5, 6, 7]
    assert opens(conn, start_ms=row(7)[0]) == [7, 8, 9]
    assert opens(conn, start_ms=row(2)[0], before_ms=row(5)[0], limit=2) == [3, 4]
    assert opens(conn, limit=0) == []


def test_first_last_and_counts(conn: sqlite3.Connection) -> None:
    put(conn, 4, 2, 9)

    assert klines.first_open_ms(conn, "BTCUSDT", "1m") == row(2)[0]
    assert klines.last_open_ms(conn, "BTCUSDT", "1m") == row(9)[0]
    counted = klines.count_klines(conn, "BTCUSDT", "1m", start_ms=row(4)[0], before_ms=row(9)[0])
    assert counted == 1


@pytest.mark.parametrize(
    "bad",
    [
        (START + 1, 2.0, 3.0, 1.0, 2.0, 0.0),
        (float(START), 2.0, 3.0, 1.0, 2.0, 0.0),
        (START, float("nan"), 3.0, 1.0, 2.0, 0.0),
        (START, 2.0, float("inf"), 1.0, 2.0, 0.0),
        (START, 2.0, 1.0, 3.0, 2.0, 0.0),
        (START, 4.0, 3.0, 1.0, 2.0, 0.0),
        (START, 2.0, 3.0, 1.0, 0.5, 0.0),
        (START, 2.0, 3.0, 0.0, 2.0, 0.0),
        (START, 2.0, 3.0, 1.0, 2.0, -1.0),
        (START, 2.0, 3.0, 1.0, 2.0, float("nan")),
    ],
)
def test_what_is_no_candle_is_refused_and_named(conn: sqlite3.Connection, bad: KlineRow) -> None:
    with pytest.raises(StoreError, match=r"BTCUSDT 1m: .*1700000040"):
        klines.upsert_klines(conn, "BTCUSDT", "1m", [row(1), bad])


@pytest.mark.parametrize(("symbol", "interval"), [("", "1m"), ("BTCUSDT", "7m")])
def test_series_without_a_name_is_refused(
    conn: sqlite3.Connection, symbol: str, interval: str
) -> None:
    with pytest.raises(StoreError):
        klines.upsert_klines(conn, symbol, interval, [row(0)])


def gaps(conn: sqlite3.Connection, first: int, last: int) -> list[tuple[int, int]]:
    found = klines.find_gaps(conn, "BTCUSDT", "1m", start_ms=row(first)[0], end_ms=row(last)[0])
    return [((start - START) // MINUTE, (end - START) // MINUTE) for start, end in found]


def test_gaps_are_found_inside_and_at_both_ends(conn: sqlite3.Connection) -> None:
    put(conn, 2, 3, 6, 8)

    assert gaps(conn, 0, 10) == [(0, 1), (4, 5), (7, 7), (9, 10)]
    assert gaps(conn, 2, 3) == []
    assert gaps(conn, 4, 5) == [(4, 5)]
    assert gaps(conn, 5, 4) == []


def test_an_empty_store_is_one_gap(conn: sqlite3.Connection) -> None:
    assert gaps(conn, 3, 7) == [(3, 7)]


def test_gaps_look_only_at_candles_that_open_in_the_range(conn: sqlite3.Connection) -> None:
    put(conn, 1)

    found = klines.find_gaps(conn, "BTCUSDT", "1m", start_ms=row(0)[0] + 1, end_ms=row(3)[0] - 1)

    assert found == [(row(2)[0], row(2)[0])]


@pytest.mark.parametrize("interval", INTERVALS)
def test_gaps_of_every_interval_are_exact(conn: sqlite3.Connection, interval: str) -> None:
    times = [open_of(START, interval)]
    for _ in range(29):
        times.append(next_open_ms(times[-1], interval))
    kept = [time for index, time in enumerate(times) if index not in (0, 7, 11, 12, 29)]
    klines.upsert_klines(conn, "BTCUSDT", interval, [(t, 1.0, 1.0, 1.0, 1.0, 0.0) for t in kept])

    found = klines.find_gaps(conn, "BTCUSDT", interval, start_ms=times[0], end_ms=times[-1])

    assert found == [
        (times[0], times[0]),
        (times[7], times[7]),
        (times[11], times[12]),
        (times[29], times[29]),
    ]


def test_discarding_removes_every_candle_that_was_not_closed_yet(
    conn: sqlite3.Connection,
) -> None:
    put(conn, 0, 1, 2)
    put(conn, 1, 2, 3, symbol="ETHUSDT")
    day = open_of(START, "1d")
    klines.upsert_klines(conn, "BTCUSDT", "1d", [(day, 2.0, 3.0, 1.0, 2.0, 0.0)])

    removed = klines.discard_from(conn, row(2)[0])

    assert removed == 4
    assert opens(conn) == [0, 1]
    assert klines.last_open_ms(conn, "ETHUSDT", "1m") == row(1)[0]
    assert klines.list_series(conn) == [("BTCUSDT", "1m"), ("ETHUSDT", "1m")]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    batches=st.lists(st.lists(st.integers(0, 600), max_size=400), min_size=1, max_size=4),
    seed=st.integers(),
)
def test_upserts_in_any_order_equal_the_sorted_unique_rows(
    conn: sqlite3.Connection, batches: list[list[int]], seed: int
) -> None:
    conn.execute("DELETE FROM klines")
    expected: dict[int, KlineRow] = {}
    rng = random.Random(seed)

    for batch in batches:
        rows = [row(index, close=rng.choice([1.5, 2.0, 2.5])) for index in batch]
        klines.upsert_klines(conn, "BTCUSDT", "1m", iter(rows))
        expected |= {item[0]: item for item in rows}

    stored = conn.execute(
        "SELECT open_ms, open, high, low, close, volume FROM klines ORDER BY open_ms"
    ).fetchall()
    assert stored == [expected[open_ms] for open_ms in sorted(expected)]
    loaded = klines.load_candles(conn, "BTCUSDT", "1m")
    assert loaded.open_ms.tolist() == sorted(expected)
